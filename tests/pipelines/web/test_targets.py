"""Pairs grouped by image URL, beside a plain dict of lists."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import datasets
from pipelines.datasets import Dataset, Manifest, Shard
from pipelines.engines import Engines
from pipelines.records import PAIRS, TARGETS, record_id
from pipelines.web.targets import bucket_of, write_targets

Row = dict[str, Any]


def some_pairs() -> list[Row]:
    choice = random.Random(2)
    rows = []
    for number in range(300):
        url, text = f"http://a.example/{choice.randint(0, 120)}.png", f"text {number}"
        queries = sorted(choice.sample(["a", "b", "c"], choice.randint(1, 3)))
        rows.append(
            {
                "pair_id": record_id(url, text),
                "image_url": url,
                "text": text,
                "text_source": choice.choice(["alt", "title"]),
                "page_url": f"http://a.example/{number}",
                "language": "en",
                "queries": queries,
            }
        )
    return rows


def plain_targets(rows: list[Row]) -> list[Row]:
    texts: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row["pair_id"])):
        text = {name: value for name, value in row.items() if name != "image_url"}
        text["source"] = text.pop("text_source")
        texts[row["image_url"]].append(text)
    targets = [
        {"image_id": record_id(url), "image_url": url, "texts": found}
        for url, found in texts.items()
    ]
    return sorted(targets, key=lambda target: str(target["image_id"]))


def finished(path: Path, shards: list[list[Row]]) -> Dataset:
    listed = []
    for number, rows in enumerate(shards):
        table = pa.Table.from_pylist(rows, PAIRS)
        datasets.write_shard(f"{path}/{number}.parquet", table)
        listed.append(Shard(f"{number}.parquet", len(rows), ""))
    rows_all = sum(map(len, shards))
    return Dataset(
        str(path), Manifest("pairs", [], rows_all, listed, "", {}, "", 0, "", [], {}, {})
    )


@pytest.mark.parametrize(("shards", "pairs_a_shard"), [(1, 1000), (5, 100), (3, 10)])
def test_equals_the_plain_grouping(tmp_path: Path, shards: int, pairs_a_shard: int) -> None:
    rows = some_pairs()
    pairs = finished(tmp_path / "pairs", [rows[n::shards] for n in range(shards)])
    folder = tmp_path / "targets"
    assert write_targets(pairs, str(folder), Engines(), pairs_a_shard) == {}
    files = sorted(folder.rglob("*"))
    assert [file.suffix for file in files] == [".parquet"] * len(files), "spilled blocks are left"
    assert len(files) == -(-len(rows) // pairs_a_shard)
    tables = [pa.Table.from_batches(datasets.shard_batches(str(file)), TARGETS) for file in files]
    assert [row for table in tables for row in table.to_pylist()] == plain_targets(rows)


def test_nothing_to_group(tmp_path: Path) -> None:
    for name, shards in {"none": [], "empty": [[], []]}.items():
        pairs = finished(tmp_path / name, shards)  # type: ignore[arg-type]
        assert write_targets(pairs, str(tmp_path / name / "out"), Engines()) == {}
        assert not list(datasets.shard_batches(str(tmp_path / name / "out" / "00000.parquet")))


def test_buckets_are_ranges_of_image_ids() -> None:
    ids = ["0" * 32, "7fffffff" + "f" * 24, "8" + "0" * 31, "f" * 32]
    assert [bucket_of(image_id, 2) for image_id in ids] == [0, 0, 1, 1]
    assert bucket_of("f" * 32, 4096) == 4095
