"""Samples: what is dropped and counted, and shards that do not depend on the order of fetching."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.records import FETCHED, LABELLED, SAMPLES, record_id
from pipelines.sorting import Shards
from pipelines.web import samples
from pipelines.web.images import ImageConfig, Picture, process
from pipelines.web.samples import SamplesConfig, write_samples

CONFIG = SamplesConfig(shards=Shards(4))


def photo(seed: int, side: int = 128) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def encoded(seed: int, side: int = 128, quality: int = 95) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", photo(seed, side), options)[1].tobytes()


def row(name: str, data: bytes, status: str = "ok") -> dict[str, object]:
    made: dict[str, object] = dict.fromkeys(FETCHED.names)
    made |= {"image_id": record_id(name), "image_url": name, "texts": []}
    made |= {"status": status, "detail": ""}
    if status == "ok":
        picture = process(data, ImageConfig(image_size=64))
        assert isinstance(picture, Picture)
        made |= {field: getattr(picture, field) for field in Picture.__dataclass_fields__}
    return made


ROWS = [
    *(row(f"http://a/{seed}.jpg", encoded(seed)) for seed in range(20)),
    row("http://b/3-small.jpg", encoded(3, side=64, quality=70)),
    row("http://b/4-again.jpg", encoded(4, quality=60)),
    row("http://b/gone.jpg", b"", "http_404"),
    row("http://b/gone2.jpg", b"", "http_404"),
    row("http://b/secret.jpg", b"", "robots"),
]


def dataset(
    path: Path, name: str, schema: pa.Schema, shards: list[list[dict[str, object]]]
) -> Dataset:
    def write(folder: str) -> dict[str, int]:
        for number, rows in enumerate(shards):
            shard = pa.Table.from_pylist(rows, schema=schema)
            datasets.write_shard(f"{folder}/{number}.parquet", shard)
        return {}

    return datasets.build(str(path), name=name, config={}, seed=0, parents=[], write=write)


def fetched(path: Path, order: list[int]) -> Dataset:
    shuffled = [ROWS[index] for index in order]
    return dataset(path, "fetched", FETCHED, [shuffled[:7], shuffled[7:]])


def evaluation(path: Path, seeds: list[int]) -> Dataset:
    png = [cv2.imencode(".png", photo(seed, side=300))[1].tobytes() for seed in seeds]
    rows: list[dict[str, object]] = [
        {"image_id": f"{seed}", "image": data, "label": 0, "class_name": "a", "group": "b"}
        for seed, data in zip(seeds, png, strict=True)
    ]
    return dataset(path, "labelled", LABELLED, [rows])


def shards(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(os.listdir(folder))
    }


def test_drops_are_counted_and_the_rest_is_kept(tmp_path: Path) -> None:
    source = fetched(tmp_path / "fetched", list(range(len(ROWS))))
    out = tmp_path / "out"
    drops = write_samples(source, str(out), CONFIG, [evaluation(tmp_path / "test", [7, 99])])
    assert drops == {"http_404": 2, "robots": 1, "near_duplicate": 2, "near_test_image": 1}
    tables = [pq.read_table(out / name) for name in sorted(os.listdir(out))]
    assert [table.num_rows for table in tables] == [4, 4, 4, 4, 3]
    rows = pa.concat_tables(tables)
    assert rows.schema.equals(SAMPLES)
    ids = rows.column("image_id").to_pylist()
    assert ids == sorted(ids)
    twins = ["http://a/4.jpg", "http://b/4-again.jpg"]  # of one size: the least id stays
    stays = {f"http://a/{seed}.jpg" for seed in range(20)} - {"http://a/7.jpg", *twins}
    stays |= {min(twins, key=record_id)}
    assert set(rows.column("image_url").to_pylist()) == stays
    by_id = {row["image_id"]: row for row in ROWS}
    for made in rows.to_pylist():
        assert made == {name: by_id[made["image_id"]][name] for name in SAMPLES.names}


def test_shards_do_not_depend_on_the_order_of_fetching(tmp_path: Path) -> None:
    orders = [list(range(len(ROWS))), list(np.random.default_rng(0).permutation(len(ROWS)))]
    made = []
    for number, order in enumerate(orders):
        source = fetched(tmp_path / f"fetched{number}", order)
        for config in (CONFIG, SamplesConfig(shards=Shards(4, bucket_bytes=1))):  # one bucket; many
            out = tmp_path / f"out{number}-{config.shards.bucket_bytes}"
            write_samples(source, str(out), config)
            made.append(shards(out))
    assert len(made[0]) == 5
    assert made[0] == made[1] == made[2] == made[3]


def test_finished_shards_stay(tmp_path: Path) -> None:
    source = fetched(tmp_path / "fetched", list(range(len(ROWS))))
    out = tmp_path / "out"
    write_samples(source, str(out), CONFIG)
    before = shards(out)
    os.remove(out / "00002.parquet")
    (out / "_spill").mkdir()  # of a killed run
    kept = os.stat(out / "00001.parquet").st_mtime_ns
    write_samples(source, str(out), CONFIG)
    assert shards(out) == before
    assert os.stat(out / "00001.parquet").st_mtime_ns == kept


def test_nothing_fetched(tmp_path: Path) -> None:
    source = dataset(tmp_path / "fetched", "fetched", FETCHED, [ROWS[-1:]])
    assert write_samples(source, str(tmp_path / "out"), CONFIG) == {"robots": 1}


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = fetched(tmp_path / "fetched", list(range(len(ROWS))))
    monkeypatch.setattr(datasets.pq, "write_table", full)
    with pytest.raises(OSError, match=f"{tmp_path}/out/00000.parquet.*No space left"):
        write_samples(source, str(tmp_path / "out"), CONFIG)
    assert not list((tmp_path / "out").glob("[!.]*.parquet"))


def test_fingerprints_of_an_evaluation_set(tmp_path: Path) -> None:
    found = samples.fingerprints(evaluation(tmp_path / "test", [1, 2, 3]))
    assert found.column("image_id").to_pylist() == ["1", "2", "3"]
    assert all(len(thumbnail) == 768 for thumbnail in found.column("thumbnail").to_pylist())
