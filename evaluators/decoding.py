"""Evaluation images to pixels, with the ones that cannot be decoded marked and not lost.

Shapes: N images, S of them decoded, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluators.zero_shot import Vectors

if TYPE_CHECKING:
    from models.pixels import Fit


def decodable(
    images: Sequence[bytes], size: tuple[int, int], fit: Fit
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The images that decode, as uint8 (S, 3, H, W), and their places (S,) among the N.

    As many threads decode as torch computes with: Pillow lets go of the interpreter meanwhile.
    """
    import torch
    from PIL import Image

    from models.pixels import decode

    def tried(image: bytes) -> npt.NDArray[np.uint8] | None:
        try:
            return decode(image, size, fit)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return None  # all that Pillow raises on broken bytes; the caller's NaN row counts it

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = dict(enumerate(pool.map(tried, images)))
    pixels = {place: image for place, image in found.items() if image is not None}
    stacked = np.stack(list(pixels.values())) if pixels else np.empty((0, 3, *size), np.uint8)
    return stacked, np.array(list(pixels), dtype=np.int64)


def spread(vectors_SD: Vectors, places_S: npt.NDArray[np.int64], n: int) -> Vectors:
    """(N, D): each vector at its place, NaN rows elsewhere."""
    out = np.full((n, vectors_SD.shape[1]), np.nan, dtype=np.float32)
    out[places_S] = vectors_SD
    return out
