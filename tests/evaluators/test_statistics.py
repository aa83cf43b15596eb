"""Errors and intervals against scipy, closed forms and plain loops."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from evaluators import statistics

rng = np.random.default_rng(2)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (150, 1834), (1, 1)])
def test_wilson_equals_scipy(k, n):
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert statistics.wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses_what_is_no_rate(k, n):
    with pytest.raises(ValueError, match="legal"):
        statistics.wilson(k, n)


def test_rate_and_its_error():
    found = statistics.rate(np.array([True] * 30 + [False] * 70))
    assert (found.value, found.n) == (0.3, 100)
    assert found.standard_error == pytest.approx(math.sqrt(0.3 * 0.7 / 100))
    assert math.isnan(statistics.rate(np.zeros(0, bool)).value)


def test_error_is_the_spread_over_repeated_samples():
    draws = [statistics.rate(rng.random(400) < 0.2).value for _ in range(2000)]
    told = statistics.rate(rng.random(400) < 0.2).standard_error
    assert np.std(draws) == pytest.approx(told, rel=0.15)


def test_mean_per_class_is_the_mean_of_class_means():
    labels = np.array([0, 0, 0, 0, 7, 7])
    hits = np.array([True, True, True, False, False, True])
    found = statistics.mean_per_class(hits, labels)
    assert found.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    variance = 3 / 4 * 1 / 4 / 4 + 1 / 2 * 1 / 2 / 2
    assert found.standard_error == pytest.approx(math.sqrt(variance) / 2)


def test_groups_that_share_their_pictures_are_as_unsure_as_repeated_samples():
    def draw():
        ease = rng.normal(size=200)  # of a picture, asked with in both groups, in one of them twice
        groups = [{}, {}]
        for picture, easy in enumerate(ease):
            groups[0][str(picture)] = [float(easy + rng.normal() > 0)]
            groups[1][str(picture)] = [float(easy + rng.normal() > 1) for _ in range(2)]
        return statistics.mean_of_groups(groups)

    drawn = [draw() for _ in range(800)]
    assert np.std([one.value for one in drawn]) == pytest.approx(drawn[0].standard_error, rel=0.12)
    assert drawn[0].n == 600


def test_groups_without_a_shared_key_are_independent():
    groups = [{f"{name}{i}": [x] for i, x in enumerate(rng.random(300))} for name in "ab"]
    found = statistics.mean_of_groups(groups)
    means = [statistics.mean_of([x for [x] in group.values()]) for group in groups]
    assert found.value == pytest.approx(np.mean([mean.value for mean in means]))
    apart = math.sqrt(sum(mean.standard_error**2 for mean in means)) / 2
    assert found.standard_error == pytest.approx(apart, rel=0.01)


def test_bootstrap_of_a_mean_has_the_known_error():
    x = rng.normal(3, 2, size=500)
    weights = statistics.bootstrap_weights(500, 4000, seed=0)
    assert (weights.sum(axis=1) == 500).all()
    found = statistics.interval(float(x.mean()), weights @ x / 500)
    assert found.standard_error == pytest.approx(x.std() / math.sqrt(500), rel=0.06)
    half = 1.96 * x.std() / math.sqrt(500)
    assert (found.low, found.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.03)


def test_bootstrap_depends_on_the_seed_alone():
    one, two, other = (statistics.bootstrap_weights(20, 50, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
