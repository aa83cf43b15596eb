"""Crops at the recogniser's height beside EasyOCR's."""

from __future__ import annotations

import numpy as np
import pytest

from annotators.screen.crops import HEIGHT, Crop, at_height


@pytest.mark.parametrize("seed", range(8))
def test_crops_equal_easyocrs_to_the_pixel(seed: int) -> None:
    from easyocr.recognition import AlignCollate
    from easyocr.utils import get_image_list
    from PIL import Image

    draw = np.random.default_rng(seed)
    high, wide = draw.integers(3, 90, 2) * ([1, 4] if seed % 2 else [2, 1])
    screen = draw.integers(0, 255, (high, wide), np.uint8)
    [(_, theirs)], width = get_image_list([[0, wide, 0, high]], [], screen, HEIGHT)
    pixels, padded = at_height(screen, cubic=False)
    assert padded == width
    tensor = AlignCollate(imgH=HEIGHT, imgW=width)([Image.fromarray(theirs, "L")])[0, 0]
    ours = Crop(0, (0, 1, 0, 1), pixels, padded).padded()
    assert ours.shape == (HEIGHT, width)
    np.testing.assert_allclose(ours / 127.5 - 1, tensor.numpy(), atol=1e-6)


def test_a_cubic_filter_gives_other_pixels_of_the_same_size() -> None:
    cut = np.random.default_rng(0).integers(0, 255, (20, 100), np.uint8)
    linear, cubic = at_height(cut, cubic=False)[0], at_height(cut, cubic=True)[0]
    assert linear.shape == cubic.shape and (linear != cubic).any()
