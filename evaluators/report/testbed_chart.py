"""The testbed's figure: accuracy under shift over accuracy in distribution, a dot a model."""

from __future__ import annotations

from html import escape

from evaluators.report.charts import SHIFT_SIZE
from evaluators.report.svg import Axis, frame, line, logit, path, text, x_range, y_range
from evaluators.testbed import INTERVENTION, MORE_DATA, Against

CLASSES = {INTERVENTION: "three", MORE_DATA: "one"}
"""Colours by kind; standard models have the line's."""
STEPS = 40


def testbed_chart(one: Against) -> str:
    """One shift on logit axes: the models, their line, no loss, and the model under test."""
    points = [(e.acc_id, e.acc_shift) for e in one.entries]
    points.append((one.acc_id.value, one.acc_shift.value))
    inside = [[min(max(p[side], 0.001), 0.999) for p in points] for side in (0, 1)]
    (low_x, high_x), (low_y, high_y) = ((min(v) * 0.97, max(v)) for v in inside)
    x = logit("top-1 in distribution, %", low_x, _above(high_x), *x_range(SHIFT_SIZE[0]))
    y = logit(f"top-1 on {one.shift}, %", low_y, _above(high_y), *y_range(SHIFT_SIZE[1]))
    marks = [*_no_loss(x, y), *_line(one, x, y)]
    for entry in one.entries:
        tip = f"{entry.model} ({entry.kind}): {entry.acc_id:.1%}, {entry.acc_shift:.1%}"
        marks.append(_dot(x, y, entry.acc_id, entry.acc_shift, CLASSES.get(entry.kind, "two"), tip))
    value = (one.acc_id.value, one.acc_shift.value)
    tip = f"{one.model}: {value[0]:.1%}, {value[1]:.1%}"
    marks.append(_dot(x, y, *value, "fell", tip, 6))
    at = x.place(value[0])
    right = at > (x.start + x.end) / 2
    anchor, away = ("end", -10) if right else ("start", 10)
    marks.append(text(at + away, y.place(value[1]) - 6, one.model, "name", anchor))
    alt = f"{one.model} on {one.shift}: {value[0]:.1%} in distribution, {value[1]:.1%} under shift"
    return frame(x, y, marks, alt, SHIFT_SIZE)


def _above(rate: float) -> float:
    return rate + 0.1 * (1 - rate)


def _dot(x: Axis, y: Axis, a: float, b: float, name: str, tip: str, size: float = 3) -> str:
    title = f"<title>{escape(tip)}</title>"
    place = f'cx="{x.place(a):.1f}" cy="{y.place(b):.1f}" r="{size:g}"'
    return f'<circle class="dot {name}" {place}>{title}</circle>'


def _no_loss(x: Axis, y: Axis) -> list[str]:
    low, high = max(x.low, y.low), min(x.high, y.high)
    if low >= high:
        return []
    return [line(x.place(low), y.place(low), x.place(high), y.place(high), "rule")]


def _line(one: Against, x: Axis, y: Axis) -> list[str]:
    steps = [x.low + (x.high - x.low) * i / STEPS for i in range(STEPS + 1)]
    told = [(p, float(one.trend.predict(p))) for p in steps]
    places = [(x.place(p), y.place(q)) for p, q in told if y.low <= q <= y.high]
    tip = f"line of {len(one.trend.acc_id)} standard models, slope {one.trend.slope:.2f}"
    return [path(places, "curve two dashed", tip)]
