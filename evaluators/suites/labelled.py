"""Evaluation pictures into a `labelled` dataset: encoded images, their classes and origins.

For retrieval the class name is a caption. A picture with several captions is one `Picture` a
caption with the same image bytes; `evaluators.retrieval` counts a hit on any of them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from pipelines.datasets import Dataset, build, write_shard
from pipelines.records import LABELLED, record_id

ROWS_A_SHARD = 2048


@dataclass(frozen=True)
class Picture:
    """One evaluation image."""

    origin: str
    """Where it comes from, such as package/path; with the class name it makes the id."""
    image: bytes
    """Encoded, as it lies there."""
    class_name: str
    """The concept, or the caption."""
    group: str
    """The drawing hand, or the library."""


def labelled_table(pictures: Iterable[Picture], classes: Mapping[str, int]) -> pa.Table:
    """Pictures as rows. Raises ValueError for a class that `classes` (name: label) lacks."""
    columns: dict[str, list[object]] = {name: [] for name in LABELLED.names}
    for picture in pictures:
        if picture.class_name not in classes:
            raise ValueError(
                f"{picture.origin}: {picture.class_name!r} is none of the {len(classes)} classes"
            )
        columns["image_id"].append(record_id(picture.origin, picture.class_name))
        columns["image"].append(picture.image)
        columns["label"].append(classes[picture.class_name])
        columns["class_name"].append(picture.class_name)
        columns["group"].append(picture.group)
    return pa.table(columns, schema=LABELLED)


def build_labelled(
    path: str,
    pictures: Callable[[], Iterable[Picture]],
    classes: Sequence[str],
    *,
    config: object,
    seed: int = 0,
    parents: Sequence[Dataset] = (),
) -> Dataset:
    """The `labelled` dataset at `path`; `config` says all that `pictures` depends on.

    `pictures` is called only if the dataset does not stand there yet, and read a shard at a time.
    """
    labels = {name: index for index, name in enumerate(classes)}

    def write(folder: str) -> dict[str, int]:
        rows, number = iter(pictures()), 0
        while shard := list(islice(rows, ROWS_A_SHARD)):
            write_shard(
                posixpath.join(folder, f"{number:05d}.parquet"), labelled_table(shard, labels)
            )
            number += 1
        return {}

    return build(path, name="labelled", config=config, seed=seed, parents=parents, write=write)
