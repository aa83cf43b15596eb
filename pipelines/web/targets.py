"""Pairs to targets: what to fetch, one row an image URL with all the texts that its pages gave it.

Grouping by URL is the one step that moves pairs from shard to shard. The engine only groups the
places of blocks of pairs: a block holds a batch's pairs of one bucket of URLs and lies in a file
beside the shards, so memory is one bucket's on any runner, where the local one would keep some 2
kB a pair of its own. A bucket is a range of image ids, which are hashes, and becomes one shard in
the order of those ids.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines import datasets, storage
from pipelines.datasets import Dataset
from pipelines.engines import Engines, beam_pipeline
from pipelines.records import PAIRS, TARGETS, TEXT, record_id
from pipelines.web import shards

PAIRS_A_SHARD = 10_000
"""Pairs that a shard of targets is made for, on average."""

MOST_SHARDS = 4096
"""However many pairs there are."""

SPILL = "_spill"
"""Folder of the blocks while they are grouped; its underscore keeps it out of the dataset."""

Place = tuple[str, int, int]
"""File, offset in bytes, length in bytes."""


def bucket_of(image_id: str, buckets: int) -> int:
    """The shard of an image: its id is a hash, so buckets come out even and hosts mixed."""
    return int(image_id[:8], 16) * buckets >> 32


def group_texts(pairs: pa.RecordBatch) -> pa.RecordBatch:
    """Pairs (with `image_id`) to targets, sorted by image id, each one's texts by pair id."""
    pairs = pairs.sort_by([("image_id", "ascending"), ("pair_id", "ascending")])
    ids = pairs.column("image_id").to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: len(ids)])
    columns = [pairs.column("text_source" if f.name == "source" else f.name) for f in TEXT]
    texts = pa.StructArray.from_arrays(columns, fields=list(TEXT))
    offsets = pa.array(np.append(starts, len(ids)), pa.int32())
    rows = pairs.select(["image_id", "image_url"]).take(pa.array(starts, pa.int64()))
    return rows.append_column("texts", pa.ListArray.from_arrays(offsets, texts))


# Lifted to blocks: a bucket's pairs of one batch, as bytes


def pack(batch: pa.RecordBatch) -> bytes:
    """A batch as a compressed Arrow stream."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def unpack(block: bytes) -> pa.RecordBatch:
    """The batch of `pack`."""
    return pa.ipc.open_stream(block).read_next_batch()


def blocks(batch: pa.RecordBatch, buckets: int) -> Iterator[tuple[int, bytes]]:
    """(bucket, packed pairs with their image ids) of one batch of pairs."""
    ids = [record_id(url) for url in batch.column("image_url").to_pylist()]
    columns = [pa.array(ids, pa.string()), *batch.select(PAIRS.names).columns]
    bare = pa.RecordBatch.from_arrays(columns, names=["image_id", *PAIRS.names])
    numbers = np.array([bucket_of(image_id, buckets) for image_id in ids], np.int64)
    for number, rows in shards.grouped(numbers):
        yield number, pack(bare.take(pa.array(rows)))


# Lifted to shards: blocks go through files, their places through the engine


def spill(task: shards.Task, buckets: int) -> Iterator[tuple[int, Place]]:
    """The blocks of one shard of pairs into one file; (bucket, where its block is) for each."""
    places: list[tuple[int, Place]] = []

    def write(sink: Any) -> None:
        for batch in datasets.shard_batches(task.source, PAIRS.names, shards.ROWS_A_BATCH):
            for bucket, block in blocks(batch, buckets):
                places.append((bucket, (task.target, sink.tell(), len(block))))
                sink.write(block)

    storage.write_file(task.target, write)
    yield from places


def read_block(place: Place) -> pa.RecordBatch:
    """The block that `spill` put there."""
    path, offset, length = place
    fs, inner = storage.filesystem(path)
    with fs.open_input_file(inner) as source:
        return unpack(source.read_at(length, offset))


def write_bucket(bucket: tuple[int, Iterable[Place]], folder: str) -> None:
    """All blocks of one bucket to one shard of targets."""
    number, places = bucket
    targets = group_texts(pa.concat_batches([read_block(place) for place in places]))
    table = pa.Table.from_batches([targets]).cast(TARGETS)
    datasets.write_shard(posixpath.join(folder, f"{number:05d}.parquet"), table)


# Lifted to Beam


def write_targets(
    pairs: Dataset, folder: str, engines: Engines, pairs_a_shard: int = PAIRS_A_SHARD
) -> Mapping[str, int]:
    """Fill `folder` with the targets of `pairs`, at least one shard; nothing is dropped."""
    import apache_beam as beam

    if not pairs.manifest.rows:
        datasets.write_shard(posixpath.join(folder, "00000.parquet"), TARGETS.empty_table())
        return {}
    buckets = min(MOST_SHARDS, max(1, math.ceil(pairs.manifest.rows / pairs_a_shard)))
    spilled = posixpath.join(folder, SPILL)
    with beam_pipeline(engines) as pipeline:
        _ = (
            pipeline
            | beam.Create(shards.tasks(pairs, spilled))
            | "Spread shards" >> beam.Reshuffle()
            | beam.FlatMap(spill, buckets)
            | beam.GroupByKey()
            | beam.Map(write_bucket, folder)
        )
    fs, inner = storage.filesystem(spilled)
    fs.delete_dir(inner)
    return {}
