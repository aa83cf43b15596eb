"""Composed retrieval's figures: recall at k by group, their mean, and recall in the subset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluators.composed.sets import RECALL_AT, SUBSET_RECALL_AT
from evaluators.statistics import Rate, mean_of, mean_of_groups

Row = dict[str, Any]


def figures(rows: Sequence[Row]) -> Iterator[tuple[str, str, Rate, float]]:
    """(split, metric, rate, chance) of the rows of `composed_answers` that are ok.

    The mean over groups weighs them alike, as the papers' averages do; its error is that of drawing
    pictures, each of which is asked with in several groups.
    """
    good = [row for row in rows if row["status"] == "ok"]
    groups = sorted({row["group"] for row in good})
    found: dict[str, list[Mapping[str, list[float]]]] = {}
    chances: dict[str, list[float]] = {}
    for group in groups:
        ours = [row for row in good if row["group"] == group]
        for metric, asked, values, chance in _of_group(ours):
            by_picture: dict[str, list[float]] = {}
            for row, value in zip(asked, values, strict=True):
                by_picture.setdefault(row["reference"], []).append(value)
            found.setdefault(metric, []).append(by_picture)
            chances.setdefault(metric, []).append(chance)
            yield group or "all", metric, mean_of(values), chance
    for metric, of_groups in found.items() if len(groups) > 1 else ():
        yield "mean", metric, mean_of_groups(of_groups), float(np.mean(chances[metric]))


def _of_group(rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Row], list[float], float]]:
    """(metric, rows that were asked, value of each, chance)."""
    for k in RECALL_AT:
        shares = [sum(place < k for place in row["places"]) / row["partners"] for row in rows]
        chance = [min(1.0, k / row["candidates"]) for row in rows]
        yield f"recall_{k}", rows, shares, float(np.mean(chance))
    asked = [row for row in rows if row["subset_place"] is not None]
    for k in SUBSET_RECALL_AT if asked else ():
        chance = [min(1.0, k / row["subset"]) for row in asked]
        hits = [float(row["subset_place"] < k) for row in asked]
        yield f"subset_recall_{k}", asked, hits, float(np.mean(chance))
