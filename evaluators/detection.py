"""Detections scored as COCO does: average precision of each class over IoU 0.50 to 0.95.

Boxes of a class are taken over all pictures by falling confidence; each takes the true box of its
picture and class that it overlaps most and that is still free, if the IoU reaches the threshold,
and is false otherwise. AP is the mean, at 101 recalls from 0 to 1, of the best precision at that
recall or beyond (Lin et al. 2014; pycocotools, whose results ours equal). mAP is the mean over
classes that have true boxes. COCO counts the 100 surest boxes of a picture; a screen may have more
elements than that, so here it is `MOST`.

Its error comes from drawing pictures anew, the matches staying as they are.

Letters: P predicted, T true boxes of one picture and class; N detections of a class, ordered; K
thresholds; S screens; R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Floats, Interval, bootstrap_weights, interval

Box = Sequence[float]
"""x0 y0 x1 y1 in pixels."""
True_ = tuple[str, Box]
"""An element's class and box."""
Predicted = tuple[str, float, Box]
"""A detection's class, confidence and box."""
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MOST = 600
RECALLS = np.linspace(0, 1, 101)
RESAMPLES = 200


@dataclass(frozen=True)
class ClassScore:
    """How well one class is found."""

    ap50: float
    """AP at IoU 0.5; NaN without true boxes."""
    ap: float
    """Mean AP over the thresholds."""
    recall50: float
    """Share of the true boxes that any detection finds at IoU 0.5."""
    true: int
    predicted: int


@dataclass(frozen=True)
class Detected:
    """How well screens are detected."""

    map50: Interval
    """Mean AP at IoU 0.5 over the classes that count; drawn over the screens."""
    map: float
    """Mean over the thresholds too."""
    screens: int
    by_class: Mapping[str, ClassScore]
    """Every class with a true or a predicted box."""
    counted: tuple[str, ...]
    """The classes that the means are over."""


@dataclass
class _Pooled:
    """Detections of one class over all screens."""

    confidence: list[float]
    screen: list[int]
    hits: list[npt.NDArray[np.bool_]]  # (K,) each
    true_S: npt.NDArray[np.int64]


