"""CapFilt's page: one HTML file that needs nothing else.

Headline figures, what came out, the filter, the captions, the texts on their way, examples kept and
dropped, then training, lineage and config.
"""

from __future__ import annotations

from evaluators.report import capfilt_charts, capfilt_words, charts
from evaluators.report.capfilt_inputs import CapFiltInputs
from evaluators.report.lineage import lineage
from evaluators.report.render import outline, template

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
    return template("capfilt.html", capfilt_words.FILTERS).render(
        inputs=inputs,
        **outline(SECTIONS, present(inputs)),
        cards=list(capfilt_words.cards(inputs)),
        summary=capfilt_words.summary(inputs),
        lineage=lineage(inputs.manifests),
        charts=charts,
        drawn=capfilt_charts,
    )
