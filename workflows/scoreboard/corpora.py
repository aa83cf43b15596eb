"""The corpora that a checkpoint was trained on, by its manifests, and what they show of the tests.

Each test picture of every set that was named is looked for in every training corpus
(`pipelines.web.overlap`); accuracy is then told on the pictures that were shown and on the others
(`evaluators.contamination`). What was found of a set and a corpus is kept by their content hashes.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.contamination import overlap_rows
from evaluators.suites.kinds import Classification, Source, Suite
from pipelines import datasets, hashing, storage
from pipelines.datasets import Dataset, open_dataset
from pipelines.lineage import ancestors
from pipelines.web.overlap import OverlapConfig, overlaps

METHOD = (
    "Every test picture was looked for among the thumbnails of every training picture: cut by up "
    "to 12.5 % of a side at any place, a correlation of {least:g} or more and a mean difference of "
    "at most {most:g} of 255 count as shown. p is a one-tailed binomial test of the accuracy on "
    "what was shown against that on the others; the gain is what the overlap adds to the figure."
)


def method() -> str:
    """How overlap was looked for, in words for the report."""
    config = OverlapConfig()
    return METHOD.format(least=config.least_correlation, most=config.most_difference)


def corpora(checkpoint: str, more: Sequence[str]) -> tuple[list[Dataset], list[str]]:
    """The `samples` that a checkpoint's manifests lead to and those named beside; problems."""
    found, problems = {path: open_dataset(path) for path in more}, []
    fs, inner = storage.filesystem(posixpath.join(checkpoint, datasets.MANIFEST))
    if not fs.get_file_info(inner).is_file:
        return list(found.values()), [] if more else [f"{checkpoint} names no corpus"]
    for node in ancestors(checkpoint):
        if node.name == "samples" and node.dataset is not None:
            found[node.path] = node.dataset
        if node.problem and node.name == "samples":
            problems.append(f"{node.path}: {node.problem}")
    return list(found.values()), problems


def overlap_views(
    answers: pa.Table, suites: Sequence[Suite], known: Sequence[Dataset], out: str
) -> Iterator[dict[str, Any]]:
    """A row a set and model: all, clean and shown accuracy."""
    config = OverlapConfig()
    for suite in suites:
        if isinstance(suite, Classification):
            for name, source in suite.sets.items():
                shown = {i for corpus in known for i in _shown(source, corpus, config, out)}
                yield from overlap_rows(answers, suite.name, name, shown)


def _shown(source: Source, corpus: Dataset, config: OverlapConfig, out: str) -> list[str]:
    """Ids of the set's pictures that the corpus shows."""
    of = [source.dataset.manifest.content_hash, source.group, corpus.manifest.content_hash]
    key = hashing.hash_json([of, hashing.config_dict(config)])
    path = posixpath.join(out, "overlap", f"{key}.json")
    fs, inner = storage.filesystem(path)
    if fs.get_file_info(inner).is_file:
        with fs.open_input_stream(inner) as stream:
            kept: list[dict[str, Any]] = json.loads(stream.read())
    else:
        looked = corpus.table(["image_id", "thumbnail"])
        kept = overlaps(_pictures(source), looked, config).to_pylist()
        storage.write_json(path, kept)
    return [row["image_id"] for row in kept]


def _pictures(source: Source) -> Iterator[tuple[str, bytes]]:
    for batch in source.dataset.batches(["image_id", "image", "group"]):
        if source.group:
            batch = batch.filter(pc.equal(batch.column("group"), source.group))  # noqa: PLW2901
        yield from zip(*(batch.column(n).to_pylist() for n in ("image_id", "image")), strict=True)
