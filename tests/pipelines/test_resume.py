"""Adopting the shards of killed runs: whole ones stay, torn ones go, no row comes twice."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import resume


def shard(path: Path, ids: str, word: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image_id": list(ids), "word": [word] * len(ids)}), path)


def rows(folder: Path) -> list[tuple[str, str]]:
    tables = [pq.read_table(path).to_pylist() for path in sorted(folder.glob("*.parquet"))]
    return sorted((row["image_id"], row["word"]) for table in tables for row in table)


def test_whole_shards_move_up_and_torn_ones_go(tmp_path: Path) -> None:
    shard(tmp_path / "_run-a/1.parquet", "ab")
    shard(tmp_path / "_run-b/2.parquet", "cd")
    whole = (tmp_path / "_run-b/2.parquet").read_bytes()
    (tmp_path / "_run-b/torn.parquet").write_bytes(whole[:-1])
    (tmp_path / "_run-b/empty.parquet").write_bytes(b"")
    resume.adopt(str(tmp_path), "image_id")
    assert sorted(os.listdir(tmp_path)) == ["1.parquet", "2.parquet"]
    assert rows(tmp_path) == [("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")]
    resume.adopt(str(tmp_path), "image_id")
    assert len(rows(tmp_path)) == 4


def test_a_row_that_was_written_twice_stays_once(tmp_path: Path) -> None:
    shard(tmp_path / "0.parquet", "ab", "first")
    shard(tmp_path / "_run-a/1.parquet", "bcc", "second")
    shard(tmp_path / "_run-b/2.parquet", "cd", "third")
    shard(tmp_path / "_run-b/3.parquet", "ab", "third")
    resume.adopt(str(tmp_path), "image_id")
    assert rows(tmp_path) == [("a", "first"), ("b", "first"), ("c", "second"), ("d", "third")]
    assert sorted(os.listdir(tmp_path)) == ["0.parquet", "1.parquet", "2.parquet"]


def test_an_outliving_writer_is_ignored(tmp_path: Path) -> None:
    shard(tmp_path / "_run-a/1.parquet", "ab")
    resume.adopt(str(tmp_path), "image_id")
    shard(tmp_path / "_run-a/9.parquet", "abz")  # a worker of the killed run, still writing
    shard(tmp_path / "_run-b/2.parquet", "zc")
    resume.adopt(str(tmp_path), "image_id")
    assert [key for key, _ in rows(tmp_path)] == ["a", "b", "c", "z"]


def test_checkpoint_says_what_is_done(tmp_path: Path) -> None:
    path = Path(resume.write_checkpoint(str(tmp_path), "image_id"))
    assert os.listdir(path) == []
    shard(tmp_path / "0.parquet", "ab")
    shard(tmp_path / "_run-a/1.parquet", "cd")  # not adopted: not done
    (path / "stale.pending.parquet").write_bytes(b"")
    resume.write_checkpoint(str(tmp_path), "image_id")
    assert os.listdir(path) == ["done.parquet"]
    assert pq.read_table(path / "done.parquet").to_pydict() == {"image_id": ["a", "b"]}
    assert resume.rows(str(tmp_path / "_run-a")) == 2


def test_rows_skips_what_is_being_written(tmp_path: Path) -> None:
    shard(tmp_path / "0.parquet", "ab")
    (tmp_path / "1.parquet").write_bytes((tmp_path / "0.parquet").read_bytes()[:-3])
    assert resume.rows(str(tmp_path)) == 2
    assert resume.rows(str(tmp_path / "nowhere")) == 0
