"""CapFilt's charts: what a threshold keeps of the corpus, and what it finds of the swaps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluators.report.capfilt_inputs import KeptShares, Swaps
from evaluators.report.capfilt_words import rate
from evaluators.report.charts import legend
from evaluators.report.svg import Axis, frame, line, linear, path, x_range, y_range
from evaluators.statistics import Floats

SIZE = (460.0, 320.0)
POINTS = 240


def kept_chart(kept: KeptShares, threshold: float, by: str) -> str:
    """Share kept of web and of synthetic texts against the threshold."""
    x, y = _threshold_axis(by), _percent_axis("texts kept, %")
    curves = {"one": ("web texts", kept.web), "two": ("written captions", kept.synthetic)}
    marks = _at(threshold, x, y)
    for colour, (name, shares) in curves.items():
        marks.append(_curve(kept.thresholds, shares, x, y, f"curve {colour}", name))
    alt = (
        f"Share of texts kept against the threshold. At {threshold:g}: "
        f"{rate(kept.web_kept)} of the web's, {rate(kept.synthetic_kept)} of those written."
    )
    names = {colour: name for colour, (name, _) in curves.items()}
    return frame(x, y, marks, alt, SIZE) + legend({**names, "rule": "the rule's threshold"})


def found_chart(swaps: Swaps, threshold: float, by: str) -> str:
    """Precision, recall and F1 of finding swapped captions against the threshold."""
    x, y = _threshold_axis(by), _percent_axis("finding swapped captions, %")
    curve = swaps.curve
    curves: Mapping[str, tuple[str, Floats]] = {
        "one": ("precision", curve.precision),
        "two": ("recall", curve.recall),
        "three": ("F1", curve.f_score()),
    }
    marks = _at(threshold, x, y)
    for colour, (name, values) in curves.items():
        marks.append(_curve(curve.thresholds, values, x, y, f"curve {colour}", name))
    at = swaps.score
    alt = (
        f"Precision, recall and F1 against the threshold. At {threshold:g}: precision "
        f"{rate(at.precision)}, recall {rate(at.recall)}, F1 {rate(at.f1)}."
    )
    names = {colour: name for colour, (name, _) in curves.items()}
    return frame(x, y, marks, alt, SIZE) + legend({**names, "rule": "the rule's threshold"})


def precision_recall_chart(swaps: Swaps) -> str:
    """Precision against recall, the rule's place on it, and what guessing would give."""
    x, y = (
        _percent_axis("recall, %", *x_range(SIZE[0])),
        _percent_axis("precision, %", *y_range(SIZE[1])),
    )
    score = swaps.score
    chance = y.place(100 * score.matching / score.pairs)
    marks = [line(x.start, chance, x.end, chance, "rule")]
    order = np.argsort(swaps.curve.recall, kind="stable")
    marks.append(
        _curve(100 * swaps.curve.recall[order], swaps.curve.precision[order], x, y, "curve one", "")
    )
    if np.isfinite([score.precision.value, score.recall.value]).all():
        px, py = x.place(100 * score.recall.value), y.place(100 * score.precision.value)
        tip = f"at the rule's threshold: {score.precision.value:.1%}, {score.recall.value:.1%}"
        dot = f'<circle class="dot two" cx="{px:.1f}" cy="{py:.1f}" r="5">'
        marks.append(f"{dot}<title>{tip}</title></circle>")
    alt = (
        f"Precision against recall; average precision {score.average_precision.value:.3f}, "
        f"{score.matching / score.pairs:.3f} by guessing."
    )
    names = {"one": "the filter", "two": "at the rule's threshold", "rule": "guessing"}
    return frame(x, y, marks, alt, SIZE) + legend(names)


def _threshold_axis(by: str) -> Axis:
    low = 0.0 if by == "probability" else -1.0
    return linear(f"threshold of {by}", [low, 1.0], *x_range(SIZE[0]))


def _percent_axis(label: str, start: float | None = None, end: float | None = None) -> Axis:
    low, high = y_range(SIZE[1])
    first, last = low if start is None else start, high if end is None else end
    return linear(label, [0.0, 100.0], first, last)


def _at(threshold: float, x: Axis, y: Axis) -> list[str]:
    place = x.place(threshold)
    return [line(place, y.start, place, y.end, "rule")]


def _curve(places: Floats, shares: Floats, x: Axis, y: Axis, name: str, tip: str) -> str:
    """A curve of shares in [0, 1]; at most some POINTS of them, the last among them."""
    step = max(1, len(places) // POINTS)
    chosen = np.append(np.arange(0, len(places), step), len(places) - 1)
    points = [(x.place(float(places[i])), y.place(100 * float(shares[i]))) for i in chosen]
    return path(points, name, tip)
