"""Screens scored: annotations by matched boxes, navigation by where the click would land.

Annotation F1 after ScreenAI (Baechler et al. 2024, arXiv 2402.04615): a predicted element and a
true one may be a pair if their boxes' IoU reaches a threshold (0.1 there; 0.5 is also given) and,
in the paper's measure, if their classes are the same. The paper does not say how pairs are chosen.
Ours are one-to-one and as many as there can be (a maximum bipartite matching), so the count depends
neither on the order of the elements nor on scores that they have not, and two predictions of one
element count once. F1 = 2 pairs / (predicted + true), over the elements of all screens together;
its error comes from drawing screens anew.

Boxes are x0 x1 y0 y1, in any unit that both sides share. Letters: P predicted, T true elements,
S screens, R resamples.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Floats, Interval, Rate, bootstrap_weights, interval, rate

Box = Sequence[float]
Found = tuple[str, Box]
"""An element's class and its box."""
THRESHOLDS = (0.1, 0.5)
RESAMPLES = 1000


@dataclass(frozen=True)
class Counts:
    """Elements of both sides, and pairs between them."""

    pairs: int
    predicted: int
    true: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN where there is nothing on either side."""
        return _f1(np.array([self.pairs, self.predicted, self.true], float)).item()

    @property
    def precision(self) -> float:
        """Share of the predicted elements that have a partner; NaN if none was predicted."""
        return self.pairs / self.predicted if self.predicted else math.nan

    @property
    def recall(self) -> float:
        """Share of the true elements that have a partner; NaN if there is none."""
        return self.pairs / self.true if self.true else math.nan


@dataclass(frozen=True)
class Annotated:
    """How well screens were annotated, at one threshold."""

    f1: Interval
    """Over all elements; drawn over the screens."""
    screens: int
    counts: Counts
    by_class: Mapping[str, Counts]
    """Of each class; empty where pairs may be of two classes."""


def iou(predicted_P4: npt.ArrayLike, true_T4: npt.ArrayLike) -> Floats:
    """Intersection over union (P, T), in [0, 1]; of two boxes without area 1 if they are equal."""
    p_P14 = np.asarray(predicted_P4, float).reshape(-1, 1, 4)
    t_1T4 = np.asarray(true_T4, float).reshape(1, -1, 4)
    lows, highs = slice(0, 4, 2), slice(1, 4, 2)
    sides = np.minimum(p_P14[..., highs], t_1T4[..., highs])
    sides = sides - np.maximum(p_P14[..., lows], t_1T4[..., lows])
    common_PT = np.maximum(sides, 0).prod(axis=-1)
    areas = [(boxes[..., highs] - boxes[..., lows]).prod(axis=-1) for boxes in (p_P14, t_1T4)]
    union_PT = areas[0] + areas[1] - common_PT
    equal_PT = (p_P14 == t_1T4).all(axis=-1)
    return np.asarray(
        np.where(union_PT > 0, common_PT / np.where(union_PT > 0, union_PT, 1), equal_PT)
    )


def pair(
    predicted: Sequence[Found], true: Sequence[Found], threshold: float, same_class: bool = True
) -> list[tuple[int, int]]:
    """As many (predicted, true) places as can be paired, each used once, in order."""
    fits_PT = iou([box for _, box in predicted], [box for _, box in true]) >= threshold
    if same_class:
        kinds_P, kinds_T = ([kind for kind, _ in side] for side in (predicted, true))
        fits_PT &= (
            np.array(kinds_P)[:, None] == np.array(kinds_T)[None, :] if fits_PT.size else True
        )
    return maximum_matching([np.flatnonzero(row).tolist() for row in fits_PT], len(true))


def maximum_matching(partners: Sequence[Sequence[int]], right: int) -> list[tuple[int, int]]:
    """A largest set of (left, right) pairs that share no end, by augmenting paths (Kuhn 1955).

    Args:
        partners: of each left node the right nodes it may be paired with.
        right: how many right nodes there are.
    """
    of_right: list[int | None] = [None] * right
    for start in range(len(partners)):
        came_from: dict[int, int] = {}  # right node: the left one that reached it first
        waiting = deque([start])
        while waiting:
            left = waiting.popleft()
            new = [node for node in partners[left] if node not in came_from]
            came_from.update(dict.fromkeys(new, left))
            free = next((node for node in new if of_right[node] is None), None)
            if free is not None:
                _augment(free, start, came_from, of_right)
                break
            waiting += [taken for node in new if (taken := of_right[node]) is not None]
    return sorted((left, node) for node, left in enumerate(of_right) if left is not None)


def _augment(
    free: int, start: int, came_from: Mapping[int, int], of_right: list[int | None]
) -> None:
    """Pair anew along the path that leads from `start` to the `free` right node."""
    before = {left: node for node, left in enumerate(of_right) if left is not None}
    node = free
    while True:
        left = came_from[node]
        of_right[node] = left
        if left == start:
            return
        node = before[left]


def annotation_f1(
    screens: Iterable[tuple[Sequence[Found], Sequence[Found]]],
    threshold: float = THRESHOLDS[0],
    same_class: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Annotated:
    """F1 over `screens`, each the predicted and the true elements.

    A screen whose annotation could not be read is one with nothing predicted.
    """
    pairs: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    true: Counter[str] = Counter()
    of_screen: list[tuple[int, int, int]] = []
    for ours, theirs in screens:
        found = pair(ours, theirs, threshold, same_class)
        of_screen.append((len(found), len(ours), len(theirs)))
        pairs.update(theirs[place][0] for _, place in found)
        predicted.update(kind for kind, _ in ours)
        true.update(kind for kind, _ in theirs)
    kinds = sorted({*predicted, *true}) if same_class else []
    counts_S3 = np.array(of_screen, float).reshape(-1, 3)
    value = _f1(counts_S3.sum(axis=0)).item()
    draws_R = np.empty(0)
    if len(counts_S3):
        draws_R = _f1(bootstrap_weights(len(counts_S3), resamples, seed) @ counts_S3)
    return Annotated(
        interval(value, draws_R),
        len(counts_S3),
        Counts(*counts_S3.sum(axis=0).astype(int).tolist()),
        {kind: Counts(pairs[kind], predicted[kind], true[kind]) for kind in kinds},
    )


def _f1(counts: Floats) -> Floats:
    """F1 of (..., 3) pairs, predicted and true; NaN where both sides are empty."""
    both = counts[..., 1] + counts[..., 2]
    return np.asarray(np.where(both > 0, 2 * counts[..., 0] / np.where(both > 0, both, 1), np.nan))


@dataclass(frozen=True)
class Navigated:
    """How often the element that was meant was hit. What was not answered is a miss."""

    centre: Rate
    """The predicted box's centre is in the true box: the click lands on it."""
    overlap: Rate
    """The boxes' IoU reaches the threshold, ScreenAI's accuracy at 0.1."""
    unanswered: int


def navigation(
    predicted: Sequence[Box | None], true: Sequence[Box], threshold: float = THRESHOLDS[0]
) -> Navigated:
    """Accuracy of `predicted` boxes, None where there is no answer; a box's edges are in it."""
    if len(predicted) != len(true):
        raise ValueError(f"{len(predicted)} predicted, {len(true)} true; legal: as many")
    centre = [
        ours is not None
        and all(theirs[low] <= (ours[low] + ours[low + 1]) / 2 <= theirs[low + 1] for low in (0, 2))
        for ours, theirs in zip(predicted, true, strict=True)
    ]
    overlap = [
        ours is not None and bool(iou([ours], [theirs])[0, 0] >= threshold)
        for ours, theirs in zip(predicted, true, strict=True)
    ]
    unanswered = sum(ours is None for ours in predicted)
    return Navigated(rate(np.array(centre, bool)), rate(np.array(overlap, bool)), unanswered)
