"""Blur and JPEG against scipy and Pillow; what the random damages do."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate
from torch import Tensor

from models.dalle2.degradation import REACH, blur, blurred, degraded, jpeg, uniform


def picture(seed: int, height: int, width: int, count: int = 2) -> Tensor:
    """Smooth colours with edges and a little noise, in [-1, 1]."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    phase = torch.rand(count, 3, 1, 1, generator=g) * 6
    image = torch.sin(phase + x / 5 + phase * y / 9) + (x > width // 2).float() - 0.5
    return (0.7 * image + 0.05 * torch.randn(image.shape, generator=g)).clamp(-1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_blur_is_a_correlation_with_a_turned_normal(seed: int) -> None:
    """To 1e-5 against scipy, each image with its own kernel."""
    torch.manual_seed(seed)
    x = picture(seed, 9 + seed, 12)
    across, along = 0.3 + torch.rand(2, 2)
    angle = torch.rand(2) * math.pi
    found = blur(x, across, along, angle)
    place = np.arange(REACH) - REACH // 2
    v, u = np.meshgrid(place, place, indexing="ij")
    for row in range(2):
        a, b, t = float(across[row]), float(along[row]), float(angle[row])
        precision = np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]])
        first, second = np.einsum("ij,jkl->ikl", precision, np.stack([u, v]))
        kernel = np.exp(-0.5 * ((first / a) ** 2 + (second / b) ** 2))
        for channel in range(3):
            wanted = correlate(
                x[row, channel].double().numpy(), kernel / kernel.sum(), mode="nearest"
            )
            np.testing.assert_allclose(found[row, channel].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("quality", [20, 33, 50, 75, 92])
def test_jpeg_loses_what_pillow_loses(quality: int) -> None:
    """Pillow's transforms are of integers: what is left between ours and theirs is less than a
    fifth of what the compression changes, and 16 of 255 levels at most.
    """
    x = picture(quality, 40, 28)
    found = (jpeg(x, torch.full((2,), quality)) + 1) * 127.5
    for row in range(2):
        levels = ((x[row] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling=0)
        theirs = np.asarray(Image.open(file)).astype(np.float32)
        ours = found[row].permute(1, 2, 0).numpy()
        lost = np.abs(theirs - levels).mean()
        assert np.abs(ours - theirs).mean() < 0.2 * lost
        assert np.abs(ours - theirs).max() <= 16.01


def test_each_image_has_its_own_quality() -> None:
    x = picture(1, 16, 16, count=1).repeat(3, 1, 1, 1)
    found = jpeg(x, torch.tensor([5.0, 40.0, 95.0]))
    errors = (found - x).abs().mean(dim=(1, 2, 3)).tolist()
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    torch.testing.assert_close(found[1:2], jpeg(x[:1], torch.tensor([40.0])))


@pytest.mark.parametrize("size", [(16, 16), (9, 23), (4, 4)])
def test_damaged_images_keep_size_and_range_and_resemblance(size: tuple[int, int]) -> None:
    x = picture(2, *size, count=6)
    orders = set()
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        found = degraded(x, generator)
        assert found.shape == x.shape and float(found.abs().max()) <= 1.0
        error = float((found - x).square().mean())
        assert 0.0005 < error < 0.2
        orders.add(error)
        torch.testing.assert_close(degraded(x, torch.Generator().manual_seed(seed)), found)
    assert len(orders) == 6
    soft = blurred(x, torch.Generator().manual_seed(0))
    assert 0 < float((soft - x).square().mean()) < 0.1
    flat = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(blurred(flat), flat)


def test_draws_are_one_an_image() -> None:
    drawn = uniform(torch.zeros(500, 3, 2, 2), 2.0, 3.0)
    assert drawn.shape == (500, 1, 1, 1)
    assert 2.0 <= float(drawn.min()) < 2.05 and 2.95 < float(drawn.max()) < 3.0
