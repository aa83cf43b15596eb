"""Images of any shape cut into at most a budget of square patches.

pix2struct (Lee et al. 2023, arXiv 2210.03347, figure 5) keeps the aspect ratio: the image is
scaled, up or down, to the largest grid of whole patches whose number stays within the budget, and
each patch carries its row and column, counted from 1; 0 is padding. ScreenAI found that this wins
over a fixed grid wherever an image is wider than high, as screens of computers are, and loses
slightly on portraits; `fixed` is that other side of the ablation: every image is squeezed into the
largest square grid. Pixels are whitened image by image before the resize, as pix2struct does, with
the deviation over all pixels (transformers' tensor version divides by n - 1, its Pillow version by
n, as here).

Shapes: C channels, H height, W width, N patches, P side of a patch in pixels, X = P P C numbers of
a patch, row by row with the channels innermost, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class PatchingConfig:
    """How an image becomes patches."""

    patch_size: int = 16  # side of a square patch, pixels
    budget: int = 2024  # most patches of an image
    kind: Literal["flexible", "fixed"] = "flexible"  # keeps the aspect ratio, or a square grid
    whiten: bool = True  # each image to mean 0 and deviation 1

    @property
    def numbers(self) -> int:
        """X: of an RGB patch."""
        return 3 * self.patch_size**2


def grid(height: int, width: int, config: PatchingConfig) -> tuple[int, int]:
    """Rows and columns, one each at least, of the patches of an image of `height` and `width`
    pixels.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} pixels has no patches")
    P, budget = config.patch_size, config.budget
    if config.kind == "fixed":
        return math.isqrt(budget), math.isqrt(budget)
    scale = (budget * (P / height) * (P / width)) ** 0.5
    rows, columns = int(scale * height / P), int(scale * width / P)
    return max(min(rows, budget), 1), max(min(columns, budget), 1)


def whitened(image_CHW: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over all numbers of the image; the deviation counts as at least
    1/sqrt(their number), so that a flat image becomes zeros.
    """
    deviation = image_CHW.std(correction=0).clamp(min=image_CHW.numel() ** -0.5)
    return (image_CHW - image_CHW.mean()) / deviation


def patches(image_CHW: Tensor, config: PatchingConfig) -> tuple[Tensor, Tensor]:
    """Patches (N, X) float32 and places (N, 2) int64, row and column from 1, of one image.

    `image_CHW` has any real dtype. Resized bilinearly with anti-aliasing.
    """
    C, H, W = image_CHW.shape
    P, (rows, columns) = config.patch_size, grid(H, W, config)
    pixels = image_CHW.float()
    if config.whiten:
        pixels = whitened(pixels)
    size = (rows * P, columns * P)
    pixels = F.interpolate(
        pixels[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]
    cut = pixels.view(C, rows, P, columns, P).permute(1, 3, 2, 4, 0)
    one = torch.ones(rows, columns, dtype=torch.int64, device=image_CHW.device)
    places_N2 = torch.stack([one.cumsum(0), one.cumsum(1)], dim=-1).flatten(0, 1)
    return cut.reshape(rows * columns, P * P * C), places_N2


def batch_patches(images: Sequence[Tensor], config: PatchingConfig) -> dict[str, Tensor]:
    """`patches` (B, N, X) and `places` (B, N, 2) of images (C, H, W) of any shapes.

    N is that of the longest; shorter ones have zeros, places 0 among them, before them: a text
    that follows is then as far from the last patch as without padding, so that no answer depends
    on what else is in the batch.
    """
    return stacked([patches(image, config) for image in images])


def stacked(of_images: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """`batch_patches` of images that are cut already, each by `patches`."""
    cut, places = zip(*of_images, strict=True)
    return {
        "patches": pad_sequence(list(cut), batch_first=True, padding_side="left"),
        "places": pad_sequence(list(places), batch_first=True, padding_side="left"),
    }
