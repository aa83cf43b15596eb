"""The page: one HTML file that needs nothing else.

Top-down: headline figures, what came out in two sentences, the corpus, the training, the scores,
examples, then what a careful reader checks: quality, contamination, lineage, config, commands. The
templates are HTML and hold no logic but loops; what they show is made here and in the neighbouring
files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.report import charts, shot_charts, wording
from evaluators.report.inputs import ReportInputs
from evaluators.report.lineage import lineage
from evaluators.report.pictures import data_uri
from evaluators.report.tables import score_tables
from evaluators.report.testbed_chart import testbed_chart
from evaluators.testbed import among_rows

if TYPE_CHECKING:
    from jinja2 import Template

SECTIONS = {
    "funnel": ("Corpus", "no funnel counts were given"),
    "balance": ("Head and tail", "no query counts were given"),
    "samples": ("Samples", "no samples were given"),
    "training": ("Training", "no training curve was given"),
    "scores": ("Scores", "nothing was scored"),
    "shift": ("Shift", "no shift was scored"),
    "testbed": ("ImageNet's testbed", "no table of the testbed was given, or no shift of ImageNet"),
    "fine_tuned": ("Fine-tuning", "the image tower was fine-tuned on no set"),
    "shots": ("Zero-shot against learning", "no set was probed"),
    "classes": ("Classes and confusions", "no view of the classes was given"),
    "significance": ("Significance", "no second model was compared"),
    "namings": ("Zero-shot answers", "no zero-shot answers were given"),
    "mistakes": ("Surest mistakes", "no wrong zero-shot answers were given"),
    "matches": ("Retrieval answers", "no retrieval answers were given"),
    "bias": ("Bias probes", "no faces with groups were found"),
    "quality": ("Quality", "no manifests were given"),
    "sets": ("Evaluation sets", "no list of evaluation sets was given"),
    "overlap": ("Contamination", "overlap of tests and corpus was not checked"),
    "described": ("Model and data", "no card was given"),
    "lineage": ("Lineage", "no manifests were given"),
    "config": ("Reproduce", "neither config nor commands were given"),
}
"""By template, the section's title and what is said where its inputs are missing."""


def present(inputs: ReportInputs) -> dict[str, bool]:
    """By section: whether there is anything to show in it."""
    found = {
        "funnel": inputs.funnel,
        "balance": inputs.queries,
        "samples": inputs.samples or inputs.rejected,
        "training": any(len(run.lines) > 1 for run in inputs.runs),
        "scores": inputs.scores,
        "shift": inputs.shifts,
        "testbed": inputs.testbed,
        "fine_tuned": any(inputs.fine_tuned.values()),
        "shots": shot_charts.shot_sets(inputs.shots),
        "classes": inputs.classes or inputs.confusions,
        "significance": inputs.significance,
        "sets": inputs.audits,
        "namings": inputs.namings,
        "mistakes": inputs.mistakes,
        "matches": inputs.matches,
        "bias": any(inputs.bias.values()),
        "quality": any(m.get("quality") for m in inputs.manifests.values()),
        "overlap": inputs.overlap,
        "described": inputs.descriptions,
        "lineage": inputs.manifests,
        "config": inputs.config or inputs.commands,
    }
    return {name: bool(found[name]) for name in SECTIONS}


def outline(
    titles: Mapping[str, tuple[str, str]], shown: Mapping[str, bool]
) -> dict[str, list[tuple[str, str]]]:
    """For any page: `sections`, ids and titles of those shown; `missing`, titles of the others and
    why.
    """
    return {
        "sections": [(name, title) for name, (title, _) in titles.items() if shown[name]],
        "missing": [(title, why) for name, (title, why) in titles.items() if not shown[name]],
    }


def render(inputs: ReportInputs) -> str:
    """The page."""
    words = ("points", "span", "duration")
    page = template("page.html", {name: getattr(wording, name) for name in words})
    return page.render(
        inputs=inputs,
        prefix="",
        **outline(SECTIONS, present(inputs)),
        cards=list(wording.cards(inputs)),
        summary=wording.summary(inputs),
        tables=score_tables(inputs),
        lineage=lineage(inputs.manifests),
        charts=charts,
        shot_charts=shot_charts,
        testbed_chart=testbed_chart,
        among_rows=among_rows,
    )


def template(name: str, words: Mapping[str, Callable[..., str]]) -> Template:
    """A page's template, with what turns figures (`words` of its own among them), pictures and our
    own drawings into HTML.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=wording.number, percent=wording.percent, **words)
    environment.filters.update(picture=data_uri, pretty=_pretty, svg=_safe)
    environment.globals["MINUS"] = wording.MINUS
    return environment.get_template(name)


def _safe(drawing: str) -> Any:
    """Our own SVG goes into the page as it is."""
    from markupsafe import Markup

    return Markup(drawing)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
