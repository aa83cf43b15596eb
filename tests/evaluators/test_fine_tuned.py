"""What fine-tuning costs, against a loop that draws concepts; the split that is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from evaluators.fine_tuned import fine_tuned_rows, in_distribution_row
from evaluators.predictions import SCHEMA
from evaluators.suites.kinds import Classification, Source
from evaluators.suites.labelled import Picture
from models import weights
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig, TextConfig
from models.training.starting import starting_tensors
from models.vision.vit import ViTConfig
from models.weights import WeightsError
from workflows.scoreboard.fine_tune import training_split

from .conftest import LabelledMaker, picture, square

CONCEPTS = [f"concept {i}" for i in range(12)]


@pytest.fixture
def suite(make_labelled: LabelledMaker) -> Classification:
    one = Source(make_labelled("one", [picture("red", "test")]))
    return Classification("shift new", {"old": one, "new": one}, ("{}",), "old", ("new",))


def answers(seed: int) -> pa.Table:
    """Two models, two sets, three pictures a concept; the second model is better on the old set."""
    rng, rows = np.random.default_rng(seed), []
    for model, right in (("zero", {"old": 0.5, "new": 0.4}), ("tuned", {"old": 0.9, "new": 0.3})):
        for dataset, p in right.items():
            for concept in CONCEPTS:
                for i in range(3):
                    rows.append(
                        {
                            "suite": "shift new",
                            "dataset": dataset,
                            "model": model,
                            "task": "zero_shot",
                            "item": f"{concept}/{i}",
                            "truth": concept,
                            "rank": int(rng.random() > p),
                            "candidates": 12,
                            "partners": 1,
                            "top": [],
                            "top_scores": [],
                        }
                    )
    return pa.Table.from_pylist(rows, SCHEMA)


def test_robustness_lost_is_how_much_the_gap_grew(suite: Classification) -> None:
    table = answers(3)
    hits = {
        (r["model"], r["dataset"], r["truth"], r["item"]): r["rank"] == 0 for r in table.to_pylist()
    }

    def accuracy(model: str, dataset: str, concepts: list[str]) -> float:
        found = [hits[model, dataset, c, f"{c}/{i}"] for c in concepts for i in range(3)]
        return 100 * float(np.mean(found))

    def lost(concepts: list[str]) -> float:
        gaps = [
            accuracy(m, "old", concepts) - accuracy(m, "new", concepts) for m in ("tuned", "zero")
        ]
        return gaps[0] - gaps[1]

    (row,) = fine_tuned_rows(table, suite, "zero", "tuned", resamples=3000)
    assert row["robustness lost"] == pytest.approx(lost(CONCEPTS))
    gain = accuracy("tuned", "new", CONCEPTS) - accuracy("zero", "new", CONCEPTS)
    assert row["gain under shift"] == pytest.approx(gain)
    assert row["robustness lost"] == pytest.approx(row["gain in distribution"] - gain)
    rng = np.random.default_rng(1)
    slow = [lost(rng.choice(CONCEPTS, 12).tolist()) for _ in range(1500)]
    assert row["robustness lost, low"] == pytest.approx(np.percentile(slow, 2.5), abs=5.6)
    assert row["robustness lost, high"] == pytest.approx(np.percentile(slow, 97.5), abs=5.6)
    inside = in_distribution_row(table, "old", "zero", "tuned")
    assert inside["gain"] == pytest.approx(row["gain in distribution"]) and inside["n"] == 36
    with pytest.raises(ValueError, match="legal: zero, tuned"):
        list(fine_tuned_rows(table, suite, "zero", "other"))


def test_the_training_split_is_relabelled_and_without_what_cannot_be_decoded(
    make_labelled: LabelledMaker, tmp_path: Path
) -> None:
    pictures = [picture(name, group) for name in ("red", "blue") for group in ("train", "test")]
    pictures += [picture("blue", "val", 4), picture("grey", "train")]
    pictures.append(Picture("broken", b"no image", "red", "train"))
    source = Source(make_labelled("set", pictures), "test", ("red", "blue"))
    found = training_split(source, source.classes, str(tmp_path / "train"))
    rows = found.table().to_pylist()
    assert sorted((r["class_name"], r["label"], r["group"]) for r in rows) == [
        ("blue", 1, "train"),
        ("blue", 1, "val"),
        ("red", 0, "train"),
    ]
    assert found.manifest.dropped == {"undecodable": 1}
    assert {r["image"] for r in rows} == {square("red"), square("blue"), square("blue", 4)}


def test_a_classifier_begins_with_a_clips_image_tower(tmp_path: Path) -> None:
    vision = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
    text = TextConfig(context_length=8, vocab_size=300, width=16, depth=1, heads=2)
    torch.manual_seed(0)
    clip = weights.build(CLIPConfig(vision, text, 8))
    weights.save(clip, str(tmp_path / "clip"))
    model = weights.build(ClassifierConfig(vision, 5))
    weights.fit(model, starting_tensors(model, str(tmp_path / "clip")), "clip")
    pixels = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(model.encoder(pixels), clip.image_tower(pixels))
        assert not model.logits(pixels).any()  # the head is new
    other = ViTConfig(image_size=(16, 16), patch_size=8, width=32, depth=1, heads=2)
    with pytest.raises(WeightsError, match=r"vision\.width"):
        starting_tensors(weights.build(ClassifierConfig(other, 5)), str(tmp_path / "clip"))
