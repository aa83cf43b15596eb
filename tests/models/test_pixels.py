"""Decoding: frames, transparency, normalisation."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from models.pixels import DEVIATION, MEAN, decode, decode_many, normalise


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth colours, so that resizing rules differ by little where they agree."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = [255 * x, 255 * y, 255 * (1 - x), 255 * (x > 0.5)][: len(mode)]
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8), mode)


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64)])
def test_crop_is_clips_preprocessing(size: tuple[int, int]) -> None:
    image = picture(*size)
    both = v2.Compose([v2.Resize(32, v2.InterpolationMode.BICUBIC), v2.CenterCrop(32)])
    wanted = np.asarray(both(image)).transpose(2, 0, 1).astype(int)
    assert np.abs(decode(encoded(image), (32, 32)).astype(int) - wanted).max() <= 3


@pytest.mark.parametrize("frame", [(32, 32), (64, 64), (48, 80)])
def test_crop_takes_images_of_any_side(frame: tuple[int, int]) -> None:
    """Of some, such as 49 pixels into 32, half the rest of the division is -1e-14 and not 0."""
    for side in range(1, 260):
        assert decode(encoded(picture(side, 7)), frame).shape == (3, *frame)
        assert decode(encoded(picture(7, side)), frame).shape == (3, *frame)
        assert decode(encoded(picture(side, side)), frame).shape == (3, *frame)


def test_stretch_fills_the_frame_with_the_whole_image() -> None:
    image = picture(90, 60)
    whole = v2.Resize((32, 48), v2.InterpolationMode.BICUBIC)
    wanted = np.asarray(whole(image)).transpose(2, 0, 1).astype(int)
    assert np.abs(decode(encoded(image), (32, 48), "stretch").astype(int) - wanted).max() <= 3


def test_pad_shows_the_whole_image() -> None:
    out = decode(encoded(Image.new("RGB", (80, 40), (255, 0, 0))), (32, 32), "pad")
    assert out.shape == (3, 32, 32)
    assert (out[:, 8:24] == np.array([255, 0, 0])[:, None, None]).all()
    assert (out[:, :8] == 255).all() and (out[:, 24:] == 255).all()


def test_transparency_lies_over_the_background_or_is_kept() -> None:
    image = picture(32, 32, "RGBA")
    over = decode(encoded(image), (32, 32), background=(10, 20, 30))
    assert (over[:, :, :16] == np.array([10, 20, 30])[:, None, None]).all()
    assert (over[:, :, 16:] == decode(encoded(image.convert("RGB")), (32, 32))[:, :, 16:]).all()
    kept = decode(encoded(image), (32, 32), alpha=True)
    assert kept.shape == (4, 32, 32) and set(np.unique(kept[3])) == {0, 255}
    opaque = decode(encoded(image.convert("RGB")), (32, 32), alpha=True)
    assert (opaque[3] == 255).all()


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("CMYK", "JPEG"), ("RGB", "WEBP")]
)
def test_other_modes_become_rgb(mode: str, kind: str) -> None:
    assert decode(encoded(picture(40, 40).convert(mode), kind), (16, 16)).shape == (3, 16, 16)


def test_a_pool_changes_nothing() -> None:
    images = [encoded(picture(40 + i, 50)) for i in range(5)]
    with ThreadPoolExecutor(2) as pool:
        out = decode_many(images, (16, 24), pool=pool)
    assert out.shape == (5, 3, 16, 24)
    assert (out == np.stack([decode(data, (16, 24)) for data in images])).all()


def test_normalise_is_torchvisions() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    wanted = v2.functional.normalize(pixels / 255, list(MEAN), list(DEVIATION))
    torch.testing.assert_close(normalise(pixels), wanted)
