"""Datasets: the content hash, the plan, what a kill leaves behind, verification."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import datasets, hashing, quality, storage
from pipelines.records import CANDIDATES, TARGETS, record_id, uniform


def rows(count: int) -> list[dict[str, str]]:
    return [
        {
            "pair_id": record_id(f"http://h/{i}", "text"),
            "image_url": f"http://h/{i}",
            "text": "text",
            "text_source": "alt",
            "page_url": "http://h/",
            "language": "en",
        }
        for i in range(count)
    ]


def writer(found: list[dict[str, str]], shards: int = 1) -> Callable[[str], Mapping[str, int]]:
    def write(folder: str) -> Mapping[str, int]:
        for number in range(shards):
            table = pa.Table.from_pylist(found[number::shards], CANDIDATES)
            datasets.write_shard(f"{folder}/part-{number}.parquet", table)
        return {"empty_text": 2}

    return write


def make(
    path: Path, write: Callable[[str], Mapping[str, int]], **changes: object
) -> datasets.Dataset:
    arguments = {"name": "candidates", "config": {"a": 1}, "seed": 0, "parents": [], "write": write}
    return datasets.build(str(path), **(arguments | changes))  # type: ignore[arg-type]


def test_names_resolve_to_this_checkout(checkout: Path) -> None:
    import annotators
    import evaluators
    import models
    import pipelines
    import workflows

    for package in (annotators, evaluators, models, pipelines, workflows):
        assert Path(package.__file__ or "").parent.parent == checkout


def test_content_hash_ignores_order_and_shards_but_no_cell(tmp_path: Path) -> None:
    found = rows(50)
    first = make(tmp_path / "a", writer(found)).manifest
    random.Random(1).shuffle(found)
    second = make(tmp_path / "b", writer(found, shards=7)).manifest
    assert (
        first.content_hash == second.content_hash and second.rows == 50 and len(second.shards) == 7
    )
    found[3] = found[3] | {"text": "texT"}
    assert make(tmp_path / "c", writer(found)).manifest.content_hash != first.content_hash


def test_content_hash_of_nested_rows_ignores_the_order_of_struct_fields() -> None:
    text = {
        "pair_id": "p",
        "text": "t",
        "source": "alt",
        "page_url": "u",
        "language": "en",
        "queries": ["q"],
    }
    row = {"image_id": "i", "image_url": "u", "texts": [text]}
    turned = row | {"texts": [dict(reversed(text.items()))]}
    batches = [pa.RecordBatch.from_pylist([r]) for r in (row, turned)]
    assert hashing.rows_hash(iter(batches[:1]), TARGETS) == hashing.rows_hash(
        iter(batches[1:]), TARGETS
    )


def test_a_finished_plan_is_reused_and_another_plan_rebuilds(tmp_path: Path) -> None:
    calls = []

    def write(folder: str) -> Mapping[str, int]:
        calls.append(folder)
        return writer(rows(3))(folder)

    first = make(tmp_path / "d", write)
    assert make(tmp_path / "d", write).manifest == first.manifest and len(calls) == 1
    make(tmp_path / "d", write, config={"a": 2})
    make(tmp_path / "d", write, config={"a": 2}, seed=1)
    assert len(calls) == 3
    child = make(tmp_path / "e", write, parents=[first])
    assert child.manifest.parents[0].path == "../d" and child.manifest.dropped == {"empty_text": 2}


def test_a_killed_build_is_unfinished_and_the_rerun_sees_its_shards(tmp_path: Path) -> None:
    def killed(folder: str) -> Mapping[str, int]:
        writer(rows(3))(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "d", killed)
    with pytest.raises(datasets.DatasetError, match="unfinished"):
        datasets.open_dataset(str(tmp_path / "d"))
    seen = []

    def resumed(folder: str) -> Mapping[str, int]:
        seen.extend(file.name for file in Path(folder).glob("*.parquet"))
        return {}

    assert make(tmp_path / "d", resumed).manifest.rows == 3 and seen == ["part-0.parquet"]


def test_a_folder_of_someone_else_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(datasets.DatasetError, match="not ours"):
        make(tmp_path, writer(rows(1)))
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_verify_names_the_damaged_file(tmp_path: Path) -> None:
    make(tmp_path / "d", writer(rows(10), shards=2))
    assert datasets.verify(str(tmp_path / "d")) == []
    shard = tmp_path / "d" / "part-1.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    (tmp_path / "d" / "stray.parquet").write_bytes(b"")
    problems = datasets.verify(str(tmp_path / "d"))
    assert any("part-1.parquet: sha256" in p for p in problems)
    assert any("stray.parquet: not in the manifest" in p for p in problems)


def test_a_wrong_column_and_a_torn_shard_are_named(tmp_path: Path) -> None:
    def wrong(folder: str) -> Mapping[str, int]:
        datasets.write_shard(f"{folder}/part.parquet", pa.table({"pair_id": [1]}))
        return {}

    with pytest.raises(
        datasets.DatasetError, match=r"pair_id is int64, should be string.*text is missing"
    ):
        make(tmp_path / "d", wrong)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1torn")
    with pytest.raises(datasets.DatasetError, match=r"torn\.parquet"):
        list(datasets.shard_batches(str(tmp_path / "torn.parquet")))


def test_a_failed_critical_expectation_stops_with_a_table(tmp_path: Path) -> None:
    bad = rows(4)
    bad[2] = bad[2] | {"image_url": "ftp://h/x"}
    with pytest.raises(
        quality.QualityError, match=r"image_url: match regex .*1 rows, such as \['ftp://h/x'\]"
    ):
        make(tmp_path / "d", writer(bad + bad[:1]))
    assert not (tmp_path / "d" / "manifest.json").exists()


def test_a_full_disk_names_the_path_and_leaves_no_torn_file(tmp_path: Path) -> None:
    def full(sink: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"cannot write .*x\.parquet.*No space left") as caught:
        storage.write_file(str(tmp_path / "x.parquet"), full)
    assert caught.value.errno == 28 and list(tmp_path.iterdir()) == []


def test_uniform_is_uniform_and_a_function_of_its_arguments() -> None:
    draws = sorted(uniform(7, str(i)) for i in range(4000))
    assert (
        max(abs(d - i / 4000) for i, d in enumerate(draws)) < 0.03
    )  # Kolmogorov-Smirnov, p far below 1e-3
    assert uniform(7, "1") == uniform(7, "1") != uniform(8, "1")


def test_expectations_see_every_row_of_large_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "ROWS_A_FRAME", 7)
    found = rows(100)
    assert make(tmp_path / "a", writer(found, shards=3)).manifest.quality["success"]
    with pytest.raises(quality.QualityError, match="pair_id: be unique: 2 rows"):
        make(tmp_path / "b", writer([*found, found[4]], shards=3))
    bad = [row | ({"image_url": "x"} if i in (3, 60, 99) else {}) for i, row in enumerate(found)]
    with pytest.raises(quality.QualityError, match=r"image_url: match regex .*: 3 rows"):
        make(tmp_path / "c", writer(bad))
