"""A recipe's run in a folder of its own, and datasets of rows given by hand in it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.datasets import Dataset, write_shard
from pipelines.records import SCHEMAS
from workflows.job import Job

Build = Callable[[str, Sequence[dict[str, Any]]], Dataset]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(str(tmp_path / "run"))


@pytest.fixture
def build(job: Job) -> Build:
    """A dataset of rows by its name."""

    def of(name: str, rows: Sequence[dict[str, Any]]) -> Dataset:
        def write(folder: str, _: Any) -> dict[str, int]:
            table = pa.Table.from_pylist(list(rows), SCHEMAS[name])
            write_shard(posixpath.join(folder, "00000.parquet"), table)
            return {}

        return job.build(name, name, write)

    return of
