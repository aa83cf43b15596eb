"""The line on which standard models lie: accuracy under shift against accuracy in distribution.

In logit-logit axes the points of ordinarily trained models fall on a line (Taori et al., arXiv
2007.00644; Miller et al., arXiv 2107.04649): a model's accuracy under shift can be foretold from
its accuracy in distribution. A line is only as good as its points, so it says itself where it
should be doubted.

Letters: S standard models, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.statistics import Floats


@dataclass(frozen=True)
class Trend:
    """logit(acc_shift) = slope * logit(acc_id) + intercept, and the points it was fitted to."""

    slope: float
    intercept: float
    acc_id: tuple[float, ...]
    acc_shift: tuple[float, ...]

    def predict(self, acc_id: Floats | float) -> Floats:
        """beta: the accuracy under shift of a standard model with this one in distribution."""
        return expit(self.slope * logit(np.asarray(acc_id, dtype=np.float64)) + self.intercept)

    def doubts(self, acc_id: float) -> tuple[str, ...]:
        """Why the prediction at `acc_id` should be read with care; empty if there is no reason."""
        n, low, high = len(self.acc_id), min(self.acc_id), max(self.acc_id)
        found = []
        if n < 3:
            found.append(
                f"the line rests on {n} standard model{'s' if n > 1 else ''}; 3 or more are wanted"
            )
        if high - low < 1e-9:
            found.append(
                "the standard models have one accuracy in distribution: slope 1 is assumed"
            )
        if not low <= acc_id <= high:
            found.append(
                f"extrapolated: {acc_id:.1%} in distribution lies outside the standard models' "
                f"{low:.1%} to {high:.1%}"
            )
        return tuple(found)


def logit(p: Floats) -> Floats:
    """log(p / (1 - p)), for p inside (0, 1)."""
    return np.asarray(np.log(p) - np.log1p(-p))


def expit(x: Floats) -> Floats:
    """Inverse of logit."""
    return np.asarray(1 / (1 + np.exp(-x)))


def least_squares(x_RS: Floats, y_RS: Floats) -> tuple[Floats, Floats]:
    """Slope and intercept (R,) of each row's S points; slope 1 where all x are equal."""
    x_mean, y_mean = x_RS.mean(axis=1), y_RS.mean(axis=1)
    x, y = x_RS - x_mean[:, None], y_RS - y_mean[:, None]
    spread = (x * x).sum(axis=1)
    slope = np.where(spread > 1e-18, (x * y).sum(axis=1) / np.maximum(spread, 1e-18), 1.0)
    return slope, y_mean - slope * x_mean


def fit_trend(acc_id: Sequence[float], acc_shift: Sequence[float]) -> Trend:
    """The line over accuracies inside (0, 1). Raises ValueError if there are none."""
    x, y = np.asarray(acc_id, dtype=np.float64), np.asarray(acc_shift, dtype=np.float64)
    if not len(x) or x.shape != y.shape or not ((x > 0) & (x < 1) & (y > 0) & (y < 1)).all():
        raise ValueError(
            f"acc_id={list(acc_id)}, acc_shift={list(acc_shift)}; "
            "legal: as many of each, one or more, inside (0, 1)"
        )
    slope, intercept = least_squares(logit(x)[None], logit(y)[None])
    return Trend(float(slope[0]), float(intercept[0]), tuple(x.tolist()), tuple(y.tolist()))
