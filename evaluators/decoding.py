"""Evaluation images to pixels, with the ones that cannot be decoded marked and not lost.

Shapes: N images, S of them decoded, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluators.zero_shot import Vectors

if TYPE_CHECKING:
    from models.pixels import Fit


def decodable(
    images: Sequence[bytes], size: tuple[int, int], fit: Fit
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The images that decode, as uint8 (S, 3, H, W), and their places (S,) among the N."""
    from PIL import Image

    from models.pixels import decode

    pixels, places = [], []
    for place, image in enumerate(images):
        try:
            pixels.append(decode(image, size, fit))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue  # all that Pillow raises on broken bytes; the caller's NaN row counts it
        places.append(place)
    stacked = np.stack(pixels) if pixels else np.empty((0, 3, *size), dtype=np.uint8)
    return stacked, np.array(places, dtype=np.int64)


def spread(vectors_SD: Vectors, places_S: npt.NDArray[np.int64], n: int) -> Vectors:
    """(N, D): each vector at its place, NaN rows elsewhere."""
    out = np.full((n, vectors_SD.shape[1]), np.nan, dtype=np.float32)
    out[places_S] = vectors_SD
    return out
