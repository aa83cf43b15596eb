"""Rows of any dataset into shards sorted by id, in memory that does not grow with them.

An engine leaves rows in the order in which they were done. Shards that are sorted and of a fixed
length are the same after any rerun, and a training run that reads them in order sees the same.
Rows are spilled into buckets of neighbouring shards first, each of which fits into memory: two
passes over the bytes.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs

from pipelines.datasets import Dataset, write_shard
from pipelines.storage import filesystem

Ids = npt.NDArray[np.bytes_]
"""Sorted ids of 32 hex digits."""


@dataclass(frozen=True)
class Shards:
    """How long shards are, and what is sorted at a time."""

    rows: int = 1000
    """Rows of a shard."""
    bucket_bytes: int = 256_000_000
    """Bytes of rows sorted in memory at a time."""


def write_sorted(
    source: Dataset,
    kept: Ids,
    folder: str,
    shards: Shards,
    made: Callable[[pa.Table], pa.Table],
) -> None:
    """Shard k holds the k-th `shards.rows` of the `kept` image ids; what stands already stays.

    `made` turns rows of `source` into rows of the new dataset, one for one, image_id unchanged.
    """
    names = [f"{k:05d}.parquet" for k in range(-(-len(kept) // shards.rows))]
    standing = _standing(folder)
    missing = [k for k, name in enumerate(names) if name not in standing]
    if not missing:
        return
    buckets = _buckets(missing, source, shards)
    with _spill_folder(folder) as spill:
        _spill(source, kept, buckets, spill, shards.rows, made)
        for number, run in enumerate(buckets):
            rows = _read_spilled(spill, number).sort_by("image_id")
            for place, k in enumerate(run):
                shard = rows.slice(place * shards.rows, shards.rows)
                write_shard(posixpath.join(folder, names[k]), shard)


def _standing(folder: str) -> set[str]:
    fs, inner = filesystem(folder)
    infos = fs.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    return {posixpath.basename(info.path) for info in infos}


def _buckets(missing: list[int], source: Dataset, shards: Shards) -> list[list[int]]:
    """Numbers of shards to make, in runs that fit into memory together."""
    bytes_a_row = _bytes(source) / max(1, source.manifest.rows)
    run = max(1, int(shards.bucket_bytes / max(1.0, bytes_a_row * shards.rows)))
    return [missing[at : at + run] for at in range(0, len(missing), run)]


def _bytes(dataset: Dataset) -> int:
    sizes = []
    for path in dataset.shards:
        fs, inner = filesystem(path)
        sizes.append(fs.get_file_info(inner).size or 0)
    return sum(sizes)


@contextlib.contextmanager
def _spill_folder(folder: str) -> Iterator[str]:
    """Scratch space on a local disk: beside the shards if they are local. Gone afterwards."""
    fs, inner = filesystem(folder)
    local = isinstance(fs, pafs.LocalFileSystem)
    spill = os.path.join(inner, "_spill") if local else tempfile.mkdtemp()
    shutil.rmtree(spill, ignore_errors=True)  # of a killed run
    os.makedirs(spill)
    try:
        yield spill
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _spill(
    source: Dataset,
    kept: Ids,
    buckets: list[list[int]],
    spill: str,
    shard_rows: int,
    made: Callable[[pa.Table], pa.Table],
) -> None:
    """One Arrow stream a bucket, rows in the order in which `source` holds them."""
    bucket_of = np.full(-(-len(kept) // shard_rows) + 1, -1)
    for number, run in enumerate(buckets):
        bucket_of[run] = number
    writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
    with contextlib.ExitStack() as stack:
        for batch in source.batches():
            ids = np.array(batch.column("image_id").to_pylist(), "S32")
            place = np.searchsorted(kept, ids)
            found = np.append(kept, b"")[place] == ids
            bucket = np.where(found, bucket_of[place // shard_rows], -1)
            for number in np.unique(bucket[bucket >= 0]).tolist():
                rows = made(pa.table(batch.filter(pa.array(bucket == number))))
                if number not in writers:
                    writer = pa.ipc.new_stream(os.path.join(spill, str(number)), rows.schema)
                    writers[number] = stack.enter_context(writer)
                writers[number].write_table(rows)


def _read_spilled(spill: str, number: int) -> pa.Table:
    with pa.ipc.open_stream(os.path.join(spill, str(number))) as reader:
        return reader.read_all()
