"""Charts: marks stand where the axes say, and the labels of points do not cover each other."""

import math
import re

import numpy as np
import pytest

from evaluators.report import charts, svg
from evaluators.report.inputs import Run
from pipelines.web.head_tail import HeadTail


def test_axes_place_values():
    x = svg.linear("x", [0, 10], 100, 200)
    assert [x.place(v) for v in (0, 5, 10)] == [100, 150, 200]
    y = svg.logarithmic("y", 1, 1000, 300, 0)
    assert [y.place(v) for v in (1, 10, 1000)] == pytest.approx([300, 200, 0])
    z = svg.logit("z", 0.1, 0.9, 0, 100)
    assert z.place(0.5) == pytest.approx(50)
    assert z.place(0.001) == pytest.approx(0)  # outside lands on the end


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 2420), (-3, 7), (0, 0.00098), (5, 5.01)])
def test_linear_ticks_are_round_few_and_inside(low, high):
    ticks = svg.linear_ticks(low, high)
    assert 3 <= len(ticks) <= 11
    assert low - 1e-9 <= ticks[0] <= ticks[-1] <= high + 1e-9
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])


def test_ticks_are_never_outside_their_axis():
    for axis in (
        svg.logarithmic("x", 1, 30_000, 0, 1),
        svg.linear("x", [0.3, 17.2], 0, 1),
        svg.logit("x", 0.07, 0.6, 0, 1),
    ):
        assert axis.ticks
        assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (1500, "1.5k"), (2e6, "2M"), (0.0008, "8e-4"), (0.25, "0.25")]
)
def test_short_numbers(value, words):
    assert svg.short(value) == words


def polylines(drawing, name):
    found = re.findall(rf'<polyline class="{name}" points="([^"]*)"', drawing)
    return [[tuple(map(float, p.split(","))) for p in points.split()] for points in found]


def test_head_and_tail_draws_both_curves_in_descending_order():
    before = np.array([1000, 400, 20, 3, 1, 0])
    queries = HeadTail(10, list("abcdef"), before, np.minimum(before, 10))
    drawing = charts.head_and_tail(queries)
    (two,), (one,) = polylines(drawing, "curve two"), polylines(drawing, "curve one")
    assert len(two) == len(one) == 5  # the query without a pair is not drawn
    assert [y for _, y in two] == sorted(y for _, y in two)
    assert one[0][1] > two[0][1]  # SVG's y points down: after balancing the head is lower
    assert one[-1] == two[-1]


def test_balancing_of_nothing_still_draws():
    nothing = HeadTail(10, [], np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert "<svg" in charts.head_and_tail(nothing)


def test_training_charts_leave_out_what_was_not_logged():
    lines = [{"step": s, "loss": 1 / s, "rate": math.nan} for s in range(1, 1001)]
    found = charts.training_charts(Run("x", lines))
    assert [name for name, _ in found] == ["loss"]
    (raw,) = polylines(found[0][1], "curve raw")
    assert len(raw) < 400  # a long run does not make a long page
    assert charts.training_charts(Run("x", lines[:1])) == []


def test_smoothing_does_not_lag():
    line = [float(v) for v in range(100)]
    inner = slice(5, 95)
    assert charts._smoothed(line)[inner] == pytest.approx(line[inner])


def test_shift_plot_has_every_model_and_labels_apart(inputs):
    drawing = charts.shift_plot(inputs.shifts[0])
    assert drawing.count("<circle") == 3
    assert drawing.count('class="error one"') == 2
    assert drawing.count('class="error two"') == 4
    assert 'class="curve two dashed"' in drawing
    labels = re.findall(
        r'class="name" text-anchor="(\w+)" x="([\d.]+)" y="([\d.]+)">([^<]+)<', drawing
    )
    assert {name for *_, name in labels} == {"CLIP", "supervised", "pixels"}
    boxes = []
    for anchor, x, y, name in labels:
        width = 6.7 * len(name)
        left = float(x) - (width if anchor == "end" else 0)
        boxes.append((left, float(y) - 11, left + width, float(y) + 3))
    assert not any(charts._touch(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_names_are_escaped_in_drawings(inputs):
    import dataclasses

    shift = inputs.shifts[0]
    odd = dataclasses.replace(shift.models[0], model="<b>&")
    drawing = charts.shift_plot(dataclasses.replace(shift, models=[odd, *shift.models[1:]]))
    assert "<b>" not in drawing
