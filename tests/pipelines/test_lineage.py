"""Lineage: from a dataset back to its origins, and what it says of rebuilt or missing parents."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import datasets, lineage
from pipelines.datasets import Dataset
from pipelines.records import QUERIES


def made(path: Path, word: str, parents: Sequence[Dataset] = ()) -> Dataset:
    def write(folder: str) -> Mapping[str, int]:
        table = pa.Table.from_pylist([{"query": word, "source": "file", "count": 0}], QUERIES)
        datasets.write_shard(f"{folder}/0.parquet", table)
        return {}

    return datasets.build(
        str(path), name="queries", config={"word": word}, seed=0, parents=parents, write=write
    )


def test_ancestors_are_found_after_the_whole_folder_moved(tmp_path: Path) -> None:
    root = made(tmp_path / "run" / "a", "a")
    left, right = (made(tmp_path / "run" / name, name, [root]) for name in "bc")
    made(tmp_path / "run" / "deep" / "d", "d", [left, right])
    shutil.move(tmp_path / "run", tmp_path / "moved")
    nodes = list(lineage.ancestors(str(tmp_path / "moved" / "deep" / "d")))
    assert [(node.depth, Path(node.path).name) for node in nodes] == [
        (0, "d"),
        (1, "b"),
        (2, "a"),
        (1, "c"),
        (2, "a"),
    ]
    assert not any(node.problem for node in nodes)


def test_rebuilt_and_missing_parents_are_reported(tmp_path: Path) -> None:
    parents = [made(tmp_path / name, name) for name in "ab"]
    child = made(tmp_path / "c", "c", parents)
    made(tmp_path / "a", "another")
    shutil.rmtree(tmp_path / "b")
    _, rebuilt, missing = lineage.ancestors(child.path)
    assert rebuilt.problem.startswith("rebuilt since") and rebuilt.dataset is not None
    assert "unfinished" in missing.problem and missing.dataset is None


def test_origins_and_one_sample(tmp_path: Path) -> None:
    text = {"pair_id": "", "text": "t", "source": "alt", "page_url": "p", "language": "en"}
    rows = [
        {
            "image_id": "aa",
            "image_url": "http://h/1",
            "texts": [text | {"queries": ["cat", "dog"]}],
        },
        {"image_id": "bb", "image_url": "http://i/2", "texts": [text | {"queries": ["cat"]}] * 2},
    ]
    dataset = fake(tmp_path, rows)
    assert lineage.origins(dataset) == {
        "hosts": [("i", 2), ("h", 1)],
        "queries": [("cat", 3), ("dog", 1)],
    }
    assert lineage.find_sample(dataset, "b")["image_url"] == "http://i/2"
    with pytest.raises(datasets.DatasetError, match="no image 'zz'"):
        lineage.find_sample(dataset, "zz")


def fake(path: Path, rows: list[dict[str, object]]) -> Dataset:
    full = [row | {"sha256": "", "width": 1, "height": 1} for row in rows]
    datasets.write_shard(f"{path}/0.parquet", pa.Table.from_pylist(full))
    manifest = made(path / "other", "x").manifest
    shard = datasets.Shard("0.parquet", 2, "")
    return Dataset(
        str(path), datasets.dataclasses.replace(manifest, shards=[shard], name="samples")
    )
