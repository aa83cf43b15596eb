"""Rows of `scores` datasets about screens."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from pipelines.datasets import write_shard
from pipelines.records import SCORES

TEMPLATES = "held-out templates"
OURS = "ours"


def figure(
    suite: str,
    split: str,
    metric: str,
    value: float,
    n: int,
    error: float = math.nan,
    *,
    dataset: str = TEMPLATES,
    model: str = OURS,
) -> dict[str, Any]:
    """A row of `records.SCORES`."""
    return {
        "suite": suite,
        "dataset": dataset,
        "split": split,
        "metric": metric,
        "model": model,
        "value": value,
        "n": n,
        "standard_error": error,
    }


def write_scores(folder: str, rows: Iterable[dict[str, Any]]) -> None:
    """The one shard of a `scores` dataset; a figure of nothing (n 0, or not a number) is none.

    Raises ValueError if no figure is left.
    """
    kept = [one for one in rows if one["n"] > 0 and math.isfinite(one["value"])]
    if not kept:
        raise ValueError(f"nothing to score for {folder}")
    table = pa.Table.from_pylist(kept, SCORES)
    write_shard(posixpath.join(folder, "00000.parquet"), table)
