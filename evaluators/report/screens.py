"""The page on screens: one HTML file that needs nothing else.

Headline figures, annotated screens, how well elements were found, texts read and icons named, the
worst screens with the reasons, the tasks beside their screens, where the time goes, then training,
lineage and config.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from evaluators.report import charts
from evaluators.report.inputs import Row
from evaluators.report.lineage import lineage
from evaluators.report.render import outline, template
from evaluators.report.screens_inputs import Drawn, ScreensInputs
from evaluators.report.wording import Card, duration, number, percent

SECTIONS = {
    "overlays": ("Screens and their schemas", "no screens were given"),
    "detection": ("Elements found", "no detector was scored"),
    "annotation": ("Schemas against the DOM", "there is no truth to compare with"),
    "reading": ("Texts read", "there is no truth to compare with"),
    "icons": ("Icons named", "no classifier of icons was scored"),
    "worst": ("The worst screens", "there is no truth to compare with"),
    "tasks": ("Tasks", "none were written"),
    "contents": ("What is on the screens", "no schemas were given"),
    "times": ("Where the time goes", "no times were kept"),
    "training": ("Training", "no training curve was given; the models came from elsewhere"),
    "lineage": ("Lineage", "no manifests were given"),
    "config": ("Reproduce", "neither config nor commands were given"),
}
"""By id, the section's title and what is said where its inputs are missing."""
SUITES = ("detection", "annotation", "reading", "icons")
READ = "1280 x 800, English"
"""The group of screens whose reading leads the page."""


def present(inputs: ScreensInputs) -> dict[str, bool]:
    """By section: whether there is anything to show in it."""
    suites = {row["suite"] for row in inputs.scores}
    found = {
        "overlays": inputs.overlays or inputs.browse,
        **{suite: suite in suites for suite in SUITES},
        "worst": inputs.worst,
        "tasks": inputs.tasks is not None,
        "contents": inputs.contents is not None,
        "times": inputs.steps or inputs.stages,
        "training": any(len(run.lines) > 1 for run in inputs.runs),
        "lineage": inputs.manifests,
        "config": inputs.config or inputs.commands,
    }
    return {name: bool(found[name]) for name in SECTIONS}


def render_screens_report(inputs: ScreensInputs) -> str:
    """The page."""
    page = template("screens.html", {"duration": duration, "share": share, "figure": figure})
    return page.render(
        inputs=inputs,
        **outline(SECTIONS, present(inputs)),
        cards=list(cards(inputs)),
        summary=[],
        score=lambda *key: score(inputs.scores, *key),
        splits=lambda suite: splits(inputs.scores, suite),
        models=lambda suite: models(inputs.scores, suite),
        lineage=lineage(inputs.manifests),
        charts=charts,
        overlay=overlay,
        share=share,
    )


def figure(row: Row | None) -> str:
    """A value such as 0.123 ± 0.004; none where it was not scored or is of nothing."""
    if row is None or not math.isfinite(row["value"]):
        return "none"
    error = row["standard_error"]
    spread = f" ± {error:.3f}" if error is not None and math.isfinite(error) else ""
    return f"{row['value']:.3f}{spread}"


def share(part: float, whole: float) -> str:
    """A share in per cent, none of nothing."""
    return percent(part / whole) if whole else "none"


def score(
    rows: Sequence[Row], suite: str, split: str, metric: str, model: str = "ours"
) -> Row | None:
    """The row of a figure, None where it was not scored."""
    wanted = (suite, split, metric, model)
    found = ((r["suite"], r["split"], r["metric"], r["model"]) for r in rows)
    return next((row for row, key in zip(rows, found, strict=True) if key == wanted), None)


def splits(rows: Sequence[Row], suite: str) -> list[str]:
    """Of a suite, in the order that they come in."""
    return list(dict.fromkeys(row["split"] for row in rows if row["suite"] == suite))


def models(rows: Sequence[Row], suite: str) -> list[str]:
    """Of a suite, in the order that they come in."""
    return list(dict.fromkeys(row["model"] for row in rows if row["suite"] == suite))


def cards(inputs: ScreensInputs) -> Iterator[Card]:
    """The headline figures that there are, in the order of the flow."""
    if inputs.contents is not None:
        ok = inputs.contents.statuses.get("ok", 0)
        yield Card(number(ok), "screens annotated", f"of {number(inputs.contents.screens)}")
    wanted = (
        ("detection", "all classes", "ap50", "mAP@50, unseen templates"),
        ("annotation", "all classes", "f1 at IoU 0.1", "F1 of schemas at IoU 0.1"),
        ("reading", READ, "word f1", "word F1 of texts"),
        ("icons", "all", "top_1", "icons top-1, unseen families"),
    )
    for suite, split, metric, label in wanted:
        row = score(inputs.scores, suite, split, metric)
        if row is not None and math.isfinite(row["value"]):
            yield Card(f"{row['value']:.3f}", label, _note(inputs, row))
    if inputs.tasks is not None:
        kept = [row for row in inputs.tasks.words if row[0] == "kept"]
        model, program = sum(row[1] for row in kept), sum(row[2] for row in kept)
        note = f"{number(model)} in {inputs.tasks.writer}'s words, {number(program)} plain"
        yield Card(number(model + program), "tasks kept", note)


def _note(inputs: ScreensInputs, row: Row) -> str:
    said = [f"n {row['n']:,}"]
    if math.isfinite(row["standard_error"]):
        said.insert(0, f"± {row['standard_error']:.3f}")
    if row["suite"] == "reading":
        said.append(READ)
    goal = inputs.goals.get((row["suite"], row["split"], row["metric"]))
    if goal is not None:
        said.append(f"goal {goal:g}: {'reached' if row['value'] >= goal else 'missed'}")
    return ", ".join(said)


def overlay(boxes: Sequence[Drawn], numbered: bool = False) -> str:
    """An SVG to lie over a picture; a pointer on a box is told its label."""
    drawn = "".join(_rectangle(one) for one in boxes)
    numbers = "".join(_number(place, one) for place, one in enumerate(boxes, 1) if numbered)
    frame = 'viewBox="0 0 999 999" preserveAspectRatio="none" role="presentation"'
    return f"<svg {frame}>{drawn}</svg>{numbers}"


def _rectangle(one: Drawn) -> str:
    x0, x1, y0, y1 = one.box
    size = f'width="{max(x1 - x0, 1):g}" height="{max(y1 - y0, 1):g}"'
    dash = ' stroke-dasharray="5 3"' if one.dashed else ""
    stroke = f'stroke="{escape(one.colour)}"{dash}'
    return f'<rect x="{x0:g}" y="{y0:g}" {size} {stroke}><title>{escape(one.label)}</title></rect>'


def _number(place: int, one: Drawn) -> str:
    at = f"left:{one.box[0] / 9.99:.1f}%;top:{one.box[2] / 9.99:.1f}%"
    return f'<b style="{at};background:{escape(one.colour)}">{place}</b>'
