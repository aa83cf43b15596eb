"""How well a score tells matching image-text pairs from others, where the truth is known.

A filter keeps the pairs whose score reaches a threshold. Precision is the share of matching pairs
among those kept, recall the share kept of those that match; the curve has both at every score that
occurs, average precision is its area in steps, without interpolation. Intervals come from a
bootstrap over groups, an image with all its texts being one: they are not independent.

The threshold that the curve suggests is chosen on the pairs that it is judged on, so what is told
at it is a little too good: choose on one half and judge on the other where it matters.

Letters: P pairs, K thresholds, G groups, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Floats, Interval, bootstrap_weights, interval

RESAMPLES_A_BLOCK = 64
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """At each score that occurs, the lowest first: what keeping "score >= threshold" gives (K,)."""

    thresholds: Floats
    precision: Floats
    recall: Floats
    kept: Floats
    """Share of all pairs."""

    @property
    def average_precision(self) -> float:
        """Precision averaged over the steps of recall, in (0, 1]."""
        return float(_average_precision(self.precision, self.recall))

    def f_score(self, beta: float = 1.0) -> Floats:
        """F (K,): harmonic mean, recall weighing beta^2 times as much as precision."""
        return _f_score(self.precision, self.recall, beta)

    def best_threshold(self, beta: float = 1.0) -> float:
        """The threshold of the highest F; of several the one that keeps most."""
        return float(self.thresholds[np.argmax(self.f_score(beta))])

    def threshold_for(self, precision: float) -> float:
        """The lowest threshold from which precision is reached. Raises ValueError if none is."""
        reached = np.flatnonzero(self.precision >= precision)
        if not len(reached):
            best = float(self.precision.max())
            raise ValueError(f"precision {precision} is not reached; legal: at most {best}")
        return float(self.thresholds[reached[0]])


@dataclass(frozen=True)
class FilterScore:
    """A filter at one threshold, and its whole curve in one figure, with 95 % intervals."""

    threshold: float
    precision: Interval
    recall: Interval
    f1: Interval
    average_precision: Interval
    best_threshold: Interval
    """The one of highest F1, chosen anew in each draw: how firm a choice it is."""
    pairs: int
    matching: int


def curve(scores: Floats, labels: Labels) -> Curve:
    """The precision-recall curve of scores (P,) against labels (P,), True for a matching pair.

    Raises:
        ValueError: shapes differ, a score is not finite, or no pair matches.
    """
    _check(scores, labels)
    thresholds, found, kept = _counts(scores, labels, np.ones((1, len(scores))))
    precision, recall = _precision_recall(found, kept)
    return Curve(thresholds, precision[0], recall[0], kept[0] / len(scores))


def score_filter(
    scores: Floats,
    labels: Labels,
    groups: npt.ArrayLike | None = None,
    threshold: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> FilterScore:
    """The filter's figures at `threshold` (the curve's best one if None), with intervals.

    Args:
        groups: what is drawn (P,), such as the pairs' image ids; None: each pair by itself.
    """
    whole = curve(scores, labels)
    threshold = whole.best_threshold() if threshold is None else threshold
    keys = np.arange(len(scores)) if groups is None else np.asarray(groups)
    if keys.shape != scores.shape:
        raise ValueError(f"groups {keys.shape}; legal: one a score, {scores.shape}")
    _, group_P = np.unique(keys, return_inverse=True)
    weights_RG = bootstrap_weights(int(group_P.max()) + 1, resamples, seed).astype(np.float64)
    blocks = [
        _figures(
            scores, labels, weights_RG[start : start + RESAMPLES_A_BLOCK][:, group_P], threshold
        )
        for start in range(0, resamples, RESAMPLES_A_BLOCK)
    ]
    draws = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    once = _figures(scores, labels, np.ones((1, len(scores))), threshold)
    intervals = {name: interval(float(once[name][0]), draws[name]) for name in draws}
    return FilterScore(threshold, **intervals, pairs=len(scores), matching=int(labels.sum()))


def _check(scores: Floats, labels: Labels) -> None:
    if scores.ndim != 1 or scores.shape != labels.shape or labels.dtype != bool:
        raise ValueError(
            f"scores {scores.shape}, labels {labels.shape} {labels.dtype}; legal: (P,), (P,) bool"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"score {int(np.argmin(np.isfinite(scores)))} is not finite")
    if not labels.any():
        raise ValueError(f"none of {len(labels)} pairs matches; legal: one or more")


def _counts(scores: Floats, labels: Labels, weights_RP: Floats) -> tuple[Floats, Floats, Floats]:
    """Thresholds (K,) ascending; weight of matching pairs, and of all, kept at each (R, K)."""
    order = np.argsort(scores, kind="stable")
    thresholds, first = np.unique(scores[order], return_index=True)
    weights = weights_RP[:, order].astype(np.float64)
    kept = np.add.reduceat(weights, first, axis=1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    matching = np.add.reduceat(weights * labels[order], first, axis=1)
    return thresholds, matching[:, ::-1].cumsum(axis=1)[:, ::-1], kept


def _precision_recall(found: Floats, kept: Floats) -> tuple[Floats, Floats]:
    """(R, K) each: precision 0 where nothing is kept, recall NaN where nothing matches."""
    with np.errstate(invalid="ignore"):
        return np.where(kept > 0, found / np.maximum(kept, 1), 0.0), found / found[:, :1]


def _average_precision(precision: Floats, recall: Floats) -> Floats:
    steps = -np.diff(recall, axis=-1, append=0.0)
    return np.asarray((steps * precision).sum(axis=-1))


def _f_score(precision: Floats, recall: Floats, beta: float) -> Floats:
    weighed = beta**2 * precision + recall
    return np.asarray((1 + beta**2) * precision * recall / np.where(weighed > 0, weighed, 1))


def _figures(
    scores: Floats, labels: Labels, weights_RP: Floats, threshold: float
) -> dict[str, Floats]:
    """Each figure of each draw (R,); NaN where a draw has nothing to count it from."""
    thresholds, found, kept = _counts(scores, labels, weights_RP)
    precision, recall = _precision_recall(found, kept)
    f1 = _f_score(precision, recall, 1.0)
    occurs = -np.diff(kept, axis=1, append=0.0) > 0  # scores that this draw has
    best = thresholds[np.argmax(np.where(occurs, f1, -1.0), axis=1)]
    at = int(np.searchsorted(thresholds, threshold))
    precision_at, recall_at, f1_at, kept_at = (
        np.pad(figure, ((0, 0), (0, 1)))[:, at] for figure in (precision, recall, f1, kept)
    )
    return {
        "precision": np.where(kept_at > 0, precision_at, np.nan),
        "recall": recall_at,
        "f1": f1_at,
        "average_precision": _average_precision(precision, recall),
        "best_threshold": np.where(found[:, 0] > 0, best, np.nan),
    }
