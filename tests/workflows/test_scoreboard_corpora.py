"""From a checkpoint's manifests to the test pictures that its corpus shows."""

import hashlib
import io
import posixpath
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evaluators.suites.kinds import Classification, Source
from evaluators.suites.labelled import Picture, build_labelled
from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.records import SAMPLES, record_id
from pipelines.web.images import fingerprint_of
from workflows.scoreboard import corpora


def picture(seed: int, quality: int = 95) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC).save(
        out, "jpeg", quality=quality
    )
    return out.getvalue()


def samples(path: Path, seeds: range) -> Dataset:
    def row(seed: int) -> dict[str, object]:
        image, url = picture(seed, 60), f"http://x/{seed}.jpg"
        phash, thumbnail = fingerprint_of(image)
        return {
            "image_id": record_id(url), "image_url": url, "texts": [], "image": image,
            "format": "jpeg", "width": 96, "height": 96, "original_width": 96,
            "original_height": 96, "sha256": hashlib.sha256(image).hexdigest(),
            "phash": phash, "thumbnail": thumbnail,
        }  # fmt: skip

    def write(folder: str) -> dict[str, int]:
        table = pa.Table.from_pylist([row(seed) for seed in seeds], schema=SAMPLES)
        datasets.write_shard(posixpath.join(folder, "00000.parquet"), table)
        return {}

    return datasets.build(str(path), name="samples", config={}, seed=0, parents=[], write=write)


def checkpoint(path: Path, parents: list[Dataset]) -> str:
    def write(folder: str) -> dict[str, int]:
        Path(folder, "weights").write_bytes(b"w")
        return {}

    datasets.build(
        str(path),
        name="checkpoint",
        config={},
        seed=0,
        parents=parents,
        write=write,
        content_hash=lambda _: "0" * 32,
    )
    return str(path)


def answers(of: Dataset, hits: dict[str, bool]) -> pa.Table:
    ids = of.table(["image_id"])["image_id"].to_pylist()
    return pa.table(
        {
            "suite": ["zero-shot"] * len(ids),
            "dataset": ["set"] * len(ids),
            "model": ["CLIP"] * len(ids),
            "task": ["zero_shot"] * len(ids),
            "item": ids,
            "rank": pa.array([0 if hits.get(i) else 1 for i in ids], pa.int32()),
        }
    )


def test_the_corpus_is_found_by_the_manifests_and_searched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = samples(tmp_path / "samples", range(3, 20))
    clip = checkpoint(tmp_path / "clip", [corpus])
    known, problems = corpora.corpora(clip, [])
    assert [one.path for one in known] == [corpus.path] and problems == []
    tests = build_labelled(
        str(tmp_path / "set"),
        lambda: [Picture(f"p{i}", picture(i), "a", "test") for i in range(8)],
        ["a"],
        config={},
    )
    shown = {record_id(f"p{i}", "a"): True for i in range(3, 8)}
    suites = [Classification("zero-shot", {"set": Source(tests, "test")}, ("{}",))]
    out = str(tmp_path / "out")
    rows = list(corpora.overlap_views(answers(tests, shown), suites, known, out))
    assert [(row["pictures"], row["in the corpus"]) for row in rows] == [(8, 5)]
    assert rows[0]["top-1, in the corpus"] == 1.0 and rows[0]["top-1, clean"] == 0.0
    monkeypatch.setattr(corpora, "overlaps", lambda *_: 1 / 0)
    assert list(corpora.overlap_views(answers(tests, shown), suites, known, out)) == rows


def test_a_corpus_that_is_gone_or_was_rebuilt_is_told(tmp_path: Path) -> None:
    corpus = samples(tmp_path / "samples", range(3))
    clip = checkpoint(tmp_path / "clip", [corpus])
    for file in (tmp_path / "samples").iterdir():
        file.unlink()
    known, problems = corpora.corpora(clip, [])
    assert known == [] and len(problems) == 1 and "samples" in problems[0]
    assert corpora.corpora(str(tmp_path), [])[1] == [f"{tmp_path} names no corpus"]
