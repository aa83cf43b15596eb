"""CapFilt's stage with a captioner and a matcher that are plain functions of the picture: every
row comes out, with its scores or its reason; the rule decides; a killed run loses nothing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from annotators import capfilt
from annotators.capfilt import Rule, Workers, verdict, write_captioned, write_decided
from annotators.captions import Judged, Written
from pipelines import datasets, resume
from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.records import CAPTIONED, SAMPLES, record_id
from pipelines.sorting import Shards
from pipelines.stages import Step, check

COLOURS = ("blue", "green", "red")


def brightest(image: bytes) -> bytes:
    """The name of the brightest channel; raises where there is no picture."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    return COLOURS[int(pixels.reshape(-1, 3).mean(0).argmax())].encode()


def models() -> tuple[type, type]:
    """Classes that a worker gets by value: this file cannot be imported there."""

    class Names:
        prepare = staticmethod(brightest)

        def captions(self, images: Sequence[bytes], keys: Sequence[str]) -> list[Written]:
            return [
                Written(status="over_budget", detail="no more")
                if image == b"green"
                else Written((f"a {image.decode()} thing", "a picture", "a picture"))
                for image in images
            ]

    class Fits:
        prepare = staticmethod(brightest)

        def judge(
            self, images: Sequence[bytes], texts: Sequence[Sequence[str]]
        ) -> list[list[Judged]]:
            def one(image: bytes, text: str) -> Judged:
                if not text:
                    return Judged(status="empty_text")
                fits = 0.9 if image.decode() in text else 0.2
                return Judged(fits / 2, fits, "too_long" if len(text) > 1000 else "ok")

            return [[one(i, t) for t in of] for i, of in zip(images, texts, strict=True)]

    return Names, Fits


def png(channel: int) -> bytes:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., channel] = 200
    return bytes(cv2.imencode(".png", pixels)[1])


def row(number: int, image: bytes, *texts: str) -> dict[str, Any]:
    url = f"http://somewhere.example/{number}.png"
    return {
        "image_id": record_id(url),
        "image_url": url,
        "texts": [
            {
                "pair_id": record_id(url, text),
                "text": text,
                "source": "alt",
                "page_url": "http://somewhere.example/",
                "language": "en",
                "queries": ["thing"],
            }
            for text in texts
        ],
        "image": image,
        "format": "png",
        "width": 8,
        "height": 8,
        "original_width": 80,
        "original_height": 80,
        "sha256": f"{number:064x}",
        "phash": f"{number:016x}",
        "thumbnail": bytes(768),
    }


def build(path: Path, rows: list[dict[str, Any]]) -> Dataset:
    def write(folder: str) -> dict[str, int]:
        for start in range(0, len(rows), 5):
            shard = pa.Table.from_pylist(rows[start : start + 5], SAMPLES)
            datasets.write_shard(posixpath.join(folder, f"{start:05d}.parquet"), shard)
        return {}

    return datasets.build(
        str(path), name="samples", config=len(rows), seed=0, parents=[], write=write
    )


ROWS = [
    row(0, png(0), "a blue thing", "logo"),
    row(1, png(2), "red. " * 5000, ""),
    row(2, png(1), "something green"),
    row(3, b"\x89PNG torn", "red things", "logo"),
    row(4, png(2), "красный"),
    *(row(n, png(n % 3), f"picture {n}") for n in range(5, 24)),
]