def detection_score(
    screens: Iterable[tuple[Sequence[Predicted], Sequence[True_]]],
    *,
    least: int = 1,
    one_class: bool = False,
    most: int = MOST,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Detected:
    """AP of each class over `screens`, each the detections and the true elements.

    Args:
        least: true boxes that a class must have for the means to count it.
        one_class: all boxes count as one class, "element": for detectors without classes.
        most: detections of a screen and class that count, the surest.
    """
    pooled: dict[str, _Pooled] = {}
    count = 0
    kept = list(screens)
    for number, (predicted, true) in enumerate(kept):
        for kind, (boxes, sure, truth) in _by_class(predicted, true, one_class).items():
            pool = pooled.setdefault(kind, _Pooled([], [], [], np.zeros(len(kept), np.int64)))
            order = np.argsort(-sure, kind="stable")[:most]
            pool.true_S[number] = len(truth)
            pool.confidence += sure[order].tolist()
            pool.screen += [number] * len(order)
            pool.hits += list(match(boxes[order], truth))
        count += 1
    return _summary(pooled, count, least, resamples, seed)


def _by_class(
    predicted: Sequence[Predicted], true: Sequence[True_], one_class: bool
) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Predicted boxes (P, 4), their confidences (P,) and true boxes (T, 4) of each class."""
    found: dict[str, tuple[list[Box], list[float], list[Box]]] = {}

    def of(kind: str) -> tuple[list[Box], list[float], list[Box]]:
        return found.setdefault("element" if one_class else kind, ([], [], []))

    for kind, sure, box in predicted:
        of(kind)[0].append(box)
        of(kind)[1].append(sure)
    for kind, box in true:
        of(kind)[2].append(box)
    return {
        kind: (
            np.array(boxes, float).reshape(-1, 4),
            np.array(sure, float),
            np.array(truth, float).reshape(-1, 4),
        )
        for kind, (boxes, sure, truth) in found.items()
    }


def overlaps(predicted_P4: Floats, true_T4: Floats) -> Floats:
    """Intersection over union (P, T) of boxes x0 y0 x1 y1; 0 where both are without area."""
    low_PT2 = np.maximum(predicted_P4[:, None, :2], true_T4[None, :, :2])
    high_PT2 = np.minimum(predicted_P4[:, None, 2:], true_T4[None, :, 2:])
    common_PT = np.maximum(high_PT2 - low_PT2, 0).prod(axis=-1)
    areas_P, areas_T = (
        np.maximum(b[:, 2:] - b[:, :2], 0).prod(axis=-1) for b in (predicted_P4, true_T4)
    )
    union_PT = areas_P[:, None] + areas_T[None, :] - common_PT
    return np.asarray(np.where(union_PT > 0, common_PT / np.where(union_PT > 0, union_PT, 1), 0.0))


def match(predicted_P4: Floats, true_T4: Floats) -> npt.NDArray[np.bool_]:
    """Whether each detection, surest first, finds a true box of its own: (P, K)."""
    hits_PK = np.zeros((len(predicted_P4), len(THRESHOLDS)), bool)
    if not len(true_T4):
        return hits_PK
    iou_PT = overlaps(predicted_P4, true_T4)
    for place, threshold in enumerate(THRESHOLDS):
        free_T = np.ones(len(true_T4), bool)
        for row in range(len(predicted_P4)):
            iou_T = np.where(free_T, iou_PT[row], -1.0)
            best = len(iou_T) - 1 - int(iou_T[::-1].argmax())  # of equals the last, as COCO does
            if iou_T[best] >= min(threshold, 1 - 1e-10):
                hits_PK[row, place] = True
                free_T[best] = False
    return hits_PK


def _average_precision(hits_N: Floats, weight_N: Floats, true: float) -> float:
    """101-point AP of detections ordered by falling confidence, each counted `weight_N` times."""
    if true <= 0:
        return math.nan
    good_N, all_N = np.cumsum(hits_N * weight_N), np.cumsum(weight_N)
    recall_N = good_N / true
    precision_N = good_N / np.maximum(all_N, np.spacing(1))
    best_N = np.maximum.accumulate(precision_N[::-1])[::-1]
    at = np.searchsorted(recall_N, RECALLS, side="left")
    return (
        float(np.where(at < len(best_N), best_N[np.minimum(at, len(best_N) - 1)], 0).mean())
        if len(best_N)
        else 0.0
    )


def _summary(
    pooled: Mapping[str, _Pooled], screens: int, least: int, resamples: int, seed: int
) -> Detected:
    by_class: dict[str, ClassScore] = {}
    draws: list[Floats] = []
    counted = []
    weights_RS = bootstrap_weights(screens, resamples, seed) if screens else np.zeros((0, 0))
    for kind in sorted(pooled):
        pool = pooled[kind]
        order = np.argsort(-np.array(pool.confidence), kind="stable")
        hits_NK = np.array(pool.hits, float).reshape(-1, len(THRESHOLDS))[order]
        true = int(pool.true_S.sum())
        ones_N = np.ones(len(order))
        aps = [_average_precision(hits_N, ones_N, true) for hits_N in hits_NK.T]
        recall = float(hits_NK[:, 0].sum()) / true if true else math.nan
        by_class[kind] = ClassScore(aps[0], float(np.mean(aps)), recall, true, len(order))
        if true >= max(1, least):
            counted.append(kind)
            screen_N = np.array(pool.screen, np.int64)[order]
            draws.append(
                np.array(
                    [
                        _average_precision(hits_NK[:, 0], w_S[screen_N], float(w_S @ pool.true_S))
                        for w_S in weights_RS
                    ]
                )
            )
    means_R = _mean_over_classes(draws)
    value = float(np.mean([by_class[kind].ap50 for kind in counted])) if counted else math.nan
    every = float(np.mean([by_class[kind].ap for kind in counted])) if counted else math.nan
    return Detected(interval(value, means_R), every, screens, by_class, tuple(counted))


def _mean_over_classes(draws: Sequence[Floats]) -> Floats:
    """(R,) means over the classes that a draw has true boxes of."""
    if not draws:
        return np.empty(0)
    drawn_CR = np.stack(draws)
    there_CR = ~np.isnan(drawn_CR)
    return np.asarray(np.where(there_CR, drawn_CR, 0).sum(0) / np.maximum(there_CR.sum(0), 1))
