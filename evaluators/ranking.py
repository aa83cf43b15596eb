"""Metrics over the order of scores: area under the ROC curve, average precision.

ROC AUC is the chance that a positive scores above a negative, ties counting half (Mann-Whitney).
Its standard error is Hanley and McNeil's (1982). Average precision is the mean precision at each
positive; PASCAL VOC 2007 averages the interpolated precision at recalls 0, 0.1, ..., 1 instead.

Letter: N items.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Floats, Rate


def roc_auc(scores_N: Floats, positive_N: npt.NDArray[np.bool_]) -> Rate:
    """Area under the ROC curve. Raises ValueError unless there are positives and negatives."""
    n1, n0 = int(positive_N.sum()), int((~positive_N).sum())
    if not n1 or not n0:
        raise ValueError(f"{n1} positives and {n0} negatives; legal: one or more of each")
    _, inverse, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_rank = (ends - (counts - 1) / 2)[inverse]  # of 1 to N, ties share their mean
    a = float((mean_rank[positive_N].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (n1 - 1) * (q1 - a * a) + (n0 - 1) * (q2 - a * a)) / (n1 * n0)
    return Rate(a, n1 + n0, math.sqrt(max(variance, 0.0)))


def average_precision(scores_N: Floats, positive_N: npt.NDArray[np.bool_]) -> float:
    """Mean precision at each positive, where equal scores are one step; NaN without a positive."""
    precision, recall = _curve(scores_N, positive_N)
    return float((np.diff(recall, prepend=0.0) * precision).sum()) if len(recall) else math.nan


def average_precision_11(scores_N: Floats, positive_N: npt.NDArray[np.bool_]) -> float:
    """VOC 2007's: mean over recalls 0, 0.1, ..., 1 of the best precision at that recall or more."""
    precision, recall = _curve(scores_N, positive_N)
    if not len(recall):
        return math.nan
    best = [precision[recall >= r - 1e-12].max(initial=0.0) for r in np.linspace(0, 1, 11)]
    return float(np.mean(best))


def _curve(scores_N: Floats, positive_N: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(precision, recall) after each distinct score, highest first; empty without a positive."""
    if not positive_N.any():
        return np.empty(0), np.empty(0)
    order = np.argsort(-scores_N, kind="stable")
    hits = np.cumsum(positive_N[order]).astype(np.float64)
    last = np.flatnonzero(np.diff(scores_N[order], append=-np.inf) != 0)
    return hits[last] / (last + 1), hits[last] / hits[-1]
