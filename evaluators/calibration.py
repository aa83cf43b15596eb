"""Whether a model's confidence is its accuracy: expected calibration error, reliability bins.

Confidence is the softmax of the answer given. ECE is the mean over items of the distance between
accuracy and mean confidence in the item's bin, over bins of equal width (Guo et al., arXiv
1706.04599, with their 15 bins).

Letter: N items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Floats, Rate, bootstrap_weights

BINS = 15
RESAMPLES = 200


@dataclass(frozen=True)
class Bin:
    """Items of like confidence; `confidence` and `accuracy` are means, NaN where n is 0."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidence_N: Floats, hit_N: npt.NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Bins (low, high] of equal width; a confidence of 0 goes into the first."""
    _check(confidence_N)
    place = _place(confidence_N, bins)
    n = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, confidence_N, bins) / n
        accuracy = np.bincount(place, hit_N, bins) / n
    rows = zip(n.tolist(), mean.tolist(), accuracy.tolist(), strict=True)
    return [Bin(i / bins, (i + 1) / bins, *row) for i, row in enumerate(rows)]


def calibration_error(
    confidence_N: Floats, hit_N: npt.NDArray[np.bool_], bins: int = BINS, seed: int = 0
) -> Rate:
    """ECE, in [0, 1], with the standard deviation of its bootstrap over bin counts."""
    _check(confidence_N)
    if not len(hit_N):
        return Rate(float("nan"), 0, float("nan"))
    place, signed = _place(confidence_N, bins), hit_N - confidence_N
    value = float(np.abs(np.bincount(place, signed, bins)).sum() / len(hit_N))
    if len(hit_N) > 20_000:  # the draws cost N * R; the error is then below a thousandth anyway
        chosen = np.random.default_rng(seed).permutation(len(hit_N))[:20_000]
        place, signed = place[chosen], signed[chosen]
    draws = [
        np.abs(np.bincount(place, signed * weights, bins)).sum() / len(signed)
        for weights in bootstrap_weights(len(signed), RESAMPLES, seed)
    ]
    error = float(np.std(draws, ddof=1)) * (len(signed) / len(hit_N)) ** 0.5
    return Rate(value, len(hit_N), error)


def _place(confidence_N: Floats, bins: int) -> npt.NDArray[np.int64]:
    return np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1)


def _check(confidence_N: Floats) -> None:
    if len(confidence_N) and not (confidence_N.min() >= 0 and confidence_N.max() <= 1 + 1e-6):
        raise ValueError(f"confidence up to {confidence_N.max()}; legal: 0 to 1")
