"""Where figures come from: a row a dataset, and arcs from each to what it was made from."""

from __future__ import annotations

import dataclasses
import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipelines.datasets import Dataset, DatasetError, open_dataset

Row = dict[str, Any]

ROW_HEIGHT = 34
"""Pixels of a row: the table and the arcs beside it agree on it."""
WIDTH, EDGE = 96.0, 10.0


def lineage(manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows (path, manifest) and their arcs; a parent that is not among the manifests has no arc."""
    row_of = {m["content_hash"]: i for i, m in enumerate(manifests.values())}
    parents = [
        sorted({row_of[p["content_hash"]] for p in m["parents"] if p["content_hash"] in row_of})
        for m in manifests.values()
    ]
    return {"rows": list(manifests.items()), "arcs": arcs(parents), "row_height": ROW_HEIGHT}


def arcs(parents: Sequence[Sequence[int]]) -> str:
    """An SVG as high as the table's rows: arcs from the rows in `parents[i]` to row i."""
    reach = max((abs(i - p) for i, rows in enumerate(parents) for p in rows), default=1)
    middle = [(i + 0.5) * ROW_HEIGHT for i in range(len(parents))]
    x, marks = WIDTH - EDGE, []
    for child, rows in enumerate(parents):
        for parent in rows:
            a, b = middle[parent], middle[child]
            bulge = x - 12 - (WIDTH - 34) * math.sqrt(abs(child - parent) / reach)
            curve = f"M{x},{a:.1f} C{bulge:.1f},{a:.1f} {bulge:.1f},{b:.1f} {x},{b:.1f}"
            marks.append(f'<path class="arc" d="{curve}"/>')
    marks += [f'<circle class="dot one" cx="{x}" cy="{m:.1f}" r="4"/>' for m in middle]
    size = f'width="{WIDTH:g}" height="{ROW_HEIGHT * len(parents)}"'
    return f'<svg class="arcs" {size} aria-hidden="true">{"".join(marks)}</svg>'


def ancestry(datasets: Iterable[Dataset], root: str = "") -> dict[str, Row]:
    """Manifests of the datasets and of all that they were made from, parents first.

    Keys are paths, relative to `root` where they lie under it. Parents that lie no longer where
    they were are left out; the children's manifests still hold their hashes.
    """
    found: dict[str, Row] = {}
    for dataset in datasets:
        for one in _upwards(dataset, set()):
            path = posixpath.normpath(one.path)
            name = posixpath.relpath(path, posixpath.normpath(root)) if root else path
            found.setdefault(
                path if name.startswith("..") else name, dataclasses.asdict(one.manifest)
            )
    return found


def _upwards(dataset: Dataset, seen: set[str]) -> Iterator[Dataset]:
    if dataset.manifest.content_hash in seen:
        return
    seen.add(dataset.manifest.content_hash)
    for parent in dataset.manifest.parents:
        path = parent.path if "://" in parent.path else posixpath.join(dataset.path, parent.path)
        try:
            above = open_dataset(posixpath.normpath(path) if "://" not in path else path)
        except DatasetError:
            continue
        yield from _upwards(above, seen)
    yield dataset
