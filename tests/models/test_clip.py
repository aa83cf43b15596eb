"""CLIP: sizes, its draw, trimming, the loss, and what happens to the logit scale."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from models.clip import (
    CLIP,
    CLIP_B_16,
    CLIP_B_32,
    CLIP_L_14,
    CLIP_L_14_336,
    CLIP_RN50,
    CLIP_RN50X4,
    CLIP_RN50X16,
    CLIP_RN50X64,
    CLIP_RN101,
    CLIP_SMALL,
    CLIPConfig,
    TextConfig,
    trim,
)
from models.vision.resnet import ResNetConfig
from models.vision.vit import ViTConfig

SMALL = CLIPConfig(
    ViTConfig((16, 16), patch_size=8, width=16, depth=2, heads=2, norm_before=True),
    TextConfig(context_length=12, vocab_size=40, width=24, depth=2, heads=3),
    embedding=20,
)


RESNET = replace(SMALL, vision=ResNetConfig((64, 32), (1, 1, 1, 1), width=4, head_width=32))


def tokens(lengths: list[int], length: int = 12) -> torch.Tensor:
    """Random texts of these lengths, ends included, padded with 0."""
    out = torch.zeros(len(lengths), length, dtype=torch.int64)
    for row, n in enumerate(lengths):
        out[row, :n] = torch.randint(1, 38, (n,))
        out[row, n - 1] = 39
    return out


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (CLIP_B_32, 151_277_313),
        (CLIP_B_16, 149_620_737),
        (CLIP_L_14, 427_616_513),
        (CLIP_L_14_336, 427_944_193),
        (CLIP_RN50, 102_007_137),
        (CLIP_RN101, 119_688_033),
        (CLIP_RN50X4, 178_300_601),
        (CLIP_RN50X16, 290_979_217),
        (CLIP_RN50X64, 623_258_305),
    ],
)
def test_parameter_counts_are_the_papers(config: CLIPConfig, count: int) -> None:
    with torch.device("meta"):
        model = CLIP(config)
    assert sum(p.numel() for p in model.parameters()) == count


def test_initial_weights_are_clips() -> None:
    torch.manual_seed(0)
    model = CLIP(replace(CLIP_SMALL, text=replace(CLIP_SMALL.text, vocab_size=1000)))
    text = model.text_tower
    assert float(model.logit_scale.detach().exp()) == pytest.approx(1 / 0.07, rel=1e-5)
    for tensor, wanted in (
        (text.embedding.weight, 0.02),
        (text.positions.table_LD, 0.01),
        (model.text_projection.weight, 192**-0.5),
        (model.image_projection.weight, 192**-0.5),
        (model.image_tower.class_token_D, 192**-0.5),
    ):
        assert tensor is not None
        assert float(tensor.detach().std()) == pytest.approx(wanted, rel=0.1)


def test_a_resnets_initial_weights_are_clips() -> None:
    torch.manual_seed(0)
    vision = ResNetConfig((64, 64), (1, 1, 1, 1), width=16)
    model = CLIP(replace(SMALL, vision=vision, embedding=64))
    pool = model.image_tower.pool
    for tensor in (
        pool.positions.table_LD,
        pool.attention.qkv.weight,
        model.image_projection.weight,
    ):
        assert float(tensor.detach().std()) == pytest.approx(512**-0.5, rel=0.1)
    gains = [p for n, p in model.named_parameters() if n.endswith("norm_3.weight")]
    assert len(gains) == 4 and all(bool((gain == 0).all()) for gain in gains)


def test_what_follows_the_end_of_a_text_changes_nothing() -> None:
    torch.manual_seed(0)
    model = CLIP(SMALL).eval()
    short = tokens([5, 3, 7])
    assert trim(short, 39)[0].shape == (3, 7)
    noisy = short.clone()
    noisy[0, 5:], noisy[1, 3:] = 17, 39  # ends after the first end do not count
    torch.testing.assert_close(model.encode_text(noisy), model.encode_text(short))
    other = short.clone()
    other[0, 2] = (other[0, 2] + 1) % 38
    assert (model.encode_text(other)[0] - model.encode_text(short)[0]).abs().max() > 1e-3


def test_a_text_without_its_end_is_named() -> None:
    broken = tokens([5, 3])
    broken[1] = 7
    with pytest.raises(ValueError, match="text 1 has no end-of-text id 39"):
        CLIP(SMALL).encode_text(broken)


def test_loss_is_the_mean_of_both_cross_entropies() -> None:
    torch.manual_seed(0)
    model = CLIP(SMALL)
    batch = {"pixels": torch.randn(6, 3, 16, 16), "tokens": tokens([3, 4, 5, 6, 7, 8])}
    image = F.normalize(model.encode_image(batch["pixels"]), dim=1)
    text = F.normalize(model.encode_text(batch["tokens"]), dim=1)
    logits = model.logit_scale.exp() * image @ text.T
    wanted = (
        F.cross_entropy(logits, torch.arange(6)) + F.cross_entropy(logits.T, torch.arange(6))
    ) / 2
    losses = model(batch)
    torch.testing.assert_close(losses["loss"], wanted)
    torch.testing.assert_close(
        (losses["image_to_text"] + losses["text_to_image"]) / 2, wanted.detach()
    )
    assert float(losses["logit_scale"]) == pytest.approx(1 / 0.07, rel=1e-5)


@pytest.mark.parametrize("config", [SMALL, RESNET])
@torch.no_grad()
def test_bfloat16_is_near(config: CLIPConfig) -> None:
    torch.manual_seed(0)
    model = CLIP(config).eval()
    pixels, texts = torch.randn(2, 3, *config.vision.image_size), tokens([1, 12, 5])
    wanted = model.encode_image(pixels), model.encode_text(texts)
    model.bfloat16()
    found = model.encode_image(pixels.bfloat16()), model.encode_text(texts)
    for near, exact in zip(found, wanted, strict=True):
        assert near.dtype == torch.bfloat16
        assert (near.float() - exact).abs().mean() < 0.03 * exact.abs().mean()


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = CLIP(SMALL)
    model({"pixels": torch.randn(4, 3, 16, 16), "tokens": tokens([3, 4, 12, 6])})["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_logit_scale_stays_at_most_100_and_can_come_back() -> None:
    model = CLIP(SMALL)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.constrain()
    assert float(model.logit_scale.detach()) == pytest.approx(math.log(100))
    with torch.no_grad():
        model.logit_scale.sub_(1.0)
    model.constrain()
    assert float(model.logit_scale.detach()) == pytest.approx(math.log(100) - 1)


@pytest.mark.parametrize("config", [SMALL, RESNET])
def test_it_fits_a_batch(config: CLIPConfig) -> None:
    torch.manual_seed(0)
    model = CLIP(config)
    pixels = torch.randn(8, 3, *config.vision.image_size)
    batch = {"pixels": pixels, "tokens": tokens([3, 4, 5, 6, 7, 8, 9, 10])}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
        model.constrain()
    assert float(model(batch)["accuracy"]) == 1.0
