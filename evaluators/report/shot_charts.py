"""Zero-shot against learning: the curve over images a class, the whole probe, zero-shot's level.

As CLIP's figure 6 (arXiv 2103.00020): zero-shot CLIP is a level, since it sees no image; k-shot
logistic regression on its embeddings rises to it and past it; the probe on all of `train` stands at
the right; the same probe on bare pixels is the supervised reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from evaluators.report.inputs import Row
from evaluators.report.svg import (
    Axis,
    frame,
    line,
    linear,
    logarithmic,
    path,
    text,
    x_range,
    y_range,
)

SIZE = (460.0, 320.0)
COLOURS = ("one", "two")
WHOLE = 64.0
"""Where the probe on all images stands on the axis of shots."""


def shot_sets(rows: Sequence[Row]) -> list[str]:
    """Sets with a linear probe."""
    probed = (row["dataset"] for row in rows if row["suite"] == "probe" and row["split"] == "all")
    return list(dict.fromkeys(probed))


def shot_chart(rows: Sequence[Row], dataset: str, model: str) -> str:
    """One set: top-1 by shots for `model` and for the others that were probed."""
    ours = [row for row in rows if row["dataset"] == dataset and row["metric"] == "top1"]
    level = {
        r["model"]: r["value"] for r in ours if r["suite"] == "zero-shot" and r["split"] == "all"
    }
    probed = [r for r in ours if r["suite"] == "probe" and r["model"] != "chance"]
    models = sorted({r["model"] for r in probed}, key=lambda name: (name != model, name))
    top = [100 * v for v in (*(r["value"] for r in probed), *level.values())]
    x = logarithmic("images a class (right: all)", 1, WHOLE, *x_range(SIZE[0]))
    shots = [(float(k), str(k)) for k in (1, 2, 4, 8, 16)] + [(WHOLE, "all")]
    x = replace(x, ticks=shots)
    y = linear(f"{dataset}, top-1, %", top, *y_range(SIZE[1]), zero=True)
    marks, said = [], []
    for name, words in ((model, "zero-shot"), ("chance", "chance")):
        if name in level:
            at = y.place(100 * level[name])
            marks.append(line(x.start, at, x.end, at, "rule" if name == "chance" else "curve one"))
            marks.append(text(x.start + 4, at - 5, words, "name"))
            said.append(f"{words} {level[name]:.1%}")
    for colour, name in zip(COLOURS, models, strict=False):
        marks += _curve([r for r in probed if r["model"] == name], x, y, colour)
        whole = next(r["value"] for r in probed if r["model"] == name and r["split"] == "all")
        said.append(f"{name}: probe on all images {whole:.1%}")
    return frame(x, y, marks, f"{dataset}: " + "; ".join(said), SIZE)


def _curve(rows: Sequence[Row], x: Axis, y: Axis, colour: str) -> list[str]:
    points = sorted(((_shots(r["split"]), r) for r in rows), key=lambda point: point[0])
    places = [(x.place(k), y.place(100 * r["value"])) for k, r in points]
    marks = [path(places, f"curve {colour} dashed")]
    for (px, _), (_, r) in zip(places, points, strict=True):
        low, high = (100 * (r["value"] + sign * 1.96 * r["standard_error"]) for sign in (-1, 1))
        tip = f"{r['model']}, {r['split']}: {r['value']:.1%} ± {r['standard_error']:.1%}"
        marks.append(line(px, y.place(low), px, y.place(high), f"error {colour}"))
        marks.append(
            f'<circle class="dot {colour}" cx="{px:.1f}" cy="{y.place(100 * r["value"]):.1f}" '
            f'r="4"><title>{escape(tip)}</title></circle>'
        )
    return marks


def _shots(split: str) -> float:
    return WHOLE if split == "all" else float(split.partition("-")[0])
