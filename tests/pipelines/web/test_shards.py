"""A shard streamed into a shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines import datasets
from pipelines.web import shards

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False)])


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": [2 * n for n in batch.column("n").to_pylist()]})


def test_streams_in_batches_and_skips_what_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS_A_BATCH", 10)
    source, target = str(tmp_path / "a.parquet"), str(tmp_path / "out" / "b.parquet")
    datasets.write_shard(source, pa.table({"n": range(95)}).cast(SCHEMA))
    task, sizes = shards.Task(source, target), []

    def noted(batch: pa.RecordBatch) -> pa.RecordBatch:
        sizes.append(batch.num_rows)
        return doubled(batch)

    shards.stream(task, ["n"], noted, SCHEMA)
    shards.stream(task, ["n"], noted, SCHEMA)
    assert sizes == [10] * 9 + [5]
    found = pa.Table.from_batches(datasets.shard_batches(target))
    assert found.column("n").to_pylist() == [2 * n for n in range(95)]
    assert shards.rows_written([task]) == 95


def test_a_failure_leaves_no_shard(tmp_path: Path) -> None:
    source, target = str(tmp_path / "a.parquet"), tmp_path / "b.parquet"
    datasets.write_shard(source, pa.table({"n": range(5)}).cast(SCHEMA))
    with pytest.raises(ZeroDivisionError):
        shards.stream(shards.Task(source, str(target)), ["n"], lambda _: 1 // 0, SCHEMA)  # type: ignore[arg-type, return-value]
    assert not target.exists()


@pytest.mark.parametrize("keys", [[], [3], [5, 2, 5, 5, 2]])
def test_grouped(keys: list[int]) -> None:
    found = {key: at.tolist() for key, at in shards.grouped(np.array(keys, np.int64))}
    assert found == {key: [i for i, k in enumerate(keys) if k == key] for key in set(keys)}
