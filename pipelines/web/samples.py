"""From fetched pictures to training samples: what was fetched, less duplicates, less test images.

The shards come out sorted by image_id and of a fixed length, whatever order the pictures were
fetched in, so that a training run that reads them in order is the same after any rerun. Rows are
spilled into buckets of neighbouring shards first, each of which fits into memory: two passes over
the bytes, in memory that does not grow with them.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from pipelines.datasets import Dataset, filesystem, write_shard
from pipelines.records import SAMPLES
from pipelines.web.dedup import FINGERPRINT, DedupConfig, duplicates, near_duplicates
from pipelines.web.images import fingerprint_of

Ids = npt.NDArray[np.bytes_]
"""Sorted ids of 32 hex digits."""

_LOOKS = [*FINGERPRINT.names, "original_width", "original_height"]


@dataclass(frozen=True)
class SamplesConfig:
    """Which fetched pictures become samples."""

    dedup: DedupConfig = field(default_factory=DedupConfig)
    """When two fetched pictures are one, and when one is an evaluation image."""
    shard_rows: int = 1000
    """Rows of a shard."""
    bucket_bytes: int = 256_000_000
    """Bytes of pictures sorted in memory at a time."""


def write_samples(
    fetched: Dataset, folder: str, config: SamplesConfig, against: Sequence[Dataset] = ()
) -> Mapping[str, int]:
    """Write the shards of `samples`; returns the rows dropped, by reason.

    `against`: evaluation sets (`labelled`) that no sample may show. Reasons: each status of
    `fetched` other than ok; near_test_image; near_duplicate.
    """
    drops: Counter[str] = Counter()
    looks = _looks(fetched, drops)
    tests = [fingerprints(dataset) for dataset in against]
    shown = pa.concat_tables([FINGERPRINT.empty_table(), *tests])
    near = pc.unique(near_duplicates(looks, shown, config.dedup).column("image_id"))
    looks = _without(looks, near)
    twins = duplicates(looks, config.dedup).column("image_id")
    drops.update({"near_test_image": len(near), "near_duplicate": len(twins)})
    kept = np.sort(np.array(_without(looks, twins).column("image_id").to_pylist(), "S32"))
    _write_sorted(fetched, kept, folder, config)
    return {reason: count for reason, count in sorted(drops.items()) if count}


def fingerprints(labelled: Dataset) -> pa.Table:
    """FINGERPRINT's columns of every image of an evaluation set."""
    parts = [FINGERPRINT.empty_table()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in labelled.batches(["image_id", "image"]):
            ids, images = (column.to_pylist() for column in batch.columns)
            phash, thumbnail = zip(*pool.map(fingerprint_of, images), strict=True)
            parts.append(pa.table([ids, phash, thumbnail], schema=FINGERPRINT))
    return pa.concat_tables(parts)


def _looks(fetched: Dataset, drops: Counter[str]) -> pa.Table:
    """Fingerprints and sizes of the pictures; counts the other rows into `drops` by status."""
    parts = [SAMPLES.empty_table().select(_LOOKS)]
    for batch in fetched.batches([*_LOOKS, "status"]):
        ok = pc.equal(batch.column("status"), "ok")
        drops.update(batch.filter(pc.invert(ok)).column("status").to_pylist())
        parts.append(pa.table(batch.filter(ok).select(_LOOKS)).cast(parts[0].schema))
    return pa.concat_tables(parts)


def _without(looks: pa.Table, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    return looks.filter(pc.invert(pc.is_in(looks.column("image_id"), value_set=ids)))


def _write_sorted(fetched: Dataset, kept: Ids, folder: str, config: SamplesConfig) -> None:
    """Shard k holds the k-th `shard_rows` of `kept`; shards that stand already stay."""
    names = [f"{k:05d}.parquet" for k in range(-(-len(kept) // config.shard_rows))]
    standing = _standing(folder)
    missing = [k for k, name in enumerate(names) if name not in standing]
    if not missing:
        return
    buckets = _buckets(missing, fetched, config)
    with _spill_folder(folder) as spill:
        _spill(fetched, kept, buckets, spill, config.shard_rows)
        for number, shards in enumerate(buckets):
            rows = _read_spilled(spill, number).sort_by("image_id")
            for place, k in enumerate(shards):
                shard = rows.slice(place * config.shard_rows, config.shard_rows)
                write_shard(posixpath.join(folder, names[k]), shard.cast(SAMPLES))


def _standing(folder: str) -> set[str]:
    fs, inner = filesystem(folder)
    infos = fs.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    return {posixpath.basename(info.path) for info in infos}


def _buckets(missing: list[int], fetched: Dataset, config: SamplesConfig) -> list[list[int]]:
    """Numbers of shards to make, in runs that fit into memory together."""
    bytes_a_row = _bytes(fetched) / max(1, fetched.manifest.rows)
    shards = max(1, int(config.bucket_bytes / max(1.0, bytes_a_row * config.shard_rows)))
    return [missing[at : at + shards] for at in range(0, len(missing), shards)]


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
    fetched: Dataset, kept: Ids, buckets: list[list[int]], spill: str, shard_rows: int
) -> None:
    """One Arrow stream a bucket, rows in the order in which they were fetched."""
    bucket_of = np.full(-(-len(kept) // shard_rows) + 1, -1)
    for number, shards in enumerate(buckets):
        bucket_of[shards] = number
    with contextlib.ExitStack() as stack:
        paths = [os.path.join(spill, str(number)) for number in range(len(buckets))]
        writers = [stack.enter_context(pa.ipc.new_stream(path, SAMPLES)) for path in paths]
        for batch in fetched.batches():
            ids = np.array(batch.column("image_id").to_pylist(), "S32")
            place = np.searchsorted(kept, ids)
            found = np.append(kept, b"")[place] == ids
            bucket = np.where(found, bucket_of[place // shard_rows], -1)
            for number in np.unique(bucket[bucket >= 0]).tolist():
                rows = batch.filter(pa.array(bucket == number)).select(SAMPLES.names)
                writers[number].write_table(pa.table(rows).cast(SAMPLES))


def _read_spilled(spill: str, number: int) -> pa.Table:
    with pa.ipc.open_stream(os.path.join(spill, str(number))) as reader:
        return reader.read_all()
