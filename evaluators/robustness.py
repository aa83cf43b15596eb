"""What a distribution shift takes away: gap, effective and relative robustness.

Effective robustness is what a model has above the line beta of standard models (see
`evaluators.trend`), rho(f) = acc_shift(f) - beta(acc_id(f)); relative robustness compares with one
other model, tau(f, g) = acc_shift(f) - acc_shift(g). CLIP's figure 13 is this plot (arXiv
2103.00020, section 3.3).

Both sides count the same concepts, and intervals come from drawing concepts
(`evaluators.statistics`): a draw moves both sides, every model and the line together.

Letters: K concepts, S standard models, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Floats, Interval, bootstrap_weights, interval
from evaluators.trend import Trend, expit, fit_trend, least_squares, logit

RESAMPLES = 2000
Side = tuple[Floats, Floats]


@dataclass(frozen=True)
class Outcome:
    """One model's hits and pictures a concept (K,), both sides; all models have the same K."""

    model: str
    id_hits: Floats
    id_counts: Floats
    shift_hits: Floats
    shift_counts: Floats

    def accuracies(self, weights: npt.NDArray[np.int64]) -> Side:
        """(acc_id, acc_shift), (R,) each, under concept weights (R, K)."""
        sides = ((self.id_hits, self.id_counts), (self.shift_hits, self.shift_counts))
        acc_id, acc_shift = ((weights @ hits) / np.maximum(weights @ n, 1) for hits, n in sides)
        return np.asarray(acc_id), np.asarray(acc_shift)

    def inside(self, accuracies: Side) -> Side:
        """The accuracies moved off 0 and 1 by half a picture, so that their logits exist."""
        halves = (0.5 / max(n.sum(), 1.0) for n in (self.id_counts, self.shift_counts))
        acc_id, acc_shift = (np.clip(a, h, 1 - h) for a, h in zip(accuracies, halves, strict=True))
        return acc_id, acc_shift


@dataclass(frozen=True)
class Robustness:
    """One model's figures under one shift, with 95 % bootstrap intervals over the concepts."""

    model: str
    n_concepts: int
    acc_id: Interval
    acc_shift: Interval
    gap: Interval
    effective: Interval | None
    """rho; None where there is no standard model to draw the line."""
    relative: dict[str, Interval]
    """tau against each standard model, by its name."""
    trend: Trend | None
    doubts: tuple[str, ...]


def robustness(
    model: Outcome, standard: Sequence[Outcome], seed: int = 0, resamples: int = RESAMPLES
) -> Robustness:
    """Gap, rho against the line over `standard`, and tau against each of them, paired by concept.

    Raises:
        ValueError: models with different numbers of concepts, or none.
    """
    k = len(model.id_hits)
    if k == 0 or any(len(other.id_hits) != k for other in standard):
        sizes = {other.model: len(other.id_hits) for other in (model, *standard)}
        raise ValueError(
            f"concepts a model: {sizes}; legal: the same concepts for all, one or more"
        )
    sample = np.ones(
        (1, k), dtype=np.int64
    )  # row 0 is the sample itself, the rest are its resamples
    weights = np.vstack([sample, bootstrap_weights(k, resamples, seed)])
    acc_id, acc_shift = model.accuracies(weights)
    trend, effective, doubts = _against_line(model, standard, weights)
    return Robustness(
        model=model.model,
        n_concepts=k,
        acc_id=_interval(acc_id),
        acc_shift=_interval(acc_shift),
        gap=_interval(acc_id - acc_shift),
        effective=effective,
        relative={
            other.model: _interval(acc_shift - other.accuracies(weights)[1])
            for other in standard
            if other.model != model.model
        },
        trend=trend,
        doubts=doubts,
    )


def _against_line(
    model: Outcome, standard: Sequence[Outcome], weights: npt.NDArray[np.int64]
) -> tuple[Trend | None, Interval | None, tuple[str, ...]]:
    if not standard:
        return None, None, ("no standard model was scored, so there is no line to compare with",)
    points = [other.inside(other.accuracies(weights)) for other in standard]
    x_RS, y_RS = (np.stack(side, axis=1) for side in zip(*points, strict=True))
    slope, intercept = least_squares(logit(x_RS), logit(y_RS))
    acc_id, acc_shift = model.inside(model.accuracies(weights))
    beta = expit(slope * logit(acc_id) + intercept)
    trend = fit_trend(x_RS[0].tolist(), y_RS[0].tolist())
    return trend, _interval(acc_shift - beta), trend.doubts(float(acc_id[0]))


def _interval(values: Floats) -> Interval:
    return interval(float(values[0]), values[1:])
