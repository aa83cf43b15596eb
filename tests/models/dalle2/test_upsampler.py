"""The upsamplers: crops, what they see, sizes, and that they learn to restore detail."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.dalle2.diffusion import DiffusionConfig
from models.dalle2.sampling import Sampler, strided
from models.dalle2.unet import PixelAttention, UNetConfig
from models.dalle2.upsampler import UPSAMPLER_300M, UPSAMPLER_700M, Upsampler, UpsamplerConfig, crop
from tests.models.drawing import randomise

SMALL = UpsamplerConfig(
    factor=2,
    crop=0.5,
    unet=UNetConfig(8, 1, (1, 2), attention=(), groups=4, dropout=0.0),
    diffusion=DiffusionConfig(50),
    sampler=Sampler("ddim", (5,)),
)


def test_crops_are_pieces_of_each_image() -> None:
    x = torch.arange(2 * 3 * 6 * 8).float().view(2, 3, 6, 8)
    found = crop(x, (4, 2), torch.tensor([2, 0]), torch.tensor([6, 3]))
    torch.testing.assert_close(found[0], x[0, :, 2:6, 6:8])
    torch.testing.assert_close(found[1], x[1, :, 0:4, 3:5])


def test_training_crops_lie_anywhere_and_keep_the_share() -> None:
    torch.manual_seed(0)
    place = torch.arange(16 * 24).float().view(1, 1, 16, 24).expand(400, 3, -1, -1)
    found = Upsampler(SMALL).crops(place)
    assert found.shape == (400, 3, 8, 12)
    first = found[:, 0, 0, 0].long()
    assert set((first // 24).tolist()) == set(range(9))
    assert set((first % 24).tolist()) == set(range(13))
    model = Upsampler(replace(SMALL, crop=0.25))
    with pytest.raises(
        ValueError, match=r"crops of \(3, 6\), of images of \(12, 24\), must be mul"
    ):
        model.crops(torch.zeros(1, 3, 12, 24))


@torch.no_grad()
def test_the_network_sees_the_small_image_made_large() -> None:
    torch.manual_seed(1)
    model = Upsampler(SMALL).eval()
    randomise(model)
    noisy, small, t = torch.randn(2, 3, 8, 12), torch.randn(2, 3, 4, 6), torch.tensor([4, 40])
    wide = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    wanted = model.unet(torch.cat([noisy, wide], dim=1), t)
    torch.testing.assert_close(model.answer(noisy, t, small), wanted)
    assert not torch.allclose(model.answer(noisy, t, -small), wanted, atol=1e-2)


@pytest.mark.parametrize("damage", ["none", "blur", "mixed"])
def test_every_weight_gets_a_gradient(damage: str) -> None:
    torch.manual_seed(2)
    model = Upsampler(replace(SMALL, damage=damage))  # type: ignore[arg-type]
    randomise(model)
    model({"images": torch.rand(2, 3, 32, 16) * 2 - 1})["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def test_damage_is_done_to_the_small_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for damage in ("none", "blur", "mixed"):
        torch.manual_seed(3)
        model = Upsampler(replace(SMALL, damage=damage, crop=1.0))  # type: ignore[arg-type]

        def spy(noisy: Tensor, t: Tensor, small: Tensor, damage: str = damage) -> Tensor:
            seen[damage] = (noisy, small)
            return torch.zeros_like(noisy)

        monkeypatch.setattr(model, "answer", spy)
        images = torch.rand(2, 3, 16, 16) * 2 - 1
        model.losses({"images": images})
        shrunk = model.shrink(images)
        assert seen[damage][1].shape == shrunk.shape
        assert torch.allclose(seen[damage][1], shrunk) == (damage == "none")


@pytest.mark.parametrize("sides", [(4, 4), (6, 10)])
def test_whole_images_of_any_shape_are_made_larger(sides: tuple[int, int]) -> None:
    torch.manual_seed(4)
    model = Upsampler(SMALL).eval()
    randomise(model)
    small = torch.rand(1, 3, *sides) * 2 - 1
    a, b = (model.sample(small, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert a.shape == (1, 3, 2 * sides[0], 2 * sides[1]) and torch.equal(a, b)


def test_it_learns_to_restore_what_shrinking_lost() -> None:
    """Stripes of a known phase: bilinear enlargement is far off, the upsampler is near."""
    torch.manual_seed(5)
    config = replace(
        SMALL,
        crop=1.0,
        damage="none",
        unet=UNetConfig(16, 1, (1,), attention=(), groups=4, dropout=0.0),
        diffusion=DiffusionConfig(50, predicts="clean"),
    )
    model = Upsampler(config)

    def images(count: int) -> Tensor:
        colour = torch.rand(count, 3, 1, 1) - 0.5
        stripes = 0.5 - (torch.arange(8) % 2).float()
        return (colour + stripes).expand(-1, -1, 8, -1)

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95))
    for step in range(80):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / 80)
        optimizer.zero_grad()
        model({"images": images(8)})["loss"].backward()
        optimizer.step()
    model.eval()
    large = images(4)
    small = model.shrink(large)
    error = (model.sample(small) - large).square().mean()
    bilinear = (F.interpolate(small, scale_factor=2, mode="bilinear") - large).square().mean()
    assert float(bilinear) > 0.2 and float(error) < 0.06


def test_bfloat16_is_near_float32() -> None:
    torch.manual_seed(6)
    model = Upsampler(SMALL).eval()
    randomise(model)
    noisy, small, t = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4), torch.tensor([25])
    with torch.no_grad():
        wanted = model.answer(noisy, t, small)
        found = model.bfloat16().answer(noisy, t, small).float()
    assert float((found - wanted).abs().max()) < 0.1 * float(wanted.abs().max())


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match=r"attention=\(2,\) must be \(\)"):
        Upsampler(replace(SMALL, unet=replace(SMALL.unet, attention=(2,))))
    with pytest.raises(ValueError, match="learns no variance"):
        Upsampler(replace(SMALL, diffusion=DiffusionConfig(variance="learned")))


@pytest.mark.parametrize(
    ("config", "count", "steps"),
    [(UPSAMPLER_700M, 729_702_083, 27), (UPSAMPLER_300M, 282_059_139, 15)],
)
def test_sizes_are_the_papers(config: UpsamplerConfig, count: int, steps: int) -> None:
    with torch.device("meta"):
        model = Upsampler(config)
    assert sum(p.numel() for p in model.parameters()) == count
    assert not any(isinstance(module, PixelAttention) for module in model.modules())
    assert len(strided(1000, config.sampler.steps)) == steps
