"""A figure over score runs: a line with 95 % error bars, and marks where it fell beyond luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from evaluators.history import Scoring
from evaluators.report.svg import Axis, frame, line, linear, path, x_range, y_range
from evaluators.statistics import Z95

if TYPE_CHECKING:
    from evaluators.report.compare import Figure

SIZE = (460.0, 210.0)
TICKS = 12
"""Most numbers of runs below the axis."""


def line_chart(figure: Figure, runs: Sequence[Scoring], worse: set[str]) -> str:
    """The chart as SVG; its tips say each run's name and value, runs count from 1."""
    points = _points(figure)
    x, y = _axes(figure, points, len(runs))
    marks = [path([(x.place(i), y.place(v)) for i, v, _ in points], "curve one")]
    for place, value, error in points:
        run = runs[place - 1].name
        at = x.place(place)
        if error:
            low, high = y.place(value - error), y.place(value + error)
            marks.append(line(at, low, at, high, "error one"))
        fell = run in worse
        tip = f"{run}: {figure.told(value)}" + (
            ", below the run before beyond luck" if fell else ""
        )
        colour, size = ("fell", 5) if fell else ("one", 4)
        marks.append(
            f'<circle class="dot {colour}" cx="{at:.1f}" cy="{y.place(value):.1f}" r="{size}">'
            f"<title>{escape(tip)}</title></circle>"
        )
    scale = _scale(figure)
    told = "; ".join(f"{runs[i - 1].name} {figure.told(v / scale)}" for i, v, _ in points)
    alt = f"{figure.suite}, {figure.dataset}, {figure.split}, {figure.name}: {told}"
    return frame(x, y, marks, alt, SIZE)


def _scale(figure: Figure) -> float:
    return 100.0 if figure.rate else 1.0


def _points(figure: Figure) -> list[tuple[int, float, float]]:
    """(run, value, half of the 95 % interval) of the runs that measured it; 0 where unknown."""
    found, scale = [], _scale(figure)
    for place, cell in enumerate(figure.cells, 1):
        if cell is not None and math.isfinite(cell["value"]):
            error = cell["standard_error"]
            known = error is not None and math.isfinite(error)
            half = Z95 * error if known else 0.0
            found.append((place, scale * float(cell["value"]), scale * half))
    return found


def _axes(figure: Figure, points: Sequence[tuple[int, float, float]], n: int) -> tuple[Axis, Axis]:
    step = max(1, math.ceil(n / TICKS))
    ticks = [(float(i), str(i)) for i in range(1, n + 1, step)]
    start, end = x_range(SIZE[0])
    x = Axis("run", 0.5, n + 0.5, start, end, ticks)
    reach = [v + sign * e for _, v, e in points for sign in (-1, 1)] or [0.0, 1.0]
    if (
        max(reach) - min(reach) < 1e-6 * max(map(abs, reach)) + 1e-9
    ):  # a flat line lies in the middle
        reach += [reach[0] - 1, reach[0] + 1]
    y = linear(f"{figure.name}, %" if figure.rate else figure.name, reach, *y_range(SIZE[1]))
    return x, y
