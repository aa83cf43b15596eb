"""Two models on the same items: McNemar's exact p beside scipy's."""

import numpy as np
import pytest
from scipy.stats import binomtest

from evaluators.paired import compare, mcnemar


def test_p_is_the_exact_binomial_test():
    for a in range(0, 40, 3):
        for b in range(0, 40, 4):
            expected = binomtest(min(a, b), a + b, 0.5).pvalue if a + b else 1.0
            assert mcnemar(a, b) == pytest.approx(expected, rel=1e-9), (a, b)
    assert mcnemar(1000, 1400) == pytest.approx(binomtest(1000, 2400, 0.5).pvalue, rel=1e-6)


def test_the_difference_and_its_error():
    rng = np.random.default_rng(0)
    a, b = rng.random(2000) < 0.7, rng.random(2000) < 0.6
    found = compare(a, b)
    d = a.astype(float) - b
    assert found.difference.value == pytest.approx(d.mean())
    assert found.difference.standard_error == pytest.approx(d.std() / 2000**0.5, rel=0.06)
    assert found.difference.low < found.difference.value < found.difference.high
    assert (found.only_a, found.only_b) == (int((a & ~b).sum()), int((b & ~a).sum()))
    assert compare(a, b) == found  # by seed


def test_a_model_does_not_differ_from_itself():
    hits = np.array([True, False, True])
    found = compare(hits, hits)
    assert (found.p, found.difference.value, found.difference.high) == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="as many of each"):
        compare(hits, hits[:2])
