"""Two models on the same items: is one better, or did it have luck?

McNemar's exact test looks at the items on which they differ: if the models were equally good, each
of these would fall to either side like a coin. The bootstrap draws items, both models' answers
along with each, and so says how large the difference is.

Letter: N items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Interval, interval

Hits = npt.NDArray[np.bool_]
RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """Model a against model b."""

    n: int
    only_a: int
    """Items that a got right and b wrong."""
    only_b: int
    p: float
    """Two-sided, of the difference being chance (McNemar, exact)."""
    difference: Interval
    """Accuracy of a less that of b, with its bootstrap interval."""


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p: twice the smaller tail of a fair coin thrown only_a + only_b times."""
    n, least = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    logs = [_log_choose(n, k) - n * math.log(2) for k in range(least + 1)]
    top = max(logs)
    tail = math.exp(top) * math.fsum(math.exp(one - top) for one in logs)
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def compare(a_N: Hits, b_N: Hits, seed: int = 0, resamples: int = RESAMPLES) -> Comparison:
    """Two models' hits on the same N items, in one order. Raises ValueError if N differ or is 0."""
    if a_N.shape != b_N.shape or not a_N.size:
        raise ValueError(f"hits {a_N.shape} and {b_N.shape}; legal: as many of each, one or more")
    only_a, only_b = int((a_N & ~b_N).sum()), int((b_N & ~a_N).sum())
    n, rng = int(a_N.size), np.random.default_rng(seed)
    chances = np.array([only_a, only_b, n - only_a - only_b]) / n  # an item is one of three kinds
    drawn = rng.multinomial(n, chances, size=resamples)
    found = interval((only_a - only_b) / n, (drawn[:, 0] - drawn[:, 1]) / n)
    return Comparison(n, only_a, only_b, mcnemar(only_a, only_b), found)


def holm(p: Sequence[float]) -> list[float]:
    """p values as Holm (1979) adjusts them: the chance of any false finding stays below the level.

    Sorted upwards, the i-th of m (from 0) is multiplied by m - i, and none falls below the one
    before it; at most 1. Holds under any dependence of the tests.
    """
    order, found, highest = sorted(range(len(p)), key=lambda i: p[i]), [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        found[index] = highest
    return found
