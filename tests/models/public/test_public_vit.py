"""Hugging Face's ViT layout: features and logits must be transformers' for the same weights."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import ViTConfig as TheirConfig
from transformers import ViTForImageClassification, ViTModel

from models.classifier import Classifier
from models.public.vit import VIT, activation, read
from models.vision.vit import ViT
from models.weights import fit


def draw(seed: int) -> TheirConfig:
    """A random small configuration."""
    pick = random.Random(seed)
    patch, heads = pick.choice([4, 8]), pick.choice([1, 2, 3])
    return TheirConfig(
        hidden_size=8 * heads,
        num_hidden_layers=pick.randint(1, 3),
        num_attention_heads=heads,
        intermediate_size=pick.choice([20, 64]),
        image_size=(patch * pick.randint(2, 4), patch * pick.randint(2, 4)),
        patch_size=patch,
        hidden_act=pick.choice(["gelu", "quick_gelu", "gelu_new"]),
        num_labels=pick.randint(3, 9),
        layer_norm_eps=pick.choice([1e-12, 1e-5]),
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("head", [False, True])
def test_outputs_are_transformers(
    seed: int, head: bool, tmp_path: Path, every_weight_shows: Callable[..., None]
) -> None:
    torch.manual_seed(seed)
    config = draw(seed)
    theirs = (ViTForImageClassification if head else ViTModel)(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    ours_config, tensors = read(values, load_file(tmp_path / "model.safetensors"))
    ours = (Classifier if head else ViT)(ours_config).eval()  # type: ignore[arg-type]
    fit(ours, tensors, "vit")
    pixels = torch.randn(1 + seed, 3, *config.image_size)

    def found() -> Tensor:
        return ours.logits(pixels) if isinstance(ours, Classifier) else ours(pixels)

    with torch.no_grad():
        wanted = theirs(pixels).logits if head else theirs(pixels).last_hidden_state[:, 0]
        assert (found() - wanted).abs().max() <= 1e-4
    every_weight_shows(ours, found)


def test_the_layout_reads_both_ways(tmp_path: Path) -> None:
    ViTModel(draw(0), add_pooling_layer=False).save_pretrained(tmp_path)
    published = load_file(tmp_path / "model.safetensors")
    ours = VIT.from_public(published)
    assert not set(ours) & set(published)
    back = VIT.to_public(ours)
    assert back.keys() == published.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in published.items())


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(ValueError, match="hidden_act='mish' must be one of"):
        activation("mish")
