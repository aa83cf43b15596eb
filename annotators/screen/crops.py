"""Lines of text cut out of a screen, as EasyOCR's recogniser wants them: grey and 64 pixels high.

A crop is padded on the right, by its last column, to a whole multiple of its height. That width is
a matter of the crop alone, so crops of one width make a batch in which each is what it would be by
itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotators.screen.layout import Edges

Grey = npt.NDArray[np.uint8]
HEIGHT = 64


@dataclass(frozen=True)
class Crop:
    """A line cut out."""

    screen: int
    """Which of the screens it is of."""
    edges: Edges
    pixels: Grey
    """(HEIGHT, at most `width`)."""
    width: int

    def padded(self) -> Grey:
        """(HEIGHT, width)."""
        return np.pad(self.pixels, ((0, 0), (0, self.width - self.pixels.shape[1])), "edge")


def at_height(cut: Grey, cubic: bool) -> tuple[Grey, int]:
    """A piece of a screen (h, w), neither 0, at HEIGHT, and the width that it is padded to.

    What is higher than wide is first enlarged along its height, as EasyOCR does, then laid small.
    """
    import cv2
    from PIL import Image

    high, wide = cut.shape
    ratio = max(wide / high, high / wide)
    padded = math.ceil(ratio) * HEIGHT
    longer = int(HEIGHT * ratio)
    size = (longer, HEIGHT) if wide >= high else (HEIGHT, longer)
    method = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    pixels: Grey = cv2.resize(cut, size, interpolation=method)
    if len(pixels) != HEIGHT:
        size = math.ceil(HEIGHT * HEIGHT / longer), HEIGHT
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    return pixels, padded
