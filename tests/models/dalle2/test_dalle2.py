"""The whole: what is frozen, what goes where, files, and captions that become their images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp
from torch import Tensor, nn
from torch.nn import functional as F

from models import weights
from models.clip import CLIP, CLIPConfig, TextConfig
from models.dalle2.autoregressive_prior import ARPriorConfig
from models.dalle2.caption_encoder import CaptionConfig
from models.dalle2.dalle2 import (
    DALLE2,
    DALLE_2,
    DALLE_2_SMALL,
    DALLE2Config,
    on_sphere,
    signed,
    slerp,
    to_bytes,
)
from models.dalle2.diffusion import DiffusionConfig
from models.dalle2.diffusion_prior import DiffusionPriorConfig
from models.dalle2.pixel_decoder import DecoderConfig
from models.dalle2.sampling import Sampler
from models.dalle2.unet import UNetConfig
from models.dalle2.upsampler import UpsamplerConfig
from models.pixels import normalise
from models.vision.vit import ViTConfig
from tests.models.drawing import randomise

CLIP_TINY = CLIPConfig(
    ViTConfig((8, 8), 4, width=16, depth=1, heads=2, patch_dropout=0.5),
    TextConfig(context_length=6, vocab_size=20, width=12, depth=1, heads=2),
    embedding=8,
)
PRIOR_TINY = DiffusionPriorConfig(
    embedding=8,
    text_width=12,
    text_length=6,
    width=32,
    depth=1,
    heads=2,
    diffusion=DiffusionConfig(50, predicts="clean", variance="analytic", limit=None),
    sampler=Sampler(steps=(10,)),
)
AR_TINY = ARPriorConfig(
    embedding=8,
    text_width=12,
    text_length=6,
    codes=5,
    buckets=12,
    dot_buckets=4,
    width=32,
    depth=1,
    heads=2,
)
DECODER_TINY = DecoderConfig(
    image_size=(8, 8),
    embedding=8,
    captions=CaptionConfig(4, 20, 16, 1, 2),
    unet=UNetConfig(16, 1, (1, 2), (2,), 16, groups=4, dropout=0.0),
    diffusion=DiffusionConfig(100, variance="learned", predicts="clean"),
    sampler=Sampler("ddim", (20,)),
)
UPSAMPLER_TINY = UpsamplerConfig(
    factor=2,
    crop=0.5,
    unet=UNetConfig(8, 1, (1, 2), attention=(), groups=4, dropout=0.0),
    diffusion=DiffusionConfig(50, predicts="clean"),
    sampler=Sampler("ddim", (4,)),
)
TINY = DALLE2Config(CLIP_TINY, PRIOR_TINY, DECODER_TINY, (UPSAMPLER_TINY,))


def captions(count: int) -> Tensor:
    """Different texts of two or three words, ends and padding after them."""
    ids = torch.zeros(count, 6, dtype=torch.int64)
    for row in range(count):
        ids[row, : 3 + row % 2] = torch.tensor([1 + row, 9 - row, 3, 4][: 3 + row % 2])
        ids[row, 3 + row % 2] = 19
    return ids


def batch(count: int, side: int = 16) -> dict[str, Tensor]:
    return {
        "pixels": normalise(torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)),
        "tokens": captions(count),
    }


@pytest.mark.parametrize("prior", [PRIOR_TINY, AR_TINY])
def test_clip_is_frozen_and_everything_else_learns(
    prior: DiffusionPriorConfig | ARPriorConfig,
) -> None:
    torch.manual_seed(0)
    decoder = replace(DECODER_TINY, drop_embedding=0.4)
    model = DALLE2(replace(TINY, prior=replace(prior, drop_text=0.4), decoder=decoder)).train()
    randomise(model)
    losses = model(batch(8))
    losses["loss"].backward()
    names = {"prior_loss", "decoder_loss", "decoder_bound", "upsampler_0_loss"}
    assert names <= set(losses)
    parts = [losses[name] for name in ("prior_loss", "decoder_loss", "upsampler_0_loss")]
    torch.testing.assert_close(losses["loss"].detach(), torch.stack(parts).sum())
    assert not any(value.requires_grad for name, value in losses.items() if name != "loss")
    for name, parameter in model.named_parameters():
        if name.startswith("clip."):
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
    assert not model.clip.training and model.decoder.training


@pytest.mark.parametrize("trained", [("prior",), ("decoder",), ("upsamplers",)])
def test_parts_that_are_not_trained_stay_as_they_are(trained: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    model = DALLE2(replace(TINY, trained=trained)).train()  # type: ignore[arg-type]
    losses = model(batch(4))
    losses["loss"].backward()
    moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert moved == set(trained)
    assert {name.split("_")[0] for name in losses} == {"loss", trained[0].removesuffix("s")}
    modes = {name: getattr(model, name).training for name in ("prior", "decoder", "upsamplers")}
    assert [name for name, mode in modes.items() if mode] == list(trained)


@torch.no_grad()
def test_embeddings_are_clips_on_a_sphere() -> None:
    torch.manual_seed(2)
    model = DALLE2(TINY).eval()
    randomise(model.clip)
    given = batch(5)
    text = model.encode_text(given["tokens"])
    wanted = math.sqrt(8) * F.normalize(model.clip.encode_text(given["tokens"]), dim=1)
    torch.testing.assert_close(text.embedding_BE, wanted, atol=1e-5, rtol=0)
    assert text.real_BT.sum(dim=1).tolist() == [4, 5, 4, 5, 4]
    assert text.features_BTC.shape == (5, 5, 12)
    image = model.encode_image(given["pixels"][:, :, :8, :8])
    wanted = math.sqrt(8) * F.normalize(
        model.clip.encode_image(given["pixels"][:, :, :8, :8]), dim=1
    )
    torch.testing.assert_close(image, wanted, atol=1e-5, rtol=0)
    assert model.encode_image(given["pixels"]).shape == (5, 8)


def test_pixels_go_there_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, -1, -1)
    images = signed(normalise(levels))
    assert float(images.min()) == pytest.approx(-1, abs=1e-5)
    assert float(images.max()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(to_bytes(images), levels)
    assert to_bytes(torch.tensor([[[[-3.0, 3.0]]]])).flatten().tolist() == [0, 255]


@pytest.mark.parametrize("seed", range(3))
def test_slerp_is_scipys(seed: int) -> None:
    torch.manual_seed(seed)
    a, b = on_sphere(torch.randn(2, 7)), on_sphere(torch.randn(2, 7))
    for share in (0.0, 0.3, 1.0):
        found = slerp(a, b, share)
        norm = math.sqrt(7)
        for row in range(2):
            ends = [(x[row] / norm).double().numpy() for x in (a, b)]
            ends = [x / np.linalg.norm(x) for x in ends]
            wanted = norm * geometric_slerp(*ends, share)
            np.testing.assert_allclose(found[row].numpy(), wanted, atol=1e-4)
    torch.testing.assert_close(slerp(a, a, 0.4), a, atol=1e-3, rtol=0)
    images = torch.randn(2, 3, 4, 4)
    assert slerp(images, torch.randn(2, 3, 4, 4), 0.5).shape == images.shape


@pytest.mark.parametrize("prior", [PRIOR_TINY, AR_TINY])
def test_generated_images_depend_on_caption_and_generator(
    prior: DiffusionPriorConfig | ARPriorConfig,
) -> None:
    torch.manual_seed(3)
    model = DALLE2(replace(TINY, prior=prior)).eval()
    randomise(model)
    ids = captions(1)

    def made(ids: Tensor, seed: int) -> Tensor:
        return model.generate(ids, torch.Generator().manual_seed(seed))

    found = made(ids, 1)
    assert found.shape == (1, 3, 16, 16) and found.dtype == torch.uint8
    assert torch.equal(made(ids, 1), found)
    assert not torch.equal(made(ids, 2), found)
    assert not torch.equal(made(captions(2)[1:], 1), found)


def test_built_without_memory_and_filled_it_is_the_same() -> None:
    """Every number that it needs is in the state dict, which safetensors can hold."""
    from safetensors.torch import load, save

    torch.manual_seed(4)
    for prior in (PRIOR_TINY, AR_TINY):
        config = replace(TINY, prior=prior)
        model = DALLE2(config).eval()
        randomise(model)
        data = save(model.state_dict())
        with torch.device("meta"):
            other = DALLE2(config)
        other = other.to_empty(device="cpu").eval()
        other.load_state_dict(load(data))
        wanted, found = (
            each.generate(captions(2), torch.Generator().manual_seed(1)) for each in (model, other)
        )
        assert torch.equal(wanted, found)


def test_a_folder_holds_all_of_it(tmp_path: Path) -> None:
    torch.manual_seed(9)
    for prior in (PRIOR_TINY, AR_TINY):
        model = DALLE2(replace(TINY, prior=prior, trained=("decoder",))).eval()
        folder = str(tmp_path / type(prior).__name__)
        weights.save(model, folder)
        other = weights.load(folder)
        assert isinstance(other, DALLE2) and other.config == model.config
        for name, tensor in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name


def pictures() -> Tensor:
    """Four images (4, 3, 8, 8), uint8, of a colour each with a bright bar."""
    colours = torch.tensor([[200, 30, 30], [30, 200, 30], [30, 30, 200], [160, 160, 20]])
    images = colours[:, :, None, None].expand(-1, -1, 8, 8).clone()
    for row in range(4):
        images[row, :, :, 2 * row : 2 * row + 2] = 250
    return images.to(torch.uint8)


def off(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean square difference of uint8 images on a scale of [-1, 1]."""
    return ((found.float() - wanted.float()) / 127.5).square().mean(dim=(1, 2, 3))


