"""The report's corpus pages out of datasets: funnel steps, and pictures kept and dropped.

Pictures are chosen by hash of (seed, id), so that a page shows neither the best nor the worst of
anything, and a rerun shows the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.report.inputs import Sample, Shift, Stage
from evaluators.score import ScoreConfig
from evaluators.shift import shifts
from evaluators.suites.kinds import Classification, Suite
from pipelines.datasets import Dataset
from pipelines.records import uniform

Row = dict[str, Any]


def stage(dataset: Dataset, name: str, unit: str, what: str = "") -> Stage:
    """A dataset as a step of the funnel."""
    return Stage(name, dataset.manifest.rows, unit, what, dataset.manifest.dropped)


def least(rows: Iterable[Row], key: str, n: int, seed: int) -> list[Row]:
    """The n rows whose hash of (seed, value of `key`) is least, in that order."""
    return heapq.nsmallest(n, rows, key=lambda row: uniform(seed, "report", row[key]))


def chosen(
    dataset: Dataset,
    columns: Sequence[str],
    n: int,
    seed: int,
    keep: Callable[[Row], bool] = lambda _: True,
) -> list[Row]:
    """n rows by the hash of their image_id, among those that `keep` takes, with all `columns`.

    The columns without pictures pass first, and then the chosen rows alone, so that memory is flat.
    """
    light = ["image_id", *(name for name in columns if name not in ("image", "texts"))]
    asked = (row for batch in dataset.batches(light) for row in batch.to_pylist() if keep(row))
    best = [row["image_id"] for row in least(asked, "image_id", n, seed)]
    found: dict[str, Row] = {}
    for batch in dataset.batches(["image_id", *columns]):
        rows = batch.filter(pc.is_in(batch.column("image_id"), pa.array(best, pa.string())))
        found.update({row["image_id"]: row for row in rows.to_pylist()})
    return [found[image_id] for image_id in best]


def sample_grid(samples: Dataset, n: int = 36, seed: int = 0) -> list[Sample]:
    """n images of the corpus with their texts."""
    rows = chosen(samples, ["image", "texts", "image_url"], n, seed)
    return [Sample(row["image"], _texts(row), row["image_url"]) for row in rows]


def rejected_grid(fetched: Dataset, n: int = 12, seed: int = 0) -> list[Sample]:
    """n images that fetching did not keep, with reasons; most of them never came to be seen."""
    columns = ["image", "texts", "image_url", "status", "detail"]
    rows = chosen(fetched, columns, n, seed, keep=lambda row: row["status"] != "ok")
    return [Sample(row["image"], _texts(row), row["image_url"], _reason(row)) for row in rows]


def _texts(row: Row) -> list[str]:
    return [text["text"] for text in row["texts"]]


def _reason(row: Row) -> str:
    return f"{row['status']}: {row['detail']}" if row["detail"] else str(row["status"])


def shift_views(
    answers: pa.Table, suites: Sequence[Suite], standard: Sequence[str], config: ScoreConfig
) -> list[Shift]:
    """Every shift of every suite, with the figures that the scores were written from."""
    return [
        Shift(suite.name, suite.in_distribution or "", name, found, tuple(standard))
        for suite in suites
        if isinstance(suite, Classification)
        for name, found in shifts(answers, suite, standard, config.seed, config.resamples).items()
    ]
