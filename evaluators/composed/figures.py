"""Composed retrieval's figures: recall at k by group, their mean, and recall in the subset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evaluators.composed.sets import RECALL_AT, SUBSET_RECALL_AT
from evaluators.statistics import Rate, mean_of, mean_rate

Row = dict[str, Any]


def figures(rows: Sequence[Row]) -> Iterator[tuple[str, str, Rate, float]]:
    """(split, metric, rate, chance) of the rows of `composed_answers` that are ok.

    The mean over groups weighs them alike, as the papers' averages do.
    """
    good = [row for row in rows if row["status"] == "ok"]
    groups = sorted({row["group"] for row in good})
    found: dict[str, list[tuple[Rate, float]]] = {}
    for group in groups:
        ours = [row for row in good if row["group"] == group]
        for metric, rate, chance in _of_group(ours):
            found.setdefault(metric, []).append((rate, chance))
            yield group or "all", metric, rate, chance
    for metric, of_groups in found.items() if len(groups) > 1 else ():
        rates = [rate for rate, _ in of_groups]
        yield "mean", metric, mean_rate(rates), float(np.mean([c for _, c in of_groups]))


def _of_group(rows: Sequence[Row]) -> Iterator[tuple[str, Rate, float]]:
    for k in RECALL_AT:
        shares = [sum(place < k for place in row["places"]) / row["partners"] for row in rows]
        chance = [min(1.0, k / row["candidates"]) for row in rows]
        yield f"recall_{k}", mean_of(shares), float(np.mean(chance))
    asked = [row for row in rows if row["subset_place"] is not None]
    for k in SUBSET_RECALL_AT if asked else ():
        chance = [min(1.0, k / row["subset"]) for row in asked]
        hits = [float(row["subset_place"] < k) for row in asked]
        yield f"subset_recall_{k}", mean_of(hits), float(np.mean(chance))
