"""The overlap analysis beside scipy's binomial distribution."""

import pyarrow as pa
import pytest
from scipy.stats import binomtest

from evaluators.contamination import clopper_pearson, compare, overlap_rows, upper_tail


def test_tails_and_intervals_are_scipys():
    for k, n, p in ((0, 5, 0.3), (3, 5, 0.3), (5, 5, 0.3), (40, 60, 0.5), (700, 1000, 0.66)):
        test = binomtest(k, n, p, alternative="greater")
        assert upper_tail(k, n, p) == pytest.approx(test.pvalue, rel=1e-9)
        exact = binomtest(k, n).proportion_ci(0.995, "exact")
        assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high), abs=1e-9)


def answers(shown_hits: int, shown: int, clean_hits: int, clean: int) -> pa.Table:
    rows = [(f"s{i}", 0 if i < shown_hits else 3) for i in range(shown)]
    rows += [(f"c{i}", 0 if i < clean_hits else 1) for i in range(clean)]
    rows += [("broken", None)]
    return pa.table(
        {
            "suite": ["zero-shot"] * len(rows),
            "dataset": ["set"] * len(rows),
            "model": ["CLIP"] * len(rows),
            "task": ["zero_shot"] * len(rows),
            "item": [item for item, _ in rows],
            "rank": pa.array([rank for _, rank in rows], pa.int32()),
        }
    )


def test_what_the_overlap_is_worth():
    shown = {f"s{i}" for i in range(20)} | {"never seen"}
    found = compare(answers(19, 20, 50, 100), shown)
    assert (found.shown.value, found.clean.value, found.all.n) == (0.95, 0.5, 120)
    assert found.gain == pytest.approx(69 / 120 - 0.5)
    assert found.p == pytest.approx(binomtest(19, 20, 0.5, alternative="greater").pvalue)
    row = next(overlap_rows(answers(19, 20, 50, 100), "zero-shot", "set", shown))
    assert (row["pictures"], row["in the corpus"]) == (120, 20)


def test_nothing_shown_is_no_finding():
    found = compare(answers(0, 0, 5, 10), set())
    assert (found.p, found.gain, found.shown.n) == (1.0, 0.0, 0)