def captioned(path: Path, source: Dataset) -> Dataset:
    names, fits = models()

    def write(folder: str) -> dict[str, int]:
        found = write_captioned(
            source, folder, names, fits, (brightest, brightest), Workers(batch_rows=4), Engines()
        )
        return dict(found)

    return datasets.build(
        str(path), name="captioned", config={}, seed=0, parents=[source], write=write
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    tmp = tmp_path_factory.mktemp("capfilt")
    source = build(tmp / "samples", ROWS)
    return source, captioned(tmp / "captioned", source)


def by_number(dataset: Dataset) -> dict[int, dict[str, Any]]:
    rows = dataset.table().to_pylist()
    return {int(r["image_url"].rpartition("/")[2][:-4]): r for r in rows}


def test_every_row_comes_out_with_its_scores_or_its_reason(made: tuple[Dataset, Dataset]) -> None:
    rows = by_number(made[1])
    assert sorted(rows) == list(range(24))
    greens = sum(n % 3 == 1 for n in range(5, 24))
    assert made[1].manifest.dropped == {"over_budget": 1 + greens, "undecodable": 1}
    first = {t["text"]: t for t in rows[0]["texts"]}
    assert list(first) == ["a blue thing", "logo", "a picture"]  # the written twin is the web's
    assert [t["kind"] for t in first.values()] == ["web", "web", "synthetic"]
    assert [round(t["probability"], 3) for t in first.values()] == [0.9, 0.2, 0.2]
    assert first["logo"]["queries"] == ["thing"] and first["a picture"]["source"] == "caption"
    assert [t["status"] for t in rows[1]["texts"]] == ["too_long", "empty_text", "ok", "ok"]
    assert rows[2]["status"] == "over_budget" and rows[2]["detail"] == "no more"
    assert [round(t["probability"], 3) for t in rows[2]["texts"]] == [0.9]
    assert rows[3]["status"] == "undecodable"
    assert [t["status"] for t in rows[3]["texts"]] == ["image", "image"]
    assert rows[4]["texts"][0]["probability"] == pytest.approx(0.2)


@pytest.mark.parametrize("kinds", [("web",), ("synthetic",), ("web", "synthetic")])
@pytest.mark.parametrize("filtered", [False, True])
def test_the_rule_decides(
    made: tuple[Dataset, Dataset], tmp_path: Path, kinds: Any, filtered: bool
) -> None:
    rule = Rule(kinds, filtered)
    clean = build(tmp_path / "clean", [row(2, png(1), "a clean text")])
    drops: dict[str, int] = {}

    def write(folder: str) -> dict[str, int]:
        drops.update(write_decided(made[1], folder, rule, Shards(7), clean))
        return drops

    out = datasets.build(
        str(tmp_path / "out"), name="samples", config={}, seed=0, parents=list(made), write=write
    )
    wanted: dict[int, list[str]] = {2: ["a clean text"]}
    for number, found in by_number(made[1]).items():
        texts = [t["text"] for t in found["texts"] if verdict(t, rule) == "kept"]
        if texts and number != 2:
            wanted[number] = texts
    assert {n: [t["text"] for t in r["texts"]] for n, r in by_number(out).items()} == wanted
    assert drops["in_clean_set"] == 1
    if filtered and kinds == ("web",):
        assert wanted[0] == ["a blue thing"] and len(wanted[1]) == 1 and 4 not in wanted
    if not filtered and kinds == ("web",):
        assert wanted[0] == ["a blue thing", "logo"] and 3 not in wanted


def test_a_rerun_after_a_kill_ends_with_the_same_hash(
    made: tuple[Dataset, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, whole = made

    def killed(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(capfilt, "statuses", killed)
    with pytest.raises(KeyboardInterrupt):
        captioned(tmp_path / "again", source)
    monkeypatch.undo()
    shards = resume.shards(str(tmp_path / "again"))
    assert shards and not (tmp_path / "again" / "manifest.json").exists()
    Path(shards[0]).unlink()
    rest = {path: Path(path).stat().st_mtime_ns for path in shards[1:]}
    again = captioned(tmp_path / "again", source)
    assert again.manifest.content_hash == whole.manifest.content_hash
    assert all(Path(path).stat().st_mtime_ns == time for path, time in rest.items())


def test_a_chain_that_lacks_a_column_is_refused_before_anything_runs() -> None:
    def step(table: pa.Table) -> pa.Table:
        raise AssertionError

    steps = [
        Step(step, reads=["image"], writes=["a"], drops=["image"]),
        Step(step, reads=["image"]),
    ]
    with pytest.raises(ValueError, match=r"step reads \['image'\]; before it there are \['a'\]"):
        check(["image"], steps, ["a"])
    with pytest.raises(ValueError, match=r"no step writes \['b'\]"):
        check(["image"], steps[:1], ["a", "b"])
    assert "texts" in CAPTIONED.names
