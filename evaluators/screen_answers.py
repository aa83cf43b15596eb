"""ScreenAI's scores by task, of answers that have been read.

Screen annotation: F1 of elements at IoU 0.1, the paper's measure, and 0.5, of equal classes, and at
0.1 whatever the class. Questions: SQuAD's F1 and exact match, and ANLS. Navigation: the centre of
the answered box lies in the true one, and the paper's IoU of 0.1. Summaries: CIDEr-D. An answer
that could not be read is wrong: it has no element, no box, no word.

Screens are what is drawn anew for an interval, with all their answers, since questions about one
screen are right or wrong together (CIDEr's is over summaries, of which a screen has one at most).

Letters: S screens, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.captions.cider import cider
from evaluators.captions.ptb import tokenize
from evaluators.screens import THRESHOLDS, Box, Found, annotation_f1, navigation
from evaluators.short_answers import anls, exact_match, squad_f1
from evaluators.statistics import Interval, bootstrap_weights, interval

RESAMPLES = 1000
ANSWERS = {"squad_f1": squad_f1, "exact_match": exact_match, "anls": anls}
"""Metrics of questions."""


@dataclass(frozen=True)
class Answer:
    """What was wanted of a model, and what could be read of its answer."""

    screen: str
    """Key of the screen."""
    task: str
    """annotation, question, navigation or summary."""
    target: str = ""
    said: str | None = None
    """None where nothing could be read."""
    true: Sequence[Found] = ()
    """Elements of an annotation."""
    predicted: Sequence[Found] = ()
    true_box: Box | None = None
    """Of navigation."""
    box: Box | None = None
    """None where none could be read."""


@dataclass(frozen=True)
class Figure:
    """A metric of a task: in [0, 1], CIDEr in [0, 10]."""

    task: str
    metric: str
    interval: Interval
    n: int
    """Answers that it is over."""


def figures(answers: Iterable[Answer], resamples: int = RESAMPLES, seed: int = 0) -> list[Figure]:
    """Every metric of the tasks that were asked for."""
    every = sorted(answers, key=lambda one: one.screen)
    found: list[Figure] = []
    for task, measure in MEASURES.items():
        of_task = [one for one in every if one.task == task]
        if of_task:
            found += [
                Figure(task, metric, value, len(of_task))
                for metric, value in measure(of_task, resamples, seed)
            ]
    return found


def _annotations(
    answers: Sequence[Answer], resamples: int, seed: int
) -> Iterator[tuple[str, Interval]]:
    pairs = [(one.predicted, one.true) for one in answers]
    for threshold in THRESHOLDS:
        f1 = annotation_f1(pairs, threshold, True, resamples, seed).f1
        yield f"f1_iou_{threshold}", f1
    any_class = annotation_f1(pairs, THRESHOLDS[0], False, resamples, seed).f1
    yield f"f1_iou_{THRESHOLDS[0]}_any_class", any_class


def _questions(
    answers: Sequence[Answer], resamples: int, seed: int
) -> Iterator[tuple[str, Interval]]:
    screens = [one.screen for one in answers]
    for name, metric in ANSWERS.items():
        scores = [0.0 if one.said is None else metric(one.said, one.target) for one in answers]
        yield name, mean_over_screens(scores, screens, resamples, seed)


def _orders(answers: Sequence[Answer], resamples: int, seed: int) -> Iterator[tuple[str, Interval]]:
    screens = [one.screen for one in answers]
    hits = [navigation([one.box], [_true_box(one)]) for one in answers]
    centre, overlap = ([getattr(hit, name).value for hit in hits] for name in ("centre", "overlap"))
    yield "centre_in_box", mean_over_screens(centre, screens, resamples, seed)
    yield f"iou_{THRESHOLDS[0]}", mean_over_screens(overlap, screens, resamples, seed)


def _true_box(answer: Answer) -> Box:
    if answer.true_box is None:
        raise ValueError(f"navigation on screen {answer.screen!r} has no true box")
    return answer.true_box


def _summaries(
    answers: Sequence[Answer], resamples: int, seed: int
) -> Iterator[tuple[str, Interval]]:
    said = [tokenize(one.said or "") for one in answers]
    yield (
        "CIDEr",
        cider(said, [[tokenize(one.target)] for one in answers]).interval(resamples, seed),
    )


Measure = Callable[[Sequence[Answer], int, int], Iterator[tuple[str, Interval]]]
MEASURES: dict[str, Measure] = {
    "annotation": _annotations,
    "question": _questions,
    "navigation": _orders,
    "summary": _summaries,
}
"""By task."""


def mean_over_screens(
    scores: Sequence[float], screens: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of `scores`, with the interval of drawing `screens` anew with all their scores."""
    if not scores:
        return Interval(math.nan, math.nan, math.nan, math.nan)
    names, place = np.unique(screens, return_inverse=True)
    sums_S = np.bincount(place, weights=scores, minlength=len(names))
    counts_S = np.bincount(place, minlength=len(names))
    weights_RS = bootstrap_weights(len(names), resamples, seed)
    return interval(float(np.mean(scores)), weights_RS @ sums_S / (weights_RS @ counts_S))
