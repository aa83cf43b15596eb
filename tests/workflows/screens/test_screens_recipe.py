from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from annotators.screen.annotate import Models, Running
from annotators.screen.ocr import Line, Pixels
from pipelines.datasets import open_dataset, verify
from workflows.job import Job
from workflows.screens.inputs import pictures
from workflows.screens.recipe import Blind, ScreensConfig, annotate, models_of
from workflows.screens.report import times, write_report


class Says:
    """An engine that reads its size from every screen."""

    def read(self, screens: Sequence[Pixels]) -> list[list[Line]]:
        return [[Line(f"{s.shape[1]}, by {s.shape[0]}", (5, 60, 5, 20), 0.9)] for s in screens]


def png(width: int, height: int = 60) -> bytes:
    picture = Image.linear_gradient("L").resize((width, height))
    out = io.BytesIO()
    picture.save(out, "png")
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("screens")
    (path / "below").mkdir()
    for number in range(9):
        (path / "below" / f"{number}.png").write_bytes(png(80 + number))
    (path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (path / "notes.txt").write_text("no picture")
    (path / ".hidden.png").write_bytes(png(99))
    return path


def test_pictures_of_a_folder(folder: Path, tmp_path: Path) -> None:
    found = pictures(Job(str(tmp_path)), str(folder))
    origins = found.table(["origin"])["origin"].to_pylist()
    assert origins == [*(f"below/{n}.png" for n in range(9)), "broken.jpg"]
    assert found.manifest.dropped == {"not_a_picture": 1}
    assert verify(found.path) == []


def test_pictures_of_parquet(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    images = [png(80), {"bytes": png(81), "path": "x"}, None]
    first = pa.table({"screen_id": ["a", "b"], "image": [images[0], None]})
    pq.write_table(first, source / "1.parquet")
    pq.write_table(pa.table({"image": [images[1]]}), source / "2.parquet")
    rows = pictures(Job(str(tmp_path / "out")), str(source)).table().to_pylist()
    assert [row["origin"] for row in rows] == ["a", "b", "2.parquet#0"]
    assert [row["status"] for row in rows] == ["ok", "unreadable", "ok"]
    assert rows[2]["image"] == png(81)


@pytest.mark.parametrize("content", [{}, {"a.txt": b"x"}])
def test_a_folder_without_pictures_is_an_error(content: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, data in content.items():
        (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(ValueError, match="neither pictures"):
        pictures(Job(str(tmp_path)), str(tmp_path / "in"))
    with pytest.raises(ValueError, match="does not exist"):
        pictures(Job(str(tmp_path)), str(tmp_path / "missing"))


def test_a_parquet_file_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"picture": [b"x"]}), tmp_path / "in" / "a.parquet")
    with pytest.raises(ValueError, match="`image`"):
        pictures(Job(str(tmp_path)), str(tmp_path / "in"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({}, "train-detector"),
        ({"detector": "/nowhere"}, "/nowhere/detector.json does not exist"),
        ({"detector": "/nowhere/a.pt"}, "/nowhere/a.pt does not exist"),
        ({"detector": "none", "ocr_models": "m", "icons": "/nowhere"}, "train-icons"),
    ],
)
def test_a_missing_model_says_what_makes_one(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        models_of(ScreensConfig(input="", out="", **flags))


def test_screens_to_schemas_to_a_report_and_the_same_hash_after_a_kill(
    folder: Path, tmp_path: Path, ray_session: None
) -> None:
    job = Job(str(tmp_path / "out"))
    found, models = pictures(job, str(folder)), Models(Blind, Says)
    schemas = annotate(job, found, models, {"detector": "none"}, Running(batch_rows=4))
    rows = schemas.table(["image_id", "screen", "status"]).to_pylist()
    assert sorted(row["status"] for row in rows) == ["ok"] * 9 + ["undecodable"]
    assert {row["image_id"] for row in rows} == set(found.table()["image_id"].to_pylist())

    place = Path(write_report(job.at("report"), schemas, shown=4))
    assert "undecodable" in place.read_text()
    with (place.parent / "screens.csv").open(newline="") as file:
        written = list(csv.reader(file))
    assert written[0] == ["screen_id", "screen_annotation"]
    assert len(written) == 10
    assert written[1][1].startswith("TEXT 8")
    assert (place.parent / "screens.html").read_text().count("data:image/png") == 4
    assert {n for n, _ in times(schemas.path).values()} == {10}

    other = Job(str(tmp_path / "killed"))
    again = pictures(other, str(folder))
    half = other.at("schemas")
    Path(half).mkdir(parents=True)
    (Path(half) / "plan.json").write_bytes((Path(schemas.path) / "plan.json").read_bytes())
    first = open_dataset(schemas.path).table().slice(0, 3)
    run = Path(half) / "_run-0"
    run.mkdir()
    pq.write_table(first, run / "a.parquet")
    (run / "torn.parquet").write_bytes(b"PAR1 torn")
    resumed = annotate(other, again, models, {"detector": "none"}, Running(batch_rows=3))
    assert resumed.manifest.content_hash == schemas.manifest.content_hash
    assert {n for n, _ in times(resumed.path).values()} == {7}
