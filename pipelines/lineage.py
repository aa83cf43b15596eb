"""From any figure back to what it was made from: the manifests of a folder's ancestors.

Each manifest names its parents with the path seen from its own folder and their content hash. A
parent that was rebuilt since, or moved away, is reported, never passed over.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pipelines.datasets import Dataset, DatasetError, Parent, open_dataset


@dataclass(frozen=True)
class Node:
    """One folder in a lineage: how deep it lies, the folder, what is wrong with it (empty:
    nothing).
    """

    depth: int
    name: str
    path: str
    dataset: Dataset | None
    problem: str


def ancestors(path: str) -> Iterator[Node]:
    """The folder at `path` and all that it was made from, depth first; a shared ancestor appears
    once.
    """
    root = open_dataset(path)
    yield Node(0, root.manifest.name, root.path, root, "")
    yield from _walk(root, 1, set())


def _walk(dataset: Dataset, depth: int, seen: set[str]) -> Iterator[Node]:
    for parent in dataset.manifest.parents:
        path = _resolve(dataset.path, parent)
        found, problem = _open(path, parent)
        yield Node(depth, parent.name, path, found, problem)
        if found is not None and path not in seen:
            seen.add(path)
            yield from _walk(found, depth + 1, seen)


def _resolve(child: str, parent: Parent) -> str:
    return (
        parent.path
        if "://" in parent.path
        else posixpath.normpath(posixpath.join(child, parent.path))
    )


def _open(path: str, parent: Parent) -> tuple[Dataset | None, str]:
    try:
        found = open_dataset(path)
    except (DatasetError, OSError) as error:
        return None, str(error)
    if found.manifest.content_hash != parent.content_hash:
        return found, f"rebuilt since: was {parent.content_hash}, is {found.manifest.content_hash}"
    return found, ""


def origins(samples: Dataset, most: int = 10) -> dict[str, list[tuple[str, int]]]:
    """Where a samples dataset came from: its commonest hosts and queries, each with the number of
    texts.
    """
    hosts: Counter[str] = Counter()
    queries: Counter[str] = Counter()
    for batch in samples.batches(["image_url", "texts"]):
        for row in batch.to_pylist():
            hosts[urlsplit(row["image_url"]).netloc] += len(row["texts"])
            queries.update(query for text in row["texts"] for query in text["queries"])
    return {"hosts": hosts.most_common(most), "queries": queries.most_common(most)}


def find_sample(samples: Dataset, key: str) -> dict[str, Any]:
    """One image's row without its bytes, by image id (or its first digits) or image URL.

    Raises:
        DatasetError: no image of this dataset has that key.
    """
    columns = ["image_id", "image_url", "sha256", "width", "height", "texts"]
    for batch in samples.batches(columns):
        for row in batch.to_pylist():
            if row["image_id"].startswith(key) or row["image_url"] == key:
                found: dict[str, Any] = row
                return found
    raise DatasetError(
        f"{samples.path} has no image {key!r}: give an image_id, its first digits, or a URL"
    )
