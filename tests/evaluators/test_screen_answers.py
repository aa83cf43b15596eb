"""ScreenAI's scores by task: against the metrics one by one, and the intervals against draws of
whole screens written out.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluators.captions.cider import cider
from evaluators.screen_answers import Answer, figures, mean_over_screens
from evaluators.screens import annotation_f1
from evaluators.statistics import bootstrap_weights

TITLE, ICON = ("TEXT", (0, 100, 0, 50)), ("PICTOGRAM", (900, 999, 0, 50))
ANSWERS = [
    Answer("b", "question", "the 12 items", "12 items"),
    Answer("b", "question", "May 4", "May"),
    Answer("a", "question", "red", None),
    Answer("a", "annotation", true=[TITLE, ICON], predicted=[("TEXT", (0, 60, 0, 50)), TITLE]),
    Answer("b", "annotation", true=[ICON], predicted=[("TEXT", (900, 999, 0, 50))]),
    Answer("a", "navigation", true_box=(0, 10, 0, 10), box=(8, 12, 2, 4)),
    Answer("b", "navigation", true_box=(0, 10, 0, 10), box=(9, 15, 2, 4)),
    Answer("b", "navigation", true_box=(0, 10, 0, 10)),
    Answer("a", "summary", "A list of open orders.", "A list of open orders."),
    Answer("b", "summary", "Settings of the account.", None),
]


def found(answers: list[Answer]) -> dict[str, tuple[float, int]]:
    return {f"{f.task} {f.metric}": (f.interval.value, f.n) for f in figures(answers)}


def test_every_task_has_its_metrics_and_what_was_not_read_is_wrong() -> None:
    made = found(ANSWERS)
    assert made["question exact_match"] == (pytest.approx(1 / 3), 3)
    assert made["question squad_f1"] == (pytest.approx((1 + 2 / 3 + 0) / 3), 3)
    assert made["question anls"] == (pytest.approx((1 - 4 / 12 + 3 / 5 + 0) / 3), 3)
    assert made["annotation f1_iou_0.1"] == (pytest.approx(2 * 1 / (3 + 3)), 2)
    assert made["annotation f1_iou_0.1_any_class"] == (pytest.approx(2 * 2 / (3 + 3)), 2)
    assert made["navigation centre_in_box"] == (pytest.approx(1 / 3), 3)
    assert made["navigation iou_0.1"][0] == pytest.approx(0.0)
    assert made["summary CIDEr"][0] == pytest.approx(
        cider(
            ["a list of open orders", ""],
            [["a list of open orders"], ["settings of the account"]],
        ).value
    )
    assert set(found(ANSWERS[:3])) == {f"question {m}" for m in ("squad_f1", "exact_match", "anls")}


def test_order_and_ids_of_screens_change_nothing_else() -> None:
    assert figures(ANSWERS, seed=3) == figures(ANSWERS[::-1], seed=3)
    pairs = [(one.predicted, one.true) for one in ANSWERS if one.task == "annotation"]
    whole = annotation_f1(pairs, 0.1, seed=3).f1
    assert next(iter(figures(ANSWERS, seed=3))).interval == whole


def test_the_interval_draws_whole_screens() -> None:
    scores, screens = [1.0, 0.0, 0.5, 1.0, 0.0], ["a", "a", "b", "c", "c"]
    ours = mean_over_screens(scores, screens, 200, seed=5)
    means = []
    for draw in bootstrap_weights(3, 200, 5):
        drawn = [
            score
            for name, times in zip("abc", draw, strict=True)
            for _ in range(times)
            for score, screen in zip(scores, screens, strict=True)
            if screen == name
        ]
        means.append(np.mean(drawn))
    assert ours.value == pytest.approx(0.5)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    assert math.isnan(mean_over_screens([], []).value)


def test_an_order_without_a_true_box_is_named() -> None:
    with pytest.raises(ValueError, match="navigation on screen 'z' has no true box"):
        figures([Answer("z", "navigation", box=(0, 1, 0, 1))])
