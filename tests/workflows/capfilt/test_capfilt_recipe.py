"""The CapFilt recipe on a small corpus: what comes out, and that a rerun makes nothing again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.datasets import Dataset, open_dataset
from workflows import cli
from workflows.capfilt.scores import pairs_of, swapped

pytestmark = pytest.mark.timeout(900)  # six runs of Ray Train, each some seconds to start


def run(*flags: str) -> int:
    from workflows.capfilt.recipe import CapFiltConfig

    return cli.run("sightmill capfilt", CapFiltConfig, list(flags))


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, sheets: Callable[..., Dataset]
) -> tuple[Path, list[str]]:
    tmp = tmp_path_factory.mktemp("recipe")
    web = sheets(tmp / "input", "web", 60, True)
    clean = sheets(tmp / "clean-pairs", "clean", 48, False)
    flags = ["--data.input", web.path, "--data.clean", clean.path, "--out", str(tmp / "out")]
    for part, steps in (
        ("contrast", 6),
        ("pretraining", 6),
        ("captioner-tuning", 4),
        ("matcher-tuning", 4),
    ):
        flags += [f"--{part}.train.steps", str(steps), f"--{part}.train.batch-size", "16"]
    flags += ["--model.queue", "32", "--captioning.each", "2"]
    assert run(*flags) == 0
    return tmp / "out", flags


def test_what_comes_out(made: tuple[Path, list[str]]) -> None:
    out, _ = made
    captioned, samples = open_dataset(str(out / "captioned")), open_dataset(str(out / "samples"))
    web, held = open_dataset(str(out / "web")), open_dataset(str(out / "held-out"))
    assert captioned.manifest.rows == web.manifest.rows
    for row in captioned.table().to_pylist():
        kinds = [text["kind"] for text in row["texts"]]
        assert kinds[0] == "web" and set(kinds[1:]) <= {"synthetic"}
        assert all(0.0 <= text["probability"] <= 1.0 for text in row["texts"])
    kept = set(samples.table(["image_id"]).column(0).to_pylist())
    assert kept and not kept & set(held.table(["image_id"]).column(0).to_pylist())
    page = (out / "report" / "report.html").read_text()
    assert "average precision" in page.lower()
    for name in ("pretrained-encoders", "pretrained", "captioner", "matcher", "blip"):
        assert (out / name / "model.safetensors").exists()
    assert sum(samples.manifest.dropped.values()) > 0


def test_a_rerun_makes_nothing_again_and_a_lost_dataset_comes_back(
    made: tuple[Path, list[str]],
) -> None:
    import shutil

    out, flags = made
    hashes = {
        path.parent.name: open_dataset(str(path.parent)).manifest.content_hash
        for path in out.glob("*/manifest.json")
    }
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    shutil.rmtree(out / "samples")
    assert run(*flags) == 0
    for name, found in hashes.items():
        assert open_dataset(str(out / name)).manifest.content_hash == found, name
    for path, moment in before.items():
        assert "samples" in path.parts or path.stat().st_mtime_ns == moment, path


def test_known_noise_is_a_share_of_the_pairs(made: tuple[Path, list[str]]) -> None:
    held = open_dataset(str(made[0] / "clean"))
    pairs = pairs_of(held)
    texts, wrong = swapped(pairs, 0)
    assert abs(wrong.mean() - 0.3) < 0.05
    for text, own, is_wrong in zip(texts, pairs.texts, wrong, strict=True):
        assert (text != own) == is_wrong
    assert swapped(pairs, 0)[0] == texts and swapped(pairs, 1)[0] != texts
