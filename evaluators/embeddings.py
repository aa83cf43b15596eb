"""Embeddings kept: every image passes a model once, and all protocols read what came out.

    labelled -> Embed (an actor pool that holds the model) -> embeddings, by Ray Data

The folder is named by two content hashes, the checkpoint's with its settings and the set's, so a
changed weight or image is another folder and an old one is never mistaken for it. A killed run
goes on where it stopped (`pipelines.stages`). Readers take a shard at a time: a million vectors
never stand in memory together unless a protocol has to compare them all.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from evaluators.contenders import Contender, Model
from evaluators.embed import TEXT_COLUMNS, Embed, EmbedConfig, Embedded
from pipelines import datasets, hashing
from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.records import EMBEDDINGS
from pipelines.stages import Step, write_mapped

_COLUMNS = [*TEXT_COLUMNS, "image"]
BATCHES_A_TABLE = 4
SHARD_ROWS = 4096


class EmbedTable:
    """Batch callable: reads `image`, writes `content` and `vector`, null where undecodable."""

    def __init__(self, load: Callable[[], Model], batch_size: int) -> None:
        self.embed = Embed(load, batch_size)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Rows of EMBEDDINGS, in the table's order."""
        columns = {
            name: np.array(table.column(name).to_pylist(), dtype=object) for name in _COLUMNS
        }
        return _table(self.embed(columns))


def _table(batch: dict[str, np.ndarray]) -> pa.Table:
    vectors = batch["vector"]
    seen = np.isfinite(vectors).any(axis=1)
    ends = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    flat = pa.array(vectors.reshape(-1))
    lists = pa.ListArray.from_arrays(pa.array(ends), flat, mask=pa.array(~seen))
    text = [pa.array(batch[name].tolist(), pa.string()) for name in EMBEDDINGS.names[:-1]]
    return pa.table([*text, lists], schema=EMBEDDINGS)


def embeddings(dataset: Dataset, contender: Contender, config: EmbedConfig) -> Dataset:
    """The `embeddings` of a `labelled` dataset, below config.cache; as they stand if they do."""
    of = [parent.manifest.content_hash for parent in contender.made_from]
    settings = hashing.config_dict({"of": contender.settings})
    model = hashing.hash_json([of, settings, config.batch_size])
    name = f"{model[:16]}-{dataset.manifest.content_hash[:16]}"

    def write(folder: str) -> dict[str, int]:
        (_on_ray if config.workers else _here)(dataset, folder, contender, config)
        return {}

    return datasets.build(
        posixpath.join(config.cache, name),
        name="embeddings",
        config={"settings": settings, "batch_size": config.batch_size},
        seed=0,
        parents=[*contender.made_from, dataset],
        write=write,
    )


def _on_ray(dataset: Dataset, folder: str, contender: Contender, config: EmbedConfig) -> None:
    step = Step(
        EmbedTable,
        reads=_COLUMNS,
        writes=["content", "vector"],
        drops=["image"],
        arguments=(contender.load, config.batch_size),
        batch_rows=config.batch_size * BATCHES_A_TABLE,
        workers=config.workers,
        gpus=config.gpus,
    )
    write_mapped(
        dataset,
        folder,
        [step],
        EMBEDDINGS,
        Engines(),
        columns=_COLUMNS,
        label="embed",
        shard_rows=SHARD_ROWS,
    )


def _here(dataset: Dataset, folder: str, contender: Contender, config: EmbedConfig) -> None:
    call, rows, number = EmbedTable(contender.load, config.batch_size), [], 0
    for batch in dataset.batches(_COLUMNS, config.batch_size):
        rows.append(call(pa.Table.from_batches([batch])))
        if sum(map(len, rows)) >= SHARD_ROWS:
            datasets.write_shard(
                posixpath.join(folder, f"{number:05d}.parquet"), pa.concat_tables(rows)
            )
            rows, number = [], number + 1
    if rows:
        datasets.write_shard(
            posixpath.join(folder, f"{number:05d}.parquet"), pa.concat_tables(rows)
        )


def parts(found: Dataset, rows: int = SHARD_ROWS) -> Iterator[Embedded]:
    """An `embeddings` dataset some `rows` at a time, sorted by image_id within each part."""
    width = next((w for batch in found.batches(["vector"], rows) if (w := _width(batch))), 0)
    if not width:
        raise ValueError(f"{found.path}: none of {found.manifest.rows} images can be decoded")
    for batch in found.batches(EMBEDDINGS.names, rows):
        yield _embedded(batch, width)


def _width(batch: pa.RecordBatch) -> int:
    column = batch.column("vector").drop_null()
    return len(column[0]) if len(column) else 0


def _embedded(batch: pa.RecordBatch, width: int) -> Embedded:
    text = {
        name: np.array(batch.column(name).to_pylist(), dtype=str) for name in EMBEDDINGS.names[:-1]
    }
    column = batch.column("vector")
    seen = np.asarray(column.is_valid().to_numpy(zero_copy_only=False))
    vectors = column.drop_null().flatten().to_numpy().reshape(-1, width)
    order = np.argsort(text["image_id"], kind="stable")
    place = np.cumsum(seen) - 1
    good, bad = order[seen[order]], order[~seen[order]]
    return Embedded(
        image_id=text["image_id"][good],
        content=text["content"][good],
        class_name=text["class_name"][good],
        group=text["group"][good],
        vectors=np.ascontiguousarray(vectors[place[good]]),
        undecodable=list(zip(*(text[name][bad].tolist() for name in TEXT_COLUMNS), strict=True)),
    )


def whole(found: Dataset) -> Embedded:
    """All of an `embeddings` dataset, sorted by image_id."""
    every = list(parts(found))
    joined = {
        name: np.concatenate([getattr(part, name) for part in every])
        for name in ("image_id", "content", "class_name", "group", "vectors")
    }
    order = np.argsort(joined["image_id"], kind="stable")
    bad = sorted(row for part in every for row in part.undecodable)
    return Embedded(**{name: column[order] for name, column in joined.items()}, undecodable=bad)
