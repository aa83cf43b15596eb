"""What a model answered, item by item: the rows that every score is counted from.

A score keeps its answers, so that a figure can be followed to the pictures behind it, another
metric needs no second run, and the report can show what went right and wrong. One dataset a
contender, a shard an evaluation set: a rerun after a kill goes on with the sets that are still
missing.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from evaluators.answers import Contest, Row, contest, matched, named
from evaluators.contenders import Classifier, Contender, Encoder, Model
from evaluators.embed import EmbedConfig, Embedded, embed
from evaluators.embeddings import embeddings, parts, whole
from evaluators.probe import probed
from evaluators.suites.kinds import (
    Classification,
    Probe,
    Retrieval,
    Source,
    Suite,
    class_names,
    datasets_of,
)
from pipelines import datasets, hashing, storage
from pipelines.datasets import Dataset

SCHEMA = pa.schema(
    [
        pa.field("suite", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),  # zero_shot, image_to_text, ...
        pa.field("item", pa.string(), nullable=False),  # image_id, or the text that was asked with
        pa.field(
            "truth", pa.string(), nullable=False
        ),  # class, caption, or image_id: a right answer
        pa.field(
            "rank", pa.int32()
        ),  # place of the best right answer, 0 the best; null: unanswered
        pa.field("candidates", pa.int32(), nullable=False),  # answers to choose from
        pa.field("partners", pa.int32(), nullable=False),  # right ones among them
        pa.field("top", pa.list_(pa.string()), nullable=False),  # the best answers, best first
        pa.field(
            "top_scores", pa.list_(pa.float32()), nullable=False
        ),  # softmax; retrieval: cosine
    ]
)
Answer = Callable[[Source, Embedded], Iterator[Row]]
ROWS_A_TABLE = 8192


def predict(
    contender: Contender, suites: Sequence[Suite], out: str, config: EmbedConfig
) -> Dataset:
    """The predictions of one contender over every set of `suites` that it can answer.

    A classifier has no texts, so it is left out of retrieval; a model of images alone is only
    probed. Images that cannot be decoded are
    rows without a rank, and drop count "undecodable".
    """
    plan = {
        "model": contender.name,
        "settings": hashing.config_dict({"of": contender.settings}),
        "suites": [suite.plan() for suite in suites],
        "batch_size": config.batch_size,
    }
    sets = datasets_of(source for suite in suites for source in suite.sets.values())

    def write(folder: str) -> dict[str, int]:
        model = functools.cache(contender.load)
        for suite in suites:
            if _can(model(), suite):
                _write_suite(folder, suite, contender, model(), config)
        unanswered = sum(
            b.column("rank").null_count for s in _shards(folder) for b in datasets.shard_batches(s)
        )
        return {"undecodable": unanswered} if unanswered else {}

    return datasets.build(
        out,
        name="predictions",
        config=plan,
        seed=0,
        parents=[*contender.made_from, *sets],
        write=write,
        content_hash=_content_hash,
    )


def read(predictions: Dataset) -> pa.Table:
    """All rows of a predictions dataset."""
    batches = [
        b for shard in predictions.shards for b in datasets.shard_batches(shard, SCHEMA.names)
    ]
    return pa.Table.from_batches([b.cast(SCHEMA) for b in batches], SCHEMA)


def _can(model: Model, suite: Suite) -> bool:
    """Anything can be probed; naming needs texts or classes, matching needs texts."""
    names = isinstance(suite, Classification) and isinstance(model, Classifier)
    return isinstance(suite, Probe) or isinstance(model, Encoder) or names


def _write_suite(
    folder: str, suite: Suite, contender: Contender, model: Model, config: EmbedConfig
) -> None:
    """A shard a set; each dataset passes the model once, however many of its groups are sets."""
    shard = {name: posixpath.join(folder, f"{suite.name}.{name}.parquet") for name in suite.sets}
    missing = [name for name in suite.sets if shard[name] not in _shards(folder)]
    if not missing:
        return
    answer = _answering(suite, model)
    for dataset in datasets_of(suite.sets[name] for name in missing):
        seen = _Seen(dataset, contender, model, config)
        for name in missing:
            source = suite.sets[name]
            if source.dataset.path == dataset.path:
                common = {"suite": suite.name, "dataset": name, "model": contender.name}
                tables = _tables(suite, source, seen, answer, common)
                _write_tables(shard[name], tables)


class _Seen:
    """A dataset's embeddings: out of the cache a part at a time, or all of them in memory."""

    def __init__(
        self, dataset: Dataset, contender: Contender, model: Model, config: EmbedConfig
    ) -> None:
        self.load = contender.load if config.workers else lambda: model
        self.dataset, self.config = dataset, config
        self.kept = embeddings(dataset, contender, config) if config.cache else None

    @functools.cached_property
    def whole(self) -> Embedded:
        """All of them, sorted by image_id."""
        if self.kept is not None:
            return whole(self.kept)
        return embed(self.dataset, self.load, self.config)

    def parts(self) -> Iterator[Embedded]:
        """All of them, in parts that need not stand in memory together."""
        yield from [self.whole] if self.kept is None else parts(self.kept)


def _tables(
    suite: Suite, source: Source, seen: _Seen, answer: Answer, common: dict[str, str]
) -> Iterator[pa.Table]:
    """Rows of one set; only naming, which asks each image alone, can go part by part."""
    stream = seen.parts() if isinstance(suite, Classification) else iter([seen.whole])
    group = "" if isinstance(suite, Probe) else source.group
    for part in stream:
        rows = answer(source, part.of(group).within(source.classes))
        while block := list(islice(rows, ROWS_A_TABLE)):
            yield pa.Table.from_pylist([{**common, **row} for row in block], schema=SCHEMA)


def _write_tables(path: str, tables: Iterator[pa.Table]) -> None:
    def write(stream: Any) -> None:
        with pq.ParquetWriter(stream, SCHEMA) as writer:
            for table in tables:
                writer.write_table(table)

    storage.write_file(path, write)


def _answering(suite: Suite, model: Model) -> Answer:
    """From a set and what was seen of it to its rows; classifiers are made once a class list."""
    if isinstance(suite, Retrieval):
        assert isinstance(model, Encoder)  # predict() asks no classifier to match
        return lambda source, seen: matched(model, suite.template, seen)
    shared = functools.cache(lambda: tuple(class_names(suite)))
    if isinstance(suite, Probe):
        return lambda source, seen: probed(suite, source.classes or shared(), seen)
    templates = suite.templates

    @functools.cache
    def classifier(
        classes: tuple[str, ...], own: tuple[str, ...], said: tuple[str, ...]
    ) -> Contest:
        return contest(model, list(classes or shared()), own or templates, said)

    return lambda source, seen: named(
        classifier(source.classes, source.templates, source.said), seen
    )


def _shards(folder: str) -> list[str]:
    fs, inner = storage.filesystem(folder)
    names = sorted(info.base_name for info in fs.get_file_info(pafs.FileSelector(inner)))
    return [posixpath.join(folder, n) for n in names if n.endswith(".parquet") and n[0] != "."]


def _content_hash(folder: str) -> str:
    parts = (
        hashing.rows_hash(datasets.shard_batches(file, SCHEMA.names), SCHEMA)
        for file in _shards(folder)
    )
    return f"{sum(total for total, _ in parts) % (1 << 128):032x}"
