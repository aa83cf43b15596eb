"""Scores as people read them, a row a figure and a column a model; and as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators.figures import CALIBRATION, CHANCE
from evaluators.report.inputs import ReportInputs, Row
from evaluators.report.wording import percent

RATES = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_per_class": "mean per class",
    "mean_top1_top5": "mean of top-1 and top-5",
    "roc_auc": "ROC AUC",
    "calibration_error": "calibration error",
    **{f"image_to_text_r{k}": f"image to text, R@{k}" for k in (1, 5, 10)},
    **{f"text_to_image_r{k}": f"text to image, R@{k}" for k in (1, 5, 10)},
    **{f"recall_{k}": f"composed, R@{k}" for k in (1, 5, 10, 50)},
    **{f"subset_recall_{k}": f"composed, in the subset, R@{k}" for k in (1, 2, 3)},
    "vqa_accuracy": "VQA accuracy",
    "exact_match": "exact match",
    "bleu_4": "BLEU-4",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "answered": "answered",
    "drawn": "drawn",
}
"""Metrics that are rates and belong into the tables, by their names in the scores."""


@dataclass(frozen=True)
class Cell:
    """One score as shown; `value` sorts."""

    value: float
    text: str
    error: str
    best: bool


@dataclass(frozen=True)
class Line:
    """One figure: where it was measured, and each model's score, None where it was not asked."""

    dataset: str
    split: str
    metric: str
    n: int
    chance: float
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Table:
    """All rates of a suite."""

    suite: str
    models: Sequence[str]
    lines: Sequence[Line]


def score_tables(inputs: ReportInputs) -> list[Table]:
    """One table a suite; the report's model is the first column."""
    rows = [row for row in inputs.scores if row["metric"] in RATES]
    return [
        _table(suite, inputs.model, rows) for suite in dict.fromkeys(row["suite"] for row in rows)
    ]


def _table(suite: str, first: str, rows: Sequence[Row]) -> Table:
    ours = [row for row in rows if row["suite"] == suite]
    models = [m for m in dict.fromkeys(row["model"] for row in ours) if m != CHANCE]
    models.sort(key=lambda name: name != first)
    places = dict.fromkeys((row["dataset"], row["split"], row["metric"]) for row in ours)
    return Table(suite, models, [_line(place, models, ours) for place in places])


def _line(place: tuple[str, str, str], models: Sequence[str], rows: Sequence[Row]) -> Line:
    by_model = {
        row["model"]: row for row in rows if (row["dataset"], row["split"], row["metric"]) == place
    }
    best = min if place[2] == CALIBRATION else max
    top = best((row["value"] for name, row in by_model.items() if name != CHANCE), default=0.0)
    cells = [_cell(by_model[m], top) if m in by_model else None for m in models]
    n = max(row["n"] for row in by_model.values())
    chance = by_model[CHANCE]["value"] if CHANCE in by_model else math.nan
    return Line(place[0], place[1], RATES[place[2]], n, chance, cells)


def _cell(row: Row, top: float) -> Cell:
    error = row["standard_error"]
    known = error is not None and math.isfinite(error)
    told = percent(error) if known else "unknown"
    return Cell(row["value"], percent(row["value"]), told, row["value"] == top)


def _plain(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """JSON knows no NaN: unknown is null."""
    for row in rows:
        yield {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }


def scores_json(rows: Sequence[Row]) -> str:
    """The scores as a JSON list of objects."""
    return json.dumps(list(_plain(rows)), indent=1, ensure_ascii=False) + "\n"


def scores_csv(rows: Sequence[Row]) -> str:
    """The scores as CSV with a header line; empty where a figure is unknown."""
    out = io.StringIO()
    names = ["suite", "dataset", "split", "metric", "model", "value", "n", "standard_error"]
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_plain(rows))
    return out.getvalue()
