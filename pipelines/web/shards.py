"""A shard in, a shard out: the unit of work of stages that move no row from shard to shard.

A stage streams the rows of one shard through a function of record batches into one shard of the
same number, in memory that does not depend on the shard's size. The shard written appears whole or
not at all, so a rerun after a kill does only what is missing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines import datasets, storage
from pipelines.datasets import Dataset

ROWS_A_BATCH = 32_768
"""Rows in memory at once, about 50 MB with their matches; also the row group of what is written."""


@dataclass(frozen=True)
class Task:
    """Paths of the shard to read and of the shard to write."""

    source: str
    target: str


def tasks(dataset: Dataset, folder: str) -> list[Task]:
    """One task a shard of `dataset`, in the manifest's order."""
    return [
        Task(shard, posixpath.join(folder, f"{index:05d}.parquet"))
        for index, shard in enumerate(dataset.shards)
    ]


def stream(
    task: Task,
    columns: list[str],
    map_batch: Callable[[pa.RecordBatch], pa.RecordBatch],
    schema: pa.Schema,
) -> None:
    """Write `map_batch` of every batch, in `schema`'s columns; nothing if the target stands."""
    fs, inner = storage.filesystem(task.target)
    if fs.get_file_info(inner).type == pafs.FileType.File:
        return

    def write(sink: Any) -> None:
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for batch in datasets.shard_batches(task.source, columns, ROWS_A_BATCH):
                writer.write_batch(map_batch(batch).select(schema.names).cast(schema))

    storage.write_file(task.target, write)


def grouped(
    keys: npt.NDArray[np.int64],
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """(key, its positions in ascending order) for each distinct key."""
    order = np.argsort(keys, kind="stable")
    distinct, starts = np.unique(keys[order], return_index=True)
    yield from zip(distinct.tolist(), np.split(order, starts)[1:], strict=True)


def rows_written(done: list[Task]) -> int:
    """Rows of all targets, from their footers."""
    total = 0
    for task in done:
        fs, inner = storage.filesystem(task.target)
        with fs.open_input_file(inner) as source:
            total += pq.read_metadata(source).num_rows
    return total
