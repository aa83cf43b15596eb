"""Axes and frames of charts, written as SVG by hand.

The page's own style sheet colours them (classes, no attributes), so that one drawing serves light
and dark, and a browser shows the exact figure of a mark that the pointer rests on. Sizes are in the
viewBox's units, of which a phone shows some 460 across.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 14, 44


@dataclass(frozen=True)
class Axis:
    """A scale from data to pixels, with the ticks to draw."""

    label: str
    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float
    """Pixel of `high`."""
    ticks: Sequence[tuple[float, str]]
    warp: Callable[[float], float] = float
    """What the scale is linear in: the value, its logarithm, its logit."""

    def place(self, value: float) -> float:
        """Pixel of a value; values outside the range land on its ends."""
        low, high = self.warp(self.low), self.warp(self.high)
        share = (self.warp(min(max(value, self.low), self.high)) - low) / ((high - low) or 1)
        return self.start + share * (self.end - self.start)


def linear_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values inside [low, high], about `wanted` of them."""
    rough = (high - low or 1) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def short(value: float) -> str:
    """Such as 1.2k, 35, 0.004."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.3g}"


def linear(
    label: str, values: Iterable[float], start: float, end: float, zero: bool = False
) -> Axis:
    """A linear axis over the values, from 0 if `zero`."""
    values = list(values)
    low, high = (min(0.0, *values) if zero else min(values)), max(values)
    high = high if high > low else low + 1
    ticks = linear_ticks(low, high)
    return Axis(label, low, max(high, ticks[-1]), start, end, [(t, short(t)) for t in ticks])


def logarithmic(label: str, low: float, high: float, start: float, end: float) -> Axis:
    """A log axis with a tick a decade."""
    first, last = math.floor(math.log10(low)), max(1, math.ceil(math.log10(high)))
    high = max(high, 10 * low)
    ticks = [(10.0**n, short(10.0**n)) for n in range(first, last + 1) if low <= 10.0**n <= high]
    return Axis(label, low, high, start, end, ticks, math.log10)


PERCENTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 35, 50, 65, 80, 90, 95, 98, 99, 99.5)


def logit(label: str, low: float, high: float, start: float, end: float) -> Axis:
    """A logit axis of rates in (0, 1), labelled in per cent."""

    def warp(p: float) -> float:
        return math.log(p / (1 - p))

    ticks = [(p / 100, f"{p:g}") for p in PERCENTS if low <= p / 100 <= high]
    return Axis(label, low, high, start, end, ticks, warp)


def x_range(width: float = WIDTH) -> tuple[float, float]:
    """Pixels of a frame's left and right."""
    return LEFT, width - RIGHT


def y_range(height: float = HEIGHT) -> tuple[float, float]:
    """Pixels of a frame's bottom and top."""
    return height - BOTTOM, TOP


def path(points: Iterable[tuple[float, float]], name: str, tip: str = "") -> str:
    """A polyline of class `name`."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<polyline class="{name}" points="{steps}">{title}</polyline>'


def line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    """A straight line of class `name`."""
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, value: str, name: str = "", anchor: str = "start") -> str:
    """A label at the given place."""
    attributes = f'class="{name}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}"'
    return f"<text {attributes}>{escape(value)}</text>"


def frame(
    x: Axis, y: Axis, marks: Iterable[str], alt: str, size: tuple[float, float] = (WIDTH, HEIGHT)
) -> str:
    """A whole chart: grid, ticks, axis labels, then the marks; `alt` says it in words."""
    width, height = size
    parts = [
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(alt)}">'
    ]
    for value, name in x.ticks:
        at = x.place(value)
        parts.append(line(at, y.start, at, y.end, "grid"))
        parts.append(text(at, y.start + 16, name, "tick", "middle"))
    for value, name in y.ticks:
        at = y.place(value)
        parts.append(line(x.start, at, x.end, at, "grid"))
        parts.append(text(x.start - 7, at + 4, name, "tick", "end"))
    parts.append(line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(text((x.start + x.end) / 2, y.start + 36, x.label, "label", "middle"))
    turned = f'transform="translate(14 {(y.start + y.end) / 2:.1f}) rotate(-90)"'
    parts.append(f'<text class="label" text-anchor="middle" {turned}>{escape(y.label)}</text>')
    return "".join([*parts, *marks, "</svg>"])
