"""The suite `composed`: a model's answers to composed queries, kept as datasets, and its figures.

`OUT/composed/MODEL/SET` holds a row a query (`pipelines.records.COMPOSED_ANSWERS`). The pictures'
embeddings are those that all protocols share; the baselines without a mapper read them too.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa

from evaluators.composed.encoders import COMPOSED, ways_of
from evaluators.composed.figures import figures
from evaluators.composed.retrieval import answered
from evaluators.composed.sets import ComposedSet
from evaluators.contenders import Contender, Encoder
from evaluators.embed import EmbedConfig, Embedded, embed
from evaluators.embeddings import embeddings, whole
from evaluators.figures import CHANCE, score_row
from evaluators.score import Extra, folder_name
from evaluators.statistics import Rate
from pipelines import datasets, hashing
from pipelines.datasets import Dataset
from pipelines.records import COMPOSED_ANSWERS

SUITE = "composed"


def composed(
    contenders: Sequence[Contender], sets: Sequence[ComposedSet], out: str, config: EmbedConfig
) -> Extra:
    """Every contender with texts, in every way that it can ask, over every set."""
    answers: dict[tuple[str, str], Dataset] = {}
    for contender in contenders:
        model = functools.cache(contender.load)
        for one in sets:
            seen = functools.cache(functools.partial(_seen, one, contender, config))
            for way in ways_of(model()):
                name = contender.name if way == COMPOSED else f"{contender.name}: {way}"
                where = posixpath.join(out, SUITE, folder_name(name), one.name)
                found = _answers(contender, cast(Encoder, model()), way, one, seen, where)
                answers[one.name, name] = found
    return Extra(SUITE, tuple(answers.values()), lambda: _rows(answers))


def _seen(one: ComposedSet, contender: Contender, config: EmbedConfig) -> Embedded:
    if config.cache:
        return whole(embeddings(one.pictures, contender, config))
    return embed(one.pictures, contender.load, config)


def _answers(
    contender: Contender, model: Encoder, way: str, one: ComposedSet, seen: Any, where: str
) -> Dataset:
    queries = one.queries

    def write(folder: str) -> dict[str, int]:
        asked = queries.table().sort_by("image_id").to_pylist()
        rows = list(answered(model, way, asked, seen(), one.hidden_reference))
        table = pa.Table.from_pylist(rows, schema=COMPOSED_ANSWERS)
        datasets.write_shard(posixpath.join(folder, "00000.parquet"), table)
        bad = [row["status"] for row in rows if row["status"] != "ok"]
        return {status: bad.count(status) for status in sorted(set(bad))}

    settings = hashing.config_dict({"of": contender.settings})
    return datasets.build(
        where,
        name="composed_answers",
        config={"model": contender.name, "way": way, "settings": settings},
        seed=0,
        parents=[*contender.made_from, one.pictures, queries],
        write=write,
    )


def _rows(answers: dict[tuple[str, str], Dataset]) -> Iterator[dict[str, Any]]:
    """Rows of `scores`; what chance would give stands once a set."""
    told: set[tuple[str, str, str]] = set()
    for (name, model), found in answers.items():
        for split, metric, rate, chance in figures(found.table().to_pylist()):
            yield score_row((SUITE, name, split, metric), model, rate)
            if (name, split, metric) not in told:
                told.add((name, split, metric))
                level = Rate(chance, rate.n, 0.0)
                yield score_row((SUITE, name, split, metric), CHANCE, level)
