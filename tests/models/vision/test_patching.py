"""Patches and places against transformers' Pix2Struct processors, over many shapes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import Pix2StructImageProcessor
from transformers.models.pix2struct.image_processing_pil_pix2struct import (
    Pix2StructImageProcessorPil,
)

from models.vision.patching import PatchingConfig, batch_patches, grid, patches, whitened

SHAPES = [
    (40, 20),
    (20, 40),
    (16, 16),
    (4, 4),
    (1, 1),
    (1, 50),
    (300, 2),
    (2, 700),
    (37, 53),
    (128, 96),
]


def image(height: int, width: int) -> Tensor:
    torch.manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize(("side", "budget"), [(4, 30), (8, 64), (16, 9), (5, 1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_patches_are_those_of_transformers(shape: tuple[int, int], side: int, budget: int) -> None:
    for whiten in (True, False):
        # the Pillow version divides by n, as the original; without whitening both are the same
        kind = Pix2StructImageProcessorPil if whiten else Pix2StructImageProcessor
        processor = kind(
            patch_size={"height": side, "width": side}, max_patches=budget, do_normalize=whiten
        )
        given = image(*shape)
        wanted = torch.as_tensor(processor(given, return_tensors="pt")["flattened_patches"])[0]
        found, places = patches(given, PatchingConfig(side, budget, whiten=whiten))
        count = len(places)
        assert torch.equal(places, wanted[:count, :2].long())
        assert float(wanted[count:].abs().sum()) == 0.0
        torch.testing.assert_close(found, wanted[:count, 2:], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("shape", "wanted"), [((40, 20), (7, 3)), ((20, 40), (3, 7)), ((16, 16), (5, 5))]
)
def test_grids_that_were_worked_out(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert grid(*shape, PatchingConfig(4, 30)) == wanted


def test_grids_keep_the_budget_and_the_aspect_ratio() -> None:
    config = PatchingConfig(16, 2024)
    for height, width in ((1920, 1080), (1080, 1920), (30000, 700), (64, 64), (1, 9000), (9000, 1)):
        rows, columns = grid(height, width, config)
        assert 1 <= rows * columns <= 2024
        if max(height, width) < 100 * min(height, width):
            assert abs(rows / columns / (height / width) - 1) < 0.15
    assert grid(1, 9000, config) == (1, 2024)
    with pytest.raises(ValueError, match="0 x 5 pixels has no patches"):
        grid(0, 5, config)


def test_the_fixed_grid_is_the_same_for_all() -> None:
    config = PatchingConfig(4, 30, kind="fixed", whiten=False)
    for shape in SHAPES:
        found, places = patches(image(*shape), config)
        assert places[-1].tolist() == [5, 5]
        assert found.shape == (25, 48)
    given = image(20, 20).float()
    found, places = patches(given, config)  # 20 pixels are 5 patches of 4: no resize
    for patch, (row, column) in zip(found, places.tolist(), strict=True):
        cut = given[:, 4 * row - 4 : 4 * row, 4 * column - 4 : 4 * column]
        torch.testing.assert_close(patch, cut.permute(1, 2, 0).flatten(), atol=1e-4, rtol=0)


def test_a_flat_image_becomes_zeros() -> None:
    assert float(whitened(torch.full((3, 8, 9), 77.0)).abs().max()) < 1e-4
    found = whitened(image(30, 20).float())
    assert abs(float(found.mean())) < 1e-5
    assert abs(float(found.std(correction=0)) - 1) < 1e-5


def test_a_batch_pads_with_place_0() -> None:
    config = PatchingConfig(4, 30)
    shapes = [(40, 20), (16, 16), (300, 2)]
    batch = batch_patches([image(*shape) for shape in shapes], config)
    longest = max(len(patches(image(*shape), config)[0]) for shape in shapes)
    assert batch["patches"].shape == (3, longest, config.numbers)
    for row, shape in enumerate(shapes):
        alone, places = patches(image(*shape), config)
        lack = longest - len(alone)
        assert torch.equal(batch["patches"][row, lack:], alone)
        assert torch.equal(batch["places"][row, lack:], places)
        assert int(batch["places"][row, :lack].sum()) == 0
        assert int((batch["places"][row, :, 0] > 0).sum()) == len(alone)
