"""The report into a folder: report.html, and the scores beside it as JSON, CSV and LaTeX."""

from __future__ import annotations

import posixpath
import re

from evaluators.report.exports import clip_benchmark_csv, latex
from evaluators.report.inputs import ReportInputs
from evaluators.report.render import render
from evaluators.report.tables import scores_csv, scores_json
from pipelines.storage import write_bytes


def write_report(inputs: ReportInputs, out: str) -> str:
    """Write report.html, scores.json, scores.csv, clip_benchmark.csv and scores.tex into `out`, and
    cards as Markdown into `out`/cards.

    Returns:
        The path of report.html.

    Raises:
        OSError: a file cannot be written; the message names it.
    """
    _write(posixpath.join(out, "scores.json"), scores_json(inputs.scores))
    _write(posixpath.join(out, "scores.csv"), scores_csv(inputs.scores))
    _write(posixpath.join(out, "clip_benchmark.csv"), clip_benchmark_csv(inputs.scores, ""))
    _write(posixpath.join(out, "scores.tex"), latex(inputs.scores))
    for place, card in enumerate(inputs.descriptions):
        name = re.sub(r"[^a-z0-9]+", "-", card.title.lower()).strip("-")
        _write(posixpath.join(out, "cards", f"{place}-{name}.md"), card.markdown())
    page = posixpath.join(out, "report.html")
    _write(page, render(inputs))
    return page


def _write(path: str, content: str) -> None:
    write_bytes(path, content.encode("utf-8", "replace"))  # the web's texts hold lone surrogates
