"""The supervised baseline: it starts at chance and learns."""

from __future__ import annotations

import math

import pytest
import torch

from models.classifier import Classifier, ClassifierConfig
from models.vision.vit import ViTConfig

VISION = ViTConfig((16, 16), patch_size=8, width=16, depth=1, heads=2)


def test_a_new_head_is_at_chance() -> None:
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(VISION, classes=10))
    batch = {"pixels": torch.randn(8, 3, 16, 16), "labels": torch.arange(8)}
    assert model(batch)["loss"].item() == pytest.approx(math.log(10), abs=1e-5)
    assert torch.equal(model.logits(batch["pixels"]), torch.zeros(8, 10))


def test_it_fits_a_batch() -> None:
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(VISION, classes=8))
    batch = {"pixels": torch.randn(8, 3, 16, 16), "labels": torch.arange(8)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
    assert float(model(batch)["accuracy"]) == 1.0


def test_smoothing_raises_the_loss_of_a_sure_answer() -> None:
    plain = Classifier(ClassifierConfig(VISION, classes=4))
    smooth = Classifier(ClassifierConfig(VISION, classes=4, smoothing=0.1))
    with torch.no_grad():
        for model in (plain, smooth):
            model.head.bias.copy_(torch.tensor([20.0, 0.0, 0.0, 0.0]))
    batch = {"pixels": torch.randn(2, 3, 16, 16), "labels": torch.zeros(2, dtype=torch.int64)}
    assert plain(batch)["loss"].item() < 1e-3
    assert smooth(batch)["loss"].item() == pytest.approx(0.1 * 20 * 3 / 4, rel=1e-3)
