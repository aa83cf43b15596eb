"""Encoded image bytes to the pixels that networks take, the same for training, scoring and
annotation.

Shapes: B batch, C channels (3, or 4 with alpha), H height, W width.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Fit = Literal["crop", "pad", "stretch"]
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of RGB in [0, 1]: CLIP's
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
WHITE = (255, 255, 255)


def decode(
    data: bytes,
    size: tuple[int, int],
    fit: Fit = "crop",
    alpha: bool = False,
    background: tuple[int, int, int] = WHITE,
) -> NDArray[np.uint8]:
    """One encoded image as uint8 (C, H, W) with (H, W) = `size`, bicubic with anti-aliasing.

    `crop` fills the frame and cuts what hangs over, evenly (CLIP's preprocessing); `pad` shows the
    whole image on `background`; `stretch` fills the frame with the whole image, whatever becomes of
    its shape (BLIP's). Transparency is laid over `background`, or kept as a fourth channel
    with `alpha`.
    """
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (2 * size[1], 2 * size[0]))  # JPEG: DCT scaling to twice the size
        transparent = image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info
        framed = _frame(image.convert("RGBA" if transparent else "RGB"), size, fit, background)
    if transparent and not alpha:
        canvas = Image.new("RGBA", framed.size, (*background, 255))
        canvas.alpha_composite(framed)
        framed = canvas
    pixels = np.asarray(framed.convert("RGBA" if alpha else "RGB"))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def whole(data: bytes) -> NDArray[np.uint8]:
    """One encoded image as uint8 (3, H, W) in its own size, transparency laid over white."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        size = (image.height, image.width)
    return decode(data, size)  # to its own size: no pixel is resampled


def _frame(image: Any, size: tuple[int, int], fit: Fit, background: tuple[int, int, int]) -> Any:
    """`image` (PIL, RGB or RGBA) resized into `size`, height and width."""
    from PIL import Image

    height, width = size
    columns, rows = width / image.width, height / image.height
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.BICUBIC)
    if fit == "crop":
        scale = max(columns, rows)
        left = max(0.0, (image.width - width / scale) / 2)  # rounding may leave -1e-14
        top = max(0.0, (image.height - height / scale) / 2)
        box = (left, top, image.width - left, image.height - top)
        return image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    scale = min(columns, rows)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    colour = (*background, 0) if image.mode == "RGBA" else background
    canvas = Image.new(image.mode, (width, height), colour)
    place = ((width - inner[0]) // 2, (height - inner[1]) // 2)
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), place)
    return canvas


def decode_many(
    images: Sequence[bytes],
    size: tuple[int, int],
    fit: Fit = "crop",
    alpha: bool = False,
    pool: ThreadPoolExecutor | None = None,
) -> NDArray[np.uint8]:
    """Images as uint8 (B, C, H, W); Pillow releases the GIL, so a thread pool uses every core."""
    out = np.empty((len(images), 4 if alpha else 3, *size), dtype=np.uint8)
    decoded = (pool.map if pool else map)(lambda data: decode(data, size, fit, alpha), images)
    for index, pixels in enumerate(decoded):
        out[index] = pixels
    return out


def normalise(pixels_B3HW: Tensor) -> Tensor:
    """uint8 RGB to float32 with CLIP's mean and deviation."""
    mean = torch.tensor(MEAN, device=pixels_B3HW.device).view(3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=pixels_B3HW.device).view(3, 1, 1)
    return pixels_B3HW.float().div_(255.0).sub_(mean).div_(deviation)
