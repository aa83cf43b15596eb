"""What `sightmill score` adds for a careful reader, end to end on tiny sets: fine-tuning with its
shift, faces by group, cards, the surest mistakes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from evaluators.suites.labelled import Picture, build_labelled
from models import weights
from models.clip import CLIPConfig, TextConfig
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig
from pipelines import datasets
from pipelines.datasets import open_dataset
from workflows import cli

from ..evaluators.conftest import COLOURS, square

DIGITS = tuple("0123456789")
SET, SHIFT = "mnist-10k-damaged", "scikit-digits-damaged"


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A tiny CLIP with the manifest of a checkpoint of ours."""
    tokenizer = Tokenizer.learn(["a photo of the number", "a photo of a person"], 600)
    vision = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
    text = TextConfig(
        context_length=16, vocab_size=tokenizer.vocab_size, width=16, depth=1, heads=2
    )

    def write(folder: str) -> dict[str, int]:
        torch.manual_seed(0)
        weights.save(weights.build(CLIPConfig(vision, text, 8)), folder, tokenizer)
        return {}

    path = str(tmp_path / "clip")
    datasets.build(
        path,
        name="checkpoint",
        config={},
        seed=0,
        parents=[],
        write=write,
        content_hash=weights.content_hash,
    )
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sets of digits that are squares of grey, the second darker, and four faces."""
    colours = list(COLOURS)
    for name, splits, dark in (
        ("mnist-10k", ("train", "test"), 0),
        ("scikit-digits", ("test",), 40),
    ):
        pictures = [
            Picture(f"{split}/{d}/{i}", square(colours[int(d) % 6], 6 * i + dark), d, split)
            for split in splits
            for d in DIGITS
            for i in range(3)
        ]
        build_labelled(
            str(tmp_path / "root" / name), lambda p=pictures: p, DIGITS, config={"set": name}
        )
    folder = tmp_path / "root/fairface/val"
    folder.mkdir(parents=True)
    lines = ["file,age,gender,race,service_test"]
    for i, (race, gender) in enumerate((("White", "Male"), ("Black", "Female")) * 2):
        (folder / f"{i}.jpg").write_bytes(square("grey", 5 * i))
        lines.append(f"val/{i}.jpg,20-29,{gender},{race},True")
    (folder.parent / "fairface_label_val.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "root"


def test_fine_tuning_faces_and_cards_stand_in_the_report(
    checkpoint: str, root: Path, tmp_path: Path, ray_session: None
) -> None:
    out = tmp_path / "out"
    asked = ["--checkpoint", checkpoint, "--data", str(root), "--out", str(out)]
    asked += ["--damaged", "score", "--suite", "zero-shot,shift"]
    asked += ["--config.embed.workers", "0", "--config.embed.batch-size", "16"]
    asked += ["--config.resamples", "20", "--fine-tune.sets", SET, "--fine-tune.epochs", "2"]
    module, config, _ = cli.RECIPES["score"]
    imported = __import__(module, fromlist=[config])
    assert cli.run("sightmill score", getattr(imported, config), asked) == 0

    views = json.loads((out / "views.json").read_text())
    (inside,) = views["fine-tuned: on the set itself"]
    (shift,) = views["fine-tuned: under shift"]
    assert (inside["set"], inside["n"], shift["shift"], shift["concepts"]) == (SET, 30, SHIFT, 10)
    network = open_dataset(str(out / "fine-tune" / SET / "network"))
    assert [p.name for p in network.manifest.parents] == ["labelled", "checkpoint"]
    start, tuned = (weights.read(path)[1] for path in (checkpoint, network.path))
    moved = [n for n in tuned if n.startswith("encoder.") and tuned[n].is_floating_point()]
    assert any(not tuned[n].equal(start[n.replace("encoder.", "image_tower.", 1)]) for n in moved)
    assert tuned["head.weight"].shape == (10, 16)

    faces = [r for r in views["denigration"] if r["by"] == "race" and r["labels"] == "non-human"]
    assert {(r["group"], r["n"]) for r in faces} == {("White", 2), ("Black", 2)}
    page = (out / "report/report.html").read_text()
    for title in ("Fine-tuning", "Bias probes", "Surest mistakes", "Model and data"):
        assert f"<h2>{title}</h2>" in page
    assert "surveillance" in (out / "report/cards/0-model-card-of-clip.md").read_text()
    sets = {row["name"]: row for row in json.loads((out / "sets.json").read_text())}
    assert sets["fairface"]["status"] == "damaged"
