"""CapFilt's page: one HTML file that needs nothing else.

Headline figures, what came out, the filter, the captions, the texts on their way, examples kept and
dropped, then training, lineage and config.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.report import capfilt_charts, capfilt_words, charts, wording
from evaluators.report.capfilt_inputs import CapFiltInputs
from evaluators.report.lineage import lineage
from evaluators.report.pictures import data_uri

if TYPE_CHECKING:
    from jinja2 import Environment

SECTIONS = {
    "filter": ("The filter", "it was not asked about swapped captions"),
    "captions": ("The captions", "none were scored"),
    "funnel": ("The texts", "no counts were given"),
    "examples": ("Kept and dropped", "no examples were given"),
    "training": ("Training", "no training curve was given; the models came from elsewhere"),
    "lineage": ("Lineage", "no manifests were given"),
    "config": ("Reproduce", "neither config nor commands were given"),
}
"""By id, the section's title and what is said where its inputs are missing."""


def present(inputs: CapFiltInputs) -> dict[str, bool]:
    """By section: whether there is anything to show in it."""
    found = {
        "filter": inputs.swaps is not None or inputs.kept is not None or inputs.retrieval,
        "captions": inputs.captions,
        "funnel": inputs.funnel,
        "examples": inputs.blocks,
        "training": any(len(run.lines) > 1 for run in inputs.runs),
        "lineage": inputs.manifests,
        "config": inputs.config or inputs.commands,
    }
    return {name: bool(found[name]) for name in SECTIONS}


def render_capfilt(inputs: CapFiltInputs) -> str:
    """The page."""
    shown = present(inputs)
    return (
        sheet_environment()
        .get_template("capfilt.html")
        .render(
            inputs=inputs,
            sections=[(name, title) for name, (title, _) in SECTIONS.items() if shown[name]],
            missing=[(title, why) for name, (title, why) in SECTIONS.items() if not shown[name]],
            cards=list(capfilt_words.cards(inputs)),
            summary=capfilt_words.summary(inputs),
            lineage=lineage(inputs.manifests),
            charts=charts,
            drawn=capfilt_charts,
        )
    )


def sheet_environment() -> Environment:
    """The templates, with what turns figures, pictures and our own drawings into the page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("figure", "span", "rate", "rate_span"):
        environment.filters[name] = getattr(capfilt_words, name)
    environment.filters.update(number=wording.number, percent=wording.percent)
    environment.filters.update(picture=data_uri, svg=_safe, pretty=_pretty)
    environment.globals["MINUS"] = wording.MINUS
    return environment


def _safe(drawing: str) -> Any:
    """Our own SVG goes into the page as it is."""
    from markupsafe import Markup

    return Markup(drawing)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
