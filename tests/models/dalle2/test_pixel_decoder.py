"""The decoder: how conditions go in and are dropped, guidance, and images that it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.dalle2.caption_encoder import CaptionConfig
from models.dalle2.diffusion import DiffusionConfig
from models.dalle2.pixel_decoder import DECODER_3_5B, Decoder, DecoderConfig
from models.dalle2.sampling import Sampler
from models.dalle2.unet import UNetConfig
from tests.models.drawing import randomise

SMALL = DecoderConfig(
    image_size=(8, 12),
    embedding=6,
    tokens=2,
    captions=CaptionConfig(5, 12, 8, 1, 2),
    unet=UNetConfig(8, 1, (1, 2), (2,), 8, groups=4, dropout=0.0),
    diffusion=DiffusionConfig(40, variance="learned"),
    sampler=Sampler(steps=(4,), guidance=1.0),
)


def made(config: DecoderConfig, seed: int) -> Decoder:
    torch.manual_seed(seed)
    model = Decoder(config).eval()
    randomise(model)
    return model


def captions(count: int) -> Tensor:
    ids = torch.randint(1, 11, (count, 5))
    ids[torch.arange(count), torch.randint(1, 5, (count,))] = 11
    return ids


@torch.no_grad()
def test_the_embedding_goes_in_twice() -> None:
    """Its projection is added to the time; four (here two) tokens of it lead the context."""
    model = made(SMALL, 0)
    z, ids = torch.randn(3, 6), captions(3)
    added, context = model.condition(z, ids)
    text = model.captions(ids)
    wanted = z @ model.added.weight.T + model.added.bias
    wanted = wanted + text[:, -1] @ model.whole_caption.weight.T + model.whole_caption.bias
    torch.testing.assert_close(added, wanted, atol=1e-5, rtol=0)
    assert context.shape == (3, 2 + 5, 8)
    tokens = (z @ model.extra.weight.T + model.extra.bias).view(3, 2, 8)
    torch.testing.assert_close(context, torch.cat([tokens, text], dim=1), atol=1e-5, rtol=0)
    x, t = torch.randn(3, 3, 8, 12), torch.tensor([0, 20, 39])
    found = model.denoiser(model.condition(z, ids))(x, t)
    torch.testing.assert_close(found, model.unet(x, t, added, context), atol=1e-5, rtol=0)


@torch.no_grad()
def test_each_condition_is_dropped_by_itself() -> None:
    model = made(SMALL, 1)
    z, ids = torch.randn(4, 6), captions(4)
    with_z = torch.tensor([True, True, False, False])
    with_text = torch.tensor([True, False, True, False])
    found = model.condition(z, ids, with_z, with_text)
    nothing = model.no_embedding_E.expand(4, -1)
    for row, (vector, tokens) in enumerate(((z, ids), (z, None), (nothing, ids), (nothing, None))):
        for part, wanted in zip(found, model.condition(vector, tokens), strict=True):
            torch.testing.assert_close(part[row], wanted[row], atol=1e-5, rtol=0)


@torch.no_grad()
def test_guidance_extrapolates_the_mean_and_keeps_the_variance() -> None:
    model = made(SMALL, 2)
    condition = model.condition(torch.randn(2, 6), captions(2))
    x, t = torch.randn(2, 3, 8, 12), torch.tensor([3, 30])
    plain = model.denoiser(condition)(x, t)
    nothing = model.denoiser(model.condition(model.no_embedding_E.expand(2, -1)))(x, t)
    assert float((plain - nothing)[:, :3].abs().max()) > 0.1
    found = model.denoiser(condition, 3.0)(x, t)
    wanted = nothing[:, :3] + 3.0 * (plain[:, :3] - nothing[:, :3])
    torch.testing.assert_close(found[:, :3], wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[:, 3:], plain[:, 3:], atol=1e-5, rtol=0)
    one = model.denoiser(condition, 1.0 + 1e-7)(x, t)
    torch.testing.assert_close(one, plain, atol=1e-4, rtol=1e-4)


def test_every_weight_gets_a_gradient() -> None:
    model = made(replace(SMALL, drop_embedding=0.5), 3).train()
    batch = {
        "images": torch.rand(16, 3, 8, 12) * 2 - 1,
        "image_embedding": torch.randn(16, 6),
        "tokens": captions(16),
    }
    losses = model(batch)
    losses["loss"].backward()
    assert set(losses) == {"loss", "square", "bound"}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
        assert bool(parameter.grad.isfinite().all()), name


def test_shares_of_dropped_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = made(replace(SMALL, drop_embedding=0.1, drop_caption=0.5), 4), []
    condition = model.condition

    def spy(z: Tensor, ids: Tensor, with_z: Tensor, with_text: Tensor) -> object:
        seen.append((with_z, with_text))
        return condition(z, ids, with_z, with_text)

    monkeypatch.setattr(model, "condition", spy)
    batch = {
        "images": torch.zeros(4000, 3, 2, 2),
        "image_embedding": torch.randn(4000, 6),
        "tokens": captions(4000),
    }
    with torch.no_grad():
        model.losses(batch)
    with_z, with_text = seen[0]
    assert float(with_z.float().mean()) == pytest.approx(0.9, abs=0.02)
    assert float(with_text.float().mean()) == pytest.approx(0.5, abs=0.03)
    both = float((with_z & with_text).float().mean())
    assert both == pytest.approx(0.45, abs=0.03)


@pytest.mark.parametrize("variance", ["small", "learned"])
def test_samples_depend_on_the_generator_alone(variance: str) -> None:
    config = replace(SMALL, diffusion=DiffusionConfig(40, variance=variance))  # type: ignore[arg-type]
    model = made(config, 5)
    z = torch.randn(1, 6)
    a, b, c = (model.sample(z, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert a.shape == (1, 3, 8, 12) and torch.equal(a, b) and not torch.allclose(a, c)
    assert float(a.abs().max()) <= 1.0


def test_bfloat16_is_near_float32() -> None:
    model = made(SMALL, 6)
    z, ids = torch.randn(2, 6), captions(2)
    x, t = torch.randn(2, 3, 8, 12), torch.tensor([3, 30])
    with torch.no_grad():
        wanted = model.denoiser(model.condition(z, ids))(x, t)
        model.bfloat16()
        found = model.denoiser(model.condition(z, ids))(x, t).float()
    assert float((found - wanted).abs().max()) < 0.1 * float(wanted.abs().max())
    assert model.sample(z, ids).dtype == torch.float32


def shapes(count: int) -> Tensor:
    """Images (count, 3, 8, 8) of one colour each with a bright bar, in [-1, 1]."""
    images = (torch.rand(count, 3, 1, 1) * 1.4 - 1.0).expand(-1, -1, 8, 8).clone()
    for row in range(count):
        images[row, :, :, 2 * row % 8 : 2 * row % 8 + 2] += 0.6
    return images.clamp(-1, 1)


def test_it_learns_four_images() -> None:
    """In seconds: each embedding's sample is its image, by DDIM and by DDPM with the learned
    variance. The wrong image, and noise, are off by five times as much. Inversion leads back.
    """
    torch.manual_seed(7)
    config = DecoderConfig(
        image_size=(8, 8),
        embedding=4,
        captions=CaptionConfig(2, 8, 16, 1, 2),
        unet=UNetConfig(16, 1, (1, 2), (2,), 16, groups=4, dropout=0.0),
        diffusion=DiffusionConfig(100, variance="learned", predicts="clean"),
        sampler=Sampler("ddim", (20,)),
    )
    model, images, z = Decoder(config), shapes(4), 2 * torch.eye(4)
    batch = {
        "images": images.repeat(2, 1, 1, 1),
        "image_embedding": z.repeat(2, 1),
        "tokens": torch.full((8, 1), 7),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95))
    for step in range(100):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / 100)
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
    model.eval()

    def error(found: Tensor) -> Tensor:
        return (found - images).square().mean(dim=(1, 2, 3))

    limit = 0.05
    noise = torch.randn(4, 3, 8, 8)
    assert float(error(images.roll(1, 0)).min()) > 5 * limit
    assert float(error(noise.clamp(-1, 1)).min()) > 5 * limit
    assert float(error(model.sample(z)).max()) < limit
    assert float(error(model.sample(z, sampler=Sampler(steps=(50,)))).max()) < limit
    start = model.invert(images, z, passes=2)
    assert float(error(model.sample(z, start_BCHW=start)).max()) < limit


def test_the_size_is_the_papers() -> None:
    with torch.device("meta"):
        model = Decoder(DECODER_3_5B)
    assert sum(p.numel() for p in model.parameters()) == 3_563_696_646
    assert sum(p.numel() for p in model.unet.parameters()) == 2_238_164_486
    assert math.isclose(3.5e9, 3_563_696_646, rel_tol=0.02)
