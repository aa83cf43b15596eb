"""Each kind of augmentation alone, against torchvision or by what it must leave unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from models.pixels import DEVIATION, MEAN, normalise
from models.training.augment import DRAWS, NONE, AugmentConfig, affine, augment, draws


def raw(normalised: Tensor) -> Tensor:
    """Back to [0, 255]."""
    scale = torch.tensor(DEVIATION).view(3, 1, 1)
    return (normalised * scale + torch.tensor(MEAN).view(3, 1, 1)) * 255


def fixed(**values: float) -> Tensor:
    """One record's draws, at the middle but where told."""
    u = torch.full((1, DRAWS), 0.5)
    for name, value in values.items():
        u[0, int(name[1:])] = value
    return u


@pytest.fixture
def pixels() -> Tensor:
    small = torch.randint(0, 256, (1, 3, 5, 5), generator=torch.Generator().manual_seed(0)).float()
    return torch.nn.functional.interpolate(small, size=40, mode="bilinear").to(torch.uint8)


def test_draws_depend_on_seed_epoch_and_id_alone() -> None:
    first = draws(0, 1, ["a", "b", "c"])
    assert torch.equal(draws(0, 1, ["c", "a"]), first[[2, 0]])
    assert not torch.equal(draws(0, 2, ["a"]), first[:1])
    assert not torch.equal(draws(1, 1, ["a"]), first[:1])
    many = draws(0, 0, [str(i) for i in range(4000)]).numpy()
    assert many.min() >= 0 and many.max() < 1
    assert np.abs(many.mean(axis=0) - 0.5).max() < 0.02
    assert np.abs(np.corrcoef(many.T) - np.eye(DRAWS)).max() < 0.08


def test_none_is_normalisation_alone(pixels: Tensor) -> None:
    assert torch.equal(augment(pixels, NONE, fixed(), (40, 40)), normalise(pixels))


def test_crop_shows_a_part(pixels: Tensor) -> None:
    config = AugmentConfig(least_area=0.25, most_area=0.25, aspect=1.0)
    corner = raw(augment(pixels, config, fixed(u2=0.0, u3=0.0), (20, 20)))
    torch.testing.assert_close(corner, pixels[:, :, :20, :20].float(), atol=1e-2, rtol=0)
    corner = raw(augment(pixels, config, fixed(u2=1.0, u3=0.0), (20, 20)))
    torch.testing.assert_close(corner, pixels[:, :, :20, 20:].float(), atol=1e-2, rtol=0)


def test_crops_stay_inside_and_have_the_asked_area() -> None:
    config = AugmentConfig(least_area=0.3, most_area=0.8, aspect=1.2)
    theta = affine(config, draws(0, 0, [str(i) for i in range(500)]), 1.0)
    assert (theta[:, 0, 0] + theta[:, 0, 2].abs() <= 1 + 1e-5).all()
    assert (theta[:, 1, 1] + theta[:, 1, 2].abs() <= 1 + 1e-5).all()
    area = theta[:, 0, 0] * theta[:, 1, 1]
    assert 0.3 <= float(area.min()) < 0.35 and 0.75 < float(area.max()) <= 0.8 + 1e-5
    stretch = theta[:, 0, 0] / theta[:, 1, 1]
    assert float(stretch.min()) >= 1 / 1.2 - 1e-4 and float(stretch.max()) <= 1.2 + 1e-4


def test_rotation_is_torchvisions(pixels: Tensor) -> None:
    config = AugmentConfig(least_area=1.0, aspect=1.0, rotation=30.0)
    ours = raw(augment(pixels, config, fixed(u4=1.0), (40, 40)))
    bilinear = v2.InterpolationMode.BILINEAR
    turned = v2.functional.rotate(pixels.float(), 30.0, bilinear)
    centre = slice(10, 30)  # what comes from outside differs: theirs is black
    gap = (ours - turned)[:, :, centre, centre].abs().max()
    other = v2.functional.rotate(pixels.float(), -30.0, bilinear)
    assert gap < 0.5
    assert (ours - other)[:, :, centre, centre].abs().max() > 0.5


def test_rotation_of_a_wide_frame_keeps_angles() -> None:
    square = affine(AugmentConfig(1.0, 1.0, 1.0, rotation=90.0), fixed(u4=1.0), 0.5)[0]
    # a quarter turn of a frame twice as wide as high: x takes y's place, at half the reach
    torch.testing.assert_close(
        square, torch.tensor([[0.0, -0.5, 0.0], [2.0, 0.0, 0.0]]), atol=1e-6, rtol=0
    )


def test_flip_mirrors_half(pixels: Tensor) -> None:
    config = AugmentConfig(least_area=1.0, aspect=1.0, flip=True)
    mirrored = raw(augment(pixels, config, fixed(u5=0.4), (40, 40)))
    torch.testing.assert_close(mirrored, pixels.flip(3).float(), atol=2e-2, rtol=0)
    straight = raw(augment(pixels, config, fixed(u5=0.6), (40, 40)))
    torch.testing.assert_close(straight, pixels.float(), atol=2e-2, rtol=0)


def test_colour_is_torchvisions(pixels: Tensor) -> None:
    dull = (pixels // 3 + 80).float() / 255  # nothing to clamp
    for name, draw in (("brightness", 6), ("contrast", 7), ("saturation", 8)):
        config = AugmentConfig(1.0, 1.0, 1.0, **{name: 0.3})
        ours = raw(
            augment((dull * 255).to(torch.uint8), config, fixed(**{f"u{draw}": 1.0}), (40, 40))
        )
        wanted = 255 * getattr(v2.functional, f"adjust_{name}")(dull, 1.3)
        torch.testing.assert_close(ours, wanted, atol=0.2, rtol=0, msg=name)


def test_transparency_is_white_or_a_random_colour(pixels: Tensor) -> None:
    clear = torch.cat([pixels, torch.zeros_like(pixels[:, :1])], dim=1)
    config = AugmentConfig(1.0, 1.0, 1.0, background=0.5)
    white = raw(augment(clear, config, fixed(u9=0.9), (40, 40)))
    torch.testing.assert_close(white, torch.full_like(white, 255.0), atol=1e-2, rtol=0)
    coloured = raw(augment(clear, config, fixed(u9=0.1, u10=0.2, u11=0.4, u12=0.6), (40, 40)))
    wanted = 255 * torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand_as(coloured)
    torch.testing.assert_close(coloured, wanted, atol=1e-2, rtol=0)
