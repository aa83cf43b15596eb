"""Micro-batches must leave the gradient of the whole batch, patch dropout included."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.classifier import Classifier, ClassifierConfig
from models.clip import CLIP, CLIPConfig, TextConfig
from models.training.accumulate import backward, split
from models.vision.vit import ViTConfig

VISION = ViTConfig((32, 32), patch_size=8, width=16, depth=1, heads=2)
SMALL = CLIPConfig(VISION, TextConfig(8, 40, 16, 1, 2), embedding=12)


def make_batch(rows: int) -> dict[str, Tensor]:
    tokens = torch.randint(1, 38, (rows, 8))
    tokens[torch.arange(rows), torch.arange(rows) % 6 + 2] = 39
    labels = torch.arange(rows) % 5
    return {"pixels": torch.randn(rows, 3, 32, 32), "tokens": tokens, "labels": labels}


def gradients(model: nn.Module, batch: dict[str, Tensor], parts: int) -> dict[str, Tensor]:
    model.zero_grad()
    backward(model, batch, parts, torch.manual_seed, contextlib.nullcontext)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["clip", "classifier"])
@pytest.mark.parametrize("parts", [2, 4])
def test_gradient_is_the_whole_batchs(kind: str, parts: int) -> None:
    torch.manual_seed(0)
    model = CLIP(SMALL) if kind == "clip" else Classifier(ClassifierConfig(VISION, classes=5))
    if isinstance(model, Classifier):
        nn.init.normal_(model.head.weight)
    batch = make_batch(8)
    whole, pieces = gradients(model, batch, 1), gradients(model, batch, parts)
    assert set(whole) == set(pieces) == {name for name, _ in model.named_parameters()}
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_plain_averaging_would_be_wrong_for_a_contrastive_loss() -> None:
    torch.manual_seed(0)
    model, batch = CLIP(SMALL), make_batch(8)
    whole = gradients(model, batch, 1)
    model.zero_grad()
    for piece in split(batch, 2):
        (model.losses(piece)["loss"] / 2).backward()
    name = "image_projection.weight"
    gradient = dict(model.named_parameters())[name].grad
    assert gradient is not None and (gradient - whole[name]).abs().max() > 1e-3


def test_both_runs_of_a_micro_batch_drop_the_same_patches() -> None:
    """The reference keeps the graph of all micro-batches, each drawn from its own seed."""
    torch.manual_seed(0)
    model = CLIP(replace(SMALL, vision=replace(VISION, patch_dropout=0.5))).train()
    batch = make_batch(8)
    found = gradients(model, batch, 4)
    model.zero_grad()
    image, text = [], []
    for number, piece in enumerate(split(batch, 4)):
        torch.manual_seed(number)
        image.append(F.normalize(model.encode_image(piece["pixels"]), dim=1))
        text.append(F.normalize(model.encode_text(piece["tokens"]), dim=1))
    scales = model.logit_scale.expand(8)
    model.losses_of((torch.cat(image), torch.cat(text), scales))["loss"].backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_parts_must_divide_the_batch() -> None:
    with pytest.raises(ValueError, match="micro_batches=3 must divide the 8 examples"):
        split(make_batch(8), 3)
