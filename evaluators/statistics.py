"""How sure a figure is: standard errors, Wilson intervals, a bootstrap that keeps pairs together.

Every score of this project is a mean over items, so it carries n and a standard error. Differences
between two scores over the same concepts are taken inside one bootstrap draw: the concept is what
is drawn, and all its pictures, of every hand and for every model, come along. Drawing the sides
apart would overstate the error.

Letters: N items, K concepts, R resamples.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


@dataclass(frozen=True)
class Rate:
    """A mean over items: `value` in the metric's unit (NaN where n is 0), over `n` items."""

    value: float
    n: int
    standard_error: float


@dataclass(frozen=True)
class Interval:
    """A figure, with the 2.5 % and 97.5 % points and the deviation of its bootstrap draws."""

    value: float
    low: float
    high: float
    standard_error: float


def rate(hits: npt.NDArray[np.bool_]) -> Rate:
    """Share of True in `hits` (N,), with the binomial standard error sqrt(p (1 - p) / n)."""
    n = int(hits.size)
    if n == 0:
        return Rate(math.nan, 0, math.nan)
    p = float(hits.mean())
    return Rate(p, n, math.sqrt(p * (1 - p) / n))


def mean_of(values: Sequence[float]) -> Rate:
    """Mean of `values`, with the standard error of the mean."""
    n = len(values)
    if n == 0:
        return Rate(math.nan, 0, math.nan)
    error = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Rate(float(np.mean(values)), n, error)


def mean_of_groups(groups: Sequence[Mapping[str, Sequence[float]]]) -> Rate:
    """Mean over groups of each group's mean; n counts the values of all of them.

    Values of one key belong together, within a group and across groups, such as the questions asked
    of one picture: the standard error is that of drawing keys, linearised. Where every key is in
    one group with one value, it is that of a mean of independent means, up to (n - 1) / n.
    """
    means = [mean_of([one for of_key in group.values() for one in of_key]) for group in groups]
    leans: defaultdict[str, float] = defaultdict(float)
    for group, mean in zip(groups, means, strict=True):
        for key, values in group.items():
            leans[key] += math.fsum(value - mean.value for value in values) / mean.n
    error = math.sqrt(math.fsum(lean**2 for lean in leans.values())) / len(groups)
    value = math.fsum(mean.value for mean in means) / len(groups)
    return Rate(value, sum(mean.n for mean in means), error)


def over_seeds(rates: Sequence[Rate]) -> Rate:
    """Mean over seeds of a rate over the same items; the error is that of drawing the items and of
    drawing the seeds.
    """
    values = np.array([one.value for one in rates])
    between = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
    within = np.mean([one.standard_error**2 for one in rates])
    return Rate(float(values.mean()), rates[0].n, float((between + within) ** 0.5))


def mean_per_class(hits: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64]) -> Rate:
    """Mean over classes of the accuracy within the class: hits (N,), labels (N,).

    The standard error is that of a mean of independent binomial rates: sqrt(sum_c p_c (1 - p_c) /
    n_c) / C.
    """
    if hits.size == 0:
        return Rate(math.nan, 0, math.nan)
    _, inverse, n_c = np.unique(labels, return_inverse=True, return_counts=True)
    p_c = np.bincount(inverse, weights=hits) / n_c
    error = math.sqrt(float((p_c * (1 - p_c) / n_c).sum())) / len(n_c)
    return Rate(float(p_c.mean()), int(hits.size), error)


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval (1927) of a rate: inside [0, 1], and of use at 0 and at 1 too."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"successes={successes}, n={n}; legal: 0 <= successes <= n and n >= 1")
    p, z2 = successes / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_weights(n_concepts: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """(R, K) counts: how often resample r drew concept k, K draws with replacement each.

    Callers sort the concepts by name first, so that a draw depends on (seed, concepts) alone.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_concepts, np.full(n_concepts, 1 / n_concepts), size=resamples)


def interval(value: float, draws: Floats) -> Interval:
    """Percentile interval of bootstrap `draws` (R,), NaN ones left out, around the figure."""
    draws = draws[np.isfinite(draws)]
    if draws.size < 2:
        return Interval(value, math.nan, math.nan, math.nan)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high), float(draws.std(ddof=1)))
