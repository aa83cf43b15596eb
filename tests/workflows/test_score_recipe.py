"""`sightmill score` on data roots: what runs, what is listed, what stands in the folder after."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import weights
from models.clip import CLIPConfig, TextConfig
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig
from pipelines.datasets import open_dataset
from workflows import cli

EMOTIONS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    torch.manual_seed(0)
    tokenizer = Tokenizer.learn(["a photo of a", "looking face", *EMOTIONS], 600)
    vision = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
    text = TextConfig(
        context_length=16, vocab_size=tokenizer.vocab_size, width=16, depth=1, heads=2
    )
    weights.save(weights.build(CLIPConfig(vision, text, 8)), str(tmp_path / "clip"), tokenizer)
    return str(tmp_path / "clip")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """FER2013's folders with two pictures a class in test, three in train; no other set."""
    for split, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(EMOTIONS):
            folder = tmp_path / "root/fer2013" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                rng = np.random.default_rng([number, i, count])
                grey = rng.integers(0, 60, (20, 20)) + 25 * number
                out = io.BytesIO()
                Image.fromarray(grey.astype(np.uint8)).save(out, "png")
                (folder / f"{i}.png").write_bytes(out.getvalue())
    return tmp_path / "root"


def sightmill(*arguments: str) -> int:
    module, config, _ = cli.RECIPES["score"]
    imported = __import__(module, fromlist=[config])
    return cli.run("sightmill score", getattr(imported, config), list(arguments))


FAST = ("--shots", "1", "2", "--seeds", "2", "--config.resamples", "20")
HERE = ("--config.embed.workers", "0", "--config.embed.batch-size", "16")


def test_a_damaged_set_is_listed_and_scored_only_if_asked_for(
    clip: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ("--checkpoint", clip, "--data", str(root), "--out", str(out), *FAST, *HERE)
    assert sightmill(*asked) == 1  # 14 pictures are not FER2013's 3,574
    assert "no set to score" in capsys.readouterr().err
    sets = {row["name"]: row for row in json.loads((out / "sets.json").read_text())}
    assert len(sets) > 40 and sets["fer2013"]["status"] == "damaged"
    assert sets["fer2013"]["damage"][0]["kind"] == "wrong_size"
    assert sets["cifar10"]["status"] == "missing"
    assert str(root) in sets["cifar10"]["get"] and "vtab-cifar10" in sets["cifar10"]["get"]

    assert sightmill(*asked, "--damaged", "score", "--against", clip) == 0
    rows = open_dataset(str(out / "scores")).table().to_pylist()
    assert {row["dataset"] for row in rows} == {"fer2013-damaged"}
    probe = {
        (row["model"], row["split"])
        for row in rows
        if row["suite"] == "probe" and row["metric"] == "top1" and row["model"] != "chance"
    }
    assert {split for _, split in probe} == {"all", "1-shot", "2-shot"}
    assert {model for model, _ in probe} >= {"CLIP", "logistic regression on pixels"}
    page = (out / "report/report.html").read_text()
    assert "Zero-shot against learning" in page and "vtab-cifar10" in page
    table = list(csv.DictReader((out / "report/clip_benchmark.csv").open()))
    assert {row["task"] for row in table} == {"zeroshot_classification", "linear_probe"}
    assert r"\begin{tabular}" in (out / "report/scores.tex").read_text()
    views = json.loads((out / "views.json").read_text())
    same = [row for row in views["significance"] if row["against"] == "against clip"]
    assert same and all(row["p"] == 1.0 and row["difference"] == 0.0 for row in same)

    before = open_dataset(str(out / "scores")).manifest.content_hash
    kept = list((out / "embeddings").glob("*/manifest.json"))
    assert len(kept) == 2  # the two CLIPs are one by content; pixels are the other
    assert sightmill(*asked, "--damaged", "score", "--against", clip) == 0
    assert open_dataset(str(out / "scores")).manifest.content_hash == before


def test_a_users_mistake_names_what_is_legal(
    clip: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--checkpoint", clip, "--data", str(root), "--out", str(tmp_path / "o"))
    assert sightmill(*asked, "--only", "cifar11") == 1
    assert "cifar11" in capsys.readouterr().err
    assert sightmill(*asked, "--suite", "zero-short", "--damaged", "score") == 1
    assert "legal: zero-shot, shift, probe, retrieval" in capsys.readouterr().err
