"""The report's charts: training curves, head and tail of the queries, accuracy under shift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from evaluators.report.inputs import Run, Shift
from evaluators.report.svg import (
    RIGHT,
    Axis,
    frame,
    line,
    linear,
    logarithmic,
    logit,
    path,
    text,
    x_range,
    y_range,
)
from evaluators.robustness import Robustness
from pipelines.web.head_tail import HeadTail

CURVES = {
    "loss": "loss",
    "examples_per_second": "images a second",
    "logit_scale": "logit scale",
    "rate": "learning rate",
    "accuracy": "accuracy in the batch",
}
"""By a training line's key, the chart's name; keys that a run did not log are left out."""
POINTS_A_CURVE = 160
CURVE_SIZE = (460.0, 220.0)
SHIFT_SIZE = (460.0, 430.0)
Box = tuple[float, float, float, float]


def training_charts(run: Run) -> list[tuple[str, str]]:
    """(name, SVG) of every figure that the run logged."""
    found = []
    for key, name in CURVES.items():
        points = [(line["step"], line[key]) for line in run.lines if key in line]
        points = [(s, v) for s, v in points if math.isfinite(v)]
        if len(points) > 1:
            found.append((name, _curve(points, name, smooth=key == "loss")))
    return found


def _curve(points: Sequence[tuple[float, float]], name: str, smooth: bool) -> str:
    x = linear("step", [0, *(s for s, _ in points)], *x_range())
    y = linear(name, [v for _, v in points], *y_range(CURVE_SIZE[1]), zero=True)
    drawn = _thin(points)
    tip = f"{name}: {points[0][1]:.4g} at step {points[0][0]:g}, {points[-1][1]:.4g} at the end"
    raw = path(
        [(x.place(s), y.place(v)) for s, v in drawn], "curve raw" if smooth else "curve one", tip
    )
    marks = [raw]
    if smooth:
        even = zip((s for s, _ in points), _smoothed([v for _, v in points]), strict=True)
        marks.append(
            path([(x.place(s), y.place(v)) for s, v in _thin(list(even))], "curve one", tip)
        )
    last = points[-1]
    marks.append(
        f'<circle class="dot one" cx="{x.place(last[0]):.1f}" cy="{y.place(last[1]):.1f}" r="3"/>'
    )
    return frame(x, y, marks, tip, CURVE_SIZE)


def _smoothed(values: Sequence[float]) -> list[float]:
    """Mean over a window around each value, a twentieth of the curve wide; it does not lag."""
    half = max(1, len(values) // 40)
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most some POINTS_A_CURVE of the points, evenly chosen, the last among them."""
    step = max(1, len(points) // POINTS_A_CURVE)
    return [*points[::step], points[-1]]


def head_and_tail(queries: HeadTail) -> str:
    """Pairs a query by the query's rank, log-log, before and after balancing."""
    sides = {"before": _descending(queries.before), "after": _descending(queries.after)}
    most = {name: counts[0] if counts else 0 for name, counts in sides.items()}
    reach = max(10, *(len(counts) for counts in sides.values()))
    x = logarithmic("queries by rank", 1, reach, *x_range())
    y = logarithmic("pairs a query", 1, max(10, most["before"], queries.per_query), *y_range())
    level = y.place(queries.per_query)
    marks = [line(x.start, level, x.end, level, "rule")]
    for colour, (name, counts) in zip(("two", "one"), sides.items(), strict=True):
        places = [(x.place(rank), y.place(count)) for rank, count in _log_spaced(counts)]
        marks.append(path(places, f"curve {colour}", f"{name} balancing: {sum(counts):,} in all"))
    alt = (
        f"Pairs a query by rank. The most frequent query has {most['before']:,} pairs before "
        f"balancing, none has over {most['after']:,} after it."
    )
    return frame(x, y, marks, alt)


def _descending(counts: npt.NDArray[np.int64]) -> list[int]:
    found: list[int] = np.sort(counts[counts > 0])[::-1].tolist()
    return found


def _log_spaced(counts: Sequence[int]) -> list[tuple[int, int]]:
    """(rank, count) at some POINTS_A_CURVE ranks, even on a log scale."""
    exponents = (i / POINTS_A_CURVE for i in range(POINTS_A_CURVE + 1))
    chosen = sorted({round(len(counts) ** e) for e in exponents if counts})
    return [(rank, counts[rank - 1]) for rank in chosen]


def shift_plot(shift: Shift) -> str:
    """Accuracy under shift over accuracy in distribution, logit axes, as in CLIP's figure 13."""
    rates = [
        v for m in shift.models for i in (m.acc_id, m.acc_shift) for v in (i.value, i.low, i.high)
    ]
    inside = [min(max(v, 0.001), 0.999) for v in rates if math.isfinite(v)]
    low, high = _wider(min(inside), -0.4), _wider(max(inside), 0.4)
    x = logit(
        f"top-1 in distribution ({shift.in_distribution}), %", low, high, *x_range(SHIFT_SIZE[0])
    )
    y = logit(f"top-1 under shift ({shift.shifted}), %", low, high, *y_range(SHIFT_SIZE[1]))
    marks = [line(x.start, y.start, x.end, y.end, "rule"), *_trend(shift, x, y)]
    taken: list[Box] = []
    for one in shift.models:
        marks += _cross(one, x, y, "two" if one.model in shift.standard else "one")
        taken += _cross_boxes(one, x, y)
    for one in shift.models:
        marks.append(_label(one, x, y, taken))
    alt = "; ".join(
        f"{m.model}: {m.acc_id.value:.1%} in distribution, {m.acc_shift.value:.1%} under shift"
        for m in shift.models
    )
    return frame(x, y, marks, alt, SHIFT_SIZE)


def _wider(p: float, by: float) -> float:
    odds = math.log(p / (1 - p)) + by
    return 1 / (1 + math.exp(-odds))


def _trend(shift: Shift, x: Axis, y: Axis) -> list[str]:
    """The standard models' line, over the whole frame as far as it stays inside."""
    line_of = next((m.trend for m in shift.models if m.trend is not None), None)
    if line_of is None:
        return []
    steps = [_wider(x.low, i / 40 * (x.warp(x.high) - x.warp(x.low))) for i in range(41)]
    foretold = [(p, float(line_of.predict(p))) for p in steps]
    places = [(x.place(p), y.place(q)) for p, q in foretold if y.low <= q <= y.high]
    tip = f"line of {len(line_of.acc_id)} standard models, slope {line_of.slope:.2f}"
    return [path(places, "curve two dashed", tip)]


def _cross(one: Robustness, x: Axis, y: Axis, name: str) -> list[str]:
    """The point with its 95 % intervals."""
    px, py = x.place(one.acc_id.value), y.place(one.acc_shift.value)
    tip = f"<title>{escape(one.model)}: {one.acc_id.value:.1%}, {one.acc_shift.value:.1%}</title>"
    bars = [line(*box, f"error {name}") for box in _cross_boxes(one, x, y)[1:]]
    return [*bars, f'<circle class="dot {name}" cx="{px:.1f}" cy="{py:.1f}" r="5">{tip}</circle>']


def _cross_boxes(one: Robustness, x: Axis, y: Axis) -> list[Box]:
    """Where a point and its two bars lie, for labels to keep off; no bars without intervals."""
    px, py = x.place(one.acc_id.value), y.place(one.acc_shift.value)
    boxes = [(px - 6, py - 6, px + 6, py + 6)]
    if math.isfinite(one.acc_id.low + one.acc_shift.low):
        boxes.append((x.place(one.acc_id.low), py, x.place(one.acc_id.high), py))
        boxes.append((px, y.place(one.acc_shift.high), px, y.place(one.acc_shift.low)))
    return boxes


def _label(one: Robustness, x: Axis, y: Axis, taken: list[Box]) -> str:
    """The model's name near its point, where it covers the least of what is drawn already."""
    px, py, width = x.place(one.acc_id.value), y.place(one.acc_shift.value), 6.7 * len(one.model)
    offers: list[tuple[int, int, str, Box]] = []
    for down in (-9, 18, -24, 33, -40, 49):
        for anchor, left in (("start", px + 9), ("end", px - 9 - width)):
            box = (left, py + down - 11, left + width, py + down + 3)
            outside = box[0] < x.start or box[2] > x.end + RIGHT or box[3] > y.start
            covered = sum(_touch(box, other) for other in taken)
            offers.append((covered + 9 * outside, len(offers), anchor, box))
    _, _, anchor, box = min(offers)
    taken.append(box)
    return text(box[0] if anchor == "start" else box[2], box[3] - 3, one.model, "name", anchor)


def _touch(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def legend(names: Mapping[str, str]) -> str:
    """What the classes of curves mean: class to words."""
    items = (f'<span><i class="key {name}"></i>{words}</span>' for name, words in names.items())
    return f'<p class="legend">{"".join(items)}</p>'
