"""Score runs side by side: one HTML page, and the same figures as JSON and CSV.

Top-down: how many figures are better or worse beyond luck, which, every figure over the runs as a
table and as lines with 95 % error bars, then the runs themselves.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators.changes import LEVEL, Change
from evaluators.history import Scoring
from evaluators.report import wording
from evaluators.report.compare_charts import line_chart
from evaluators.report.render import outline, template
from evaluators.report.tables import RATES
from evaluators.report.wording import Card
from pipelines.storage import write_bytes

LEADING = ("top1", "roc_auc", "mean_top1_top5", "image_to_text_r1", "text_to_image_r1")
"""Metrics whose charts are open; the others' stand behind a click."""
IN_PER_CENT = (*RATES, "top1_in_distribution", "gap", "effective_robustness", "relative_robustness")
SECTIONS = {
    "changes": ("Changes", "no two runs answered the same questions"),
    "figures": ("Figures", "nothing was scored"),
    "lines": ("Over the runs", "a line needs two runs"),
    "runs": ("Runs", "no run was given"),
    "config": ("Reproduce", "neither config nor commands were given"),
}


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


WORDS: dict[str, Callable[..., str]] = {
    "points": wording.points,
    "span": wording.span,
    "figure_p": _p,
}


@dataclass(frozen=True)
class Figure:
    """One metric of one set over the runs; None where a run did not measure it."""

    suite: str
    dataset: str
    split: str
    metric: str
    cells: Sequence[Mapping[str, Any] | None]

    @property
    def name(self) -> str:
        """The metric as people read it."""
        return RATES.get(self.metric, self.metric.replace("_", " "))

    @property
    def rate(self) -> bool:
        """Whether it is a rate or a difference of rates, shown in per cent."""
        return self.metric.startswith(IN_PER_CENT)

    def told(self, value: float) -> str:
        """A value in the metric's unit."""
        return wording.percent(value) if self.rate else f"{value:.4g}"

    def change(self) -> float:
        """Last less first of the runs that measured it; NaN with fewer than two."""
        values = [cell["value"] for cell in self.cells if cell is not None]
        return float(values[-1] - values[0]) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class CompareInputs:
    """One comparison."""

    title: str
    runs: Sequence[Scoring]
    changes: Sequence[Change]
    created: str = ""
    introduction: str = ""
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    commands: Sequence[str] = ()
    left_out: Sequence[str] = ()
    level: float = LEVEL
    """Of p, adjusted, below which a change is called better or worse."""


def figures(runs: Sequence[Scoring]) -> list[Figure]:
    """Every metric of every set, in the order of first appearance."""
    by_run = [
        {(r["suite"], r["dataset"], r["split"], r["metric"]): r for r in run.rows} for run in runs
    ]
    places = dict.fromkeys(place for rows in by_run for place in rows)
    return [Figure(*place, [rows.get(place) for rows in by_run]) for place in places]


def render_compare(inputs: CompareInputs) -> str:
    """The page."""
    found = figures(inputs.runs)
    shown = {
        "changes": bool(inputs.changes),
        "figures": bool(found),
        "lines": len(inputs.runs) > 1 and bool(found),
        "runs": bool(inputs.runs),
        "config": bool(inputs.config or inputs.commands),
    }
    return template("page.html", WORDS).render(
        inputs=inputs,
        prefix="compare_",
        figures=found,
        leading=LEADING,
        metrics=RATES,
        line_chart=lambda figure: line_chart(figure, inputs.runs, worse_in(inputs, figure)),
        **outline(SECTIONS, shown),
        cards=list(cards(inputs)),
        summary=summary(inputs),
    )


def worse_in(inputs: CompareInputs, figure: Figure) -> set[str]:
    """Names of the runs in which this figure fell beyond luck, against the run before."""
    place = (figure.suite, figure.dataset, figure.metric)
    after = {b.name: a.name for a, b in zip(inputs.runs, inputs.runs[1:], strict=False)}
    return {
        one.after
        for one in inputs.changes
        if (one.suite, one.dataset, one.metric) == place
        and one.verdict(inputs.level) == "worse"
        and after.get(one.after) == one.before
    }


def cards(inputs: CompareInputs) -> Iterator[Card]:
    """How many runs, changes, and changes beyond luck."""
    told = [one.verdict(inputs.level) for one in inputs.changes]
    yield Card(str(len(inputs.runs)), "score runs", "in the order given")
    if told:
        note = f"McNemar, Holm over {len(told):,} tests, level {inputs.level:g}"
        yield Card(str(told.count("worse")), "regressions beyond luck", note)
        yield Card(str(told.count("better")), "gains beyond luck", note)


def summary(inputs: CompareInputs) -> list[str]:
    """The regressions in words, the largest first."""
    worse = [one for one in inputs.changes if one.verdict(inputs.level) == "worse"]
    worse.sort(key=lambda one: one.difference.value)
    if not worse:
        return ["No figure fell by more than luck explains."] if inputs.changes else []
    said = [
        f"{one.suite}/{one.dataset}, {RATES.get(one.metric, one.metric)}: "
        f"{wording.points(one.difference.value)} points from {one.before} to {one.after}"
        for one in worse[:3]
    ]
    more = f", and {len(worse) - 3} more" if len(worse) > 3 else ""
    return [f"Fell by more than luck explains: {'; '.join(said)}{more}."]


def figure_rows(runs: Sequence[Scoring]) -> list[dict[str, Any]]:
    """A row a run and figure."""
    return [{"run": run.name, **_plain(row)} for run in runs for row in run.rows]


def change_rows(inputs: CompareInputs) -> list[dict[str, Any]]:
    """A row a change, its interval flat, its verdict last."""
    found = []
    for one in inputs.changes:
        row = dataclasses.asdict(one)
        span = row.pop("difference")
        row |= {"difference": span["value"], "low": span["low"], "high": span["high"]}
        found.append(_plain({**row, "verdict": one.verdict(inputs.level)}))
    return found


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def write_compare(inputs: CompareInputs, out: str) -> str:
    """Write compare.html, compare.json, figures.csv and changes.csv; returns the page's path."""
    told, changed = figure_rows(inputs.runs), change_rows(inputs)
    runs = [
        {"run": r.name, "path": r.path, "model": r.model, "finished": r.finished}
        | {"checkpoint": r.checkpoint}
        for r in inputs.runs
    ]
    whole = {"runs": runs, "figures": told, "changes": changed, "left_out": list(inputs.left_out)}
    _write(out, "compare.json", json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    _write(out, "figures.csv", _csv(told))
    _write(out, "changes.csv", _csv(changed))
    return _write(out, "compare.html", render_compare(inputs))


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["run"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _write(out: str, name: str, content: str) -> str:
    path = posixpath.join(out, name)
    write_bytes(path, content.encode("utf-8", "replace"))
    return path
