"""Head and tail figures, beside counting by hand."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import datasets
from pipelines.datasets import Dataset, Manifest, Shard
from pipelines.records import PAIRS, QUERIES, record_id
from pipelines.web.head_tail import head_tail


def finished(path: Path, name: str, table: pa.Table) -> Dataset:
    datasets.write_shard(f"{path}/0.parquet", table)
    shards = [Shard("0.parquet", len(table), "")]
    return Dataset(str(path), Manifest(name, [], len(table), shards, "", {}, "", 0, "", [], {}, {}))


def pairs_of(path: Path, name: str, queries: list[list[str]]) -> Dataset:
    rest = dict.fromkeys(PAIRS.names, "x")
    rows = [{**rest, "pair_id": record_id(str(i)), "queries": q} for i, q in enumerate(queries)]
    return finished(path / name, name, pa.Table.from_pylist(rows, PAIRS))


def test_figures(tmp_path: Path) -> None:
    names = ["empty", "rare", "the", "cat", "also empty"]
    listed = [{"query": name, "source": "file", "count": 0} for name in names]
    queries = finished(tmp_path / "queries", "queries", pa.Table.from_pylist(listed, QUERIES))
    before = [["the"], ["cat", "the"], ["cat", "the"], ["the"], ["rare", "the"]]
    matches = pairs_of(tmp_path, "matches", before)
    pairs = pairs_of(tmp_path, "pairs", [["the"], ["cat", "the"], ["cat"], ["rare"]])
    found = head_tail(queries, matches, pairs, per_query=2)
    assert found.queries == ["the", "cat", "rare", "also empty", "empty"]
    assert found.before.tolist() == [5, 2, 1, 0, 0]
    assert found.after.tolist() == [2, 2, 1, 0, 0]
    assert found.summary() == {
        "queries": 5,
        "head_queries": 1,
        "tail_queries": 2,
        "empty_queries": 2,
        "matches": 8,
        "matches_kept": 5,
        "head_share": pytest.approx(5 / 8),
        "tail_share": pytest.approx(3 / 8),
        "tail_share_after": pytest.approx(3 / 5),
    }


def test_no_matches(tmp_path: Path) -> None:
    queries = finished(tmp_path / "queries", "queries", pa.Table.from_pylist([], QUERIES))
    nothing = pairs_of(tmp_path, "matches", [])
    summary = head_tail(queries, nothing, nothing, 1).summary()
    assert set(summary.values()) == {0}