def fit(model: nn.Module, given: dict[str, Tensor], steps: int, rate: float) -> None:
    """AdamW with a rate that falls to nothing."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.95))
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        model(given)["loss"].backward()
        optimizer.step()
    model.eval()


def test_captions_become_their_images() -> None:
    """From nothing, in seconds: four captions and their images train a CLIP, and under it a prior
    and a decoder. A caption's image is then its own, as is a variation of it; a blend begins at one
    image and ends at the other, and an edit begins at its image. Every other image, and noise, is
    off by five times as much as is allowed.
    """
    torch.manual_seed(5)
    images, ids = pictures(), captions(4)
    pixels = normalise(images)
    clip = CLIP(replace(CLIP_TINY, vision=replace(CLIP_TINY.vision, patch_dropout=0.0)))
    fit(clip, {"pixels": pixels, "tokens": ids}, 80, 5e-3)
    model = DALLE2(replace(TINY, upsamplers=()))
    model.clip.load_state_dict(clip.state_dict())
    fit(model, {"pixels": pixels.repeat(2, 1, 1, 1), "tokens": ids.repeat(2, 1)}, 120, 4e-3)
    limit = 0.06
    noise = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    for wrong in (*(images.roll(shift, 0) for shift in (1, 2, 3)), noise):
        assert float(off(wrong, images).min()) > 5 * limit
    made = model.generate(ids, torch.Generator().manual_seed(0))
    other, others = pixels.roll(1, 0), images.roll(1, 0)
    for found, wanted in (
        (made, images),
        (model.variations(pixels, eta=1.0), images),
        (model.blended(pixels, other, 0.0), images),
        (model.blended(pixels, other, 1.0), others),
        (model.edited(pixels, ids.roll(1, 0), ids, share=0.0), images),
    ):
        assert float(off(found, wanted).max()) < limit
    turned = model.edited(pixels, ids.roll(1, 0), ids, share=0.5)
    assert float(off(turned, images).max()) > 5 * limit


@pytest.mark.parametrize(
    ("config", "total", "trained"),
    [(DALLE_2, 6_787_908_685, 5_801_385_548), (DALLE_2_SMALL, 17_207_658, 0)],
)
def test_sizes(config: DALLE2Config, total: int, trained: int) -> None:
    with torch.device("meta"):
        model = DALLE2(config)
    assert sum(p.numel() for p in model.parameters()) == total
    learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
    clip = sum(p.numel() for p in model.clip.parameters())
    assert learns == total - clip and (not trained or learns == trained)


def test_parts_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"DecoderConfig.embedding=9, CLIP's is 8"):
        DALLE2(replace(TINY, decoder=replace(DECODER_TINY, embedding=9)))
    with pytest.raises(ValueError, match=r"prior.text_width=9, CLIP's is 12"):
        DALLE2(replace(TINY, prior=replace(PRIOR_TINY, text_width=9)))
    with pytest.raises(ValueError, match=r"trained=\['clip'\] must be among"):
        DALLE2(replace(TINY, trained=("clip",)))  # type: ignore[arg-type]
