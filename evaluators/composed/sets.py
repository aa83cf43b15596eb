"""Composed retrieval's sets: pictures, and queries made of one of them and of words.

    sets/NAME/pictures    `labelled`: a picture's class_name is its name, its group the gallery that
                          it is searched in, or "query"
    sets/NAME/queries     `composed_queries`

A picture that is missing or cannot be decoded stays a row without an embedding: a query that is
made of it is unanswered, and it is never found.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from evaluators.composed.layouts import READERS, Found
from evaluators.suites.found import Audit
from evaluators.suites.labelled import Picture, build_labelled
from evaluators.suites.open_sets import OpenSet, Tally, absent, listing
from pipelines import datasets, storage
from pipelines.datasets import Dataset
from pipelines.records import COMPOSED_QUERIES

RECALL_AT = (1, 5, 10, 50)
SUBSET_RECALL_AT = (1, 2, 3)
AUDIT = "audit.json"


@dataclass(frozen=True)
class ComposedSet:
    """One set that can be asked."""

    name: str
    pictures: Dataset
    queries: Dataset
    hidden_reference: bool
    """Whether the picture that a query is made of is left out of what it searches."""


def find_composed(spec: OpenSet, root: Path, out: str) -> tuple[ComposedSet | None, Audit]:
    """The set below `root`, made under `out`, and what was found of it; None if nothing is."""
    gone = absent(spec, root)
    if gone is not None:
        return None, gone
    where = posixpath.join(out, spec.name)
    tally = Tally()
    found = READERS[spec.layout["kind"]](root, spec.layout)
    config = {"set": spec.name, "files": listing(spec, root), "pictures": _stamps(found)}
    names = sorted({name for name, _ in found.pictures})
    pictures = build_labelled(
        posixpath.join(where, "pictures"), lambda: _pictures(found), names, config=config
    )
    for batch in pictures.batches(["class_name", "image"]):
        for name, image in zip(*(batch.column(i).to_pylist() for i in (0, 1)), strict=True):
            tally.look(name, image)
    tally.count = len(found.queries)

    def write(folder: str) -> dict[str, int]:
        rows = pa.Table.from_pylist(list(_rows(found)), schema=COMPOSED_QUERIES)
        datasets.write_shard(posixpath.join(folder, "00000.parquet"), rows)
        return {}

    queries = datasets.build(
        posixpath.join(where, "queries"),
        name="composed_queries",
        config=config,
        seed=0,
        parents=[pictures],
        write=write,
    )
    audit = tally.audit(spec)
    storage.write_json(posixpath.join(where, AUDIT), asdict(audit))
    return ComposedSet(spec.name, pictures, queries, found.hidden_reference), audit


def _stamps(found: Found) -> list[str]:
    return sorted(f"{group}/{name}" for name, group in found.pictures)


def _pictures(found: Found) -> Iterator[Picture]:
    for (name, group), load in sorted(found.pictures.items()):
        yield Picture(f"{group}/{name}", load(), name, group)


def _rows(found: Found) -> Iterable[dict[str, object]]:
    for query in found.queries:
        row = asdict(query)
        yield {"image_id": row.pop("key"), **row}
