"""An encoded image as the networks of `models/` take it: the `Prepare` of every captioner and
matcher that runs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.pixels import Fit, decode, normalise

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """An encoded image to the bytes of its pixels, uint8 (3, height, width)."""

    size: tuple[int, int]  # height and width, pixels
    fit: Fit = "pad"  # how an image of another shape gets into it

    def __call__(self, image: bytes) -> bytes:
        """Raises what Pillow raises for what it cannot read."""
        return decode(image, self.size, self.fit).tobytes()

    def tensor(self, images: Sequence[bytes]) -> Tensor:
        """Normalised float pixels (B, 3, height, width) of prepared images."""
        import torch

        pixels = np.stack([np.frombuffer(image, np.uint8) for image in images])
        return normalise(torch.from_numpy(pixels.reshape(-1, 3, *self.size).copy()))
