"""Scores for other tools and for papers: CLIP_benchmark's CSV, and a LaTeX table.

CLIP_benchmark (1.6.2) writes a row a dataset and task, with its own names of metrics; its figures
and ours are the same numbers, so ours can stand in its tables.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from evaluators.figures import CHANCE
from evaluators.report.inputs import Row

COLUMNS = ("dataset", "model", "pretrained", "task", "language")
THEIR_NAMES = {
    "top1": "acc1",
    "top5": "acc5",
    "mean_per_class": "mean_per_class_recall",
    "image_to_text_r5": "text_retrieval_recall@5",
    "text_to_image_r5": "image_retrieval_recall@5",
}
PROBED = {"top1": "lp_acc1", "top5": "lp_acc5", "mean_per_class": "lp_mean_per_class_recall"}
SHOWN = ("top1", "mean_per_class", "roc_auc", "image_to_text_r5", "text_to_image_r5")
SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def clip_benchmark_csv(rows: Sequence[Row], pretrained: str) -> str:
    """Rows of `scores` under CLIP_benchmark's columns; k-shot and shifts' held classes are not its.

    A set that was asked as a shift stands once, with its figure over all its pictures.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        task = _task(row)
        name = (PROBED if task == "linear_probe" else THEIR_NAMES).get(row["metric"])
        if task is None or name is None or row["model"] == CHANCE:
            continue
        line = found.setdefault(
            (row["dataset"], row["model"], task),
            dict(zip(COLUMNS, (row["dataset"], row["model"], pretrained, task, "en"), strict=True)),
        )
        line.setdefault(name, row["value"])
    names = [*COLUMNS, *THEIR_NAMES.values(), *PROBED.values()]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.values())
    return out.getvalue()


def _task(row: Row) -> str | None:
    if row["metric"].startswith(("image_to_text", "text_to_image")):
        return "zeroshot_retrieval"
    if row["suite"] == "probe":
        return "linear_probe" if row["split"] == "all" else None
    held_in_distribution = row["suite"].startswith("shift ") and row["suite"] != (
        f"shift {row['dataset']}"
    )
    return None if held_in_distribution else "zeroshot_classification"


def latex(rows: Sequence[Row]) -> str:
    """A table of percentages with standard errors, a row a figure and a column a model."""
    shown = [row for row in rows if row["metric"] in SHOWN and row["model"] != CHANCE]
    models = list(dict.fromkeys(row["model"] for row in shown))
    places = dict.fromkeys((r["suite"], r["dataset"], r["split"], r["metric"]) for r in shown)
    value = {
        (r["suite"], r["dataset"], r["split"], r["metric"], r["model"]): _figure(r) for r in shown
    }
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{llll{'r' * len(models)}}}",
        r"\toprule",
        " & ".join(["suite", "set", "split", "metric", *map(_plain, models)]) + r" \\",
        r"\midrule",
    ]
    for place in places:
        cells = [value.get((*place, model), "--") for model in models]
        lines.append(" & ".join([*map(_plain, place), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _figure(row: Row) -> str:
    error = row["standard_error"]
    told = f" $\\pm$ {100 * error:.1f}" if error is not None and math.isfinite(error) else ""
    return f"{100 * row['value']:.1f}{told}"


def _plain(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)
