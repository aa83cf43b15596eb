"""Augmentation of a whole batch at once, as a function of each record's own random draws.

Crop, aspect, rotation and flip are one affine map and one `grid_sample`; brightness, contrast,
saturation and the final normalisation are one 3 x 3 colour matrix and one offset. Nothing is looped
over images.

Shapes: B batch, C channels (3, or 4 with alpha), H height, W width, D draws a record.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.pixels import DEVIATION, MEAN, normalise

DRAWS = 16
GREY = (0.299, 0.587, 0.114)  # luma of RGB, ITU-R BT.601


@dataclass(frozen=True)
class AugmentConfig:
    """How far an image may be moved and recoloured; the default is CLIP's random square crop, a
    little wider.
    """

    least_area: float = 0.6  # of the image shown by a crop; above 1 shows more than the image
    most_area: float = 1.0  # of the image shown by a crop
    aspect: float = 4 / 3  # greatest stretch of width against height; 1 keeps the aspect
    rotation: float = 0.0  # greatest angle either way, degrees
    flip: bool = False  # mirror half of the images left to right
    brightness: float = 0.0  # factor in [1 - b, 1 + b]
    contrast: float = 0.0  # factor in [1 - c, 1 + c], about the image's mean grey
    saturation: float = 0.0  # factor in [1 - s, 1 + s]
    background: float = 0.0  # share of transparent images laid over a random colour, not over white


NONE = AugmentConfig(least_area=1.0, aspect=1.0)


def draws(seed: int, epoch: int, ids: Sequence[str]) -> Tensor:
    """Uniform numbers (B, D) in [0, 1), a function of (seed, epoch, record id) alone."""
    digests = [
        hashlib.blake2b(f"{seed}\0{epoch}\0{key}".encode(), digest_size=4 * DRAWS).digest()
        for key in ids
    ]
    words = np.frombuffer(b"".join(digests), dtype="<u4").reshape(-1, DRAWS)
    return torch.from_numpy((words >> 8).astype(np.float32) / float(1 << 24))


def affine(config: AugmentConfig, u_BD: Tensor, ratio: float) -> Tensor:
    """The map (B, 2, 3) from places of the output to places of the input, both in [-1, 1].

    `ratio` is the frame's height over its width, so that a rotation does not shear a frame that is
    not square.
    """
    area = config.least_area + (config.most_area - config.least_area) * u_BD[:, 0]
    stretch = torch.exp(math.log(config.aspect) * (2 * u_BD[:, 1] - 1))
    most = max(1.0, math.sqrt(config.most_area))
    x_scale = (area * stretch).sqrt().clamp(max=most)
    y_scale = (area / stretch).sqrt().clamp(max=most)
    x_shift = (1 - x_scale).abs() * (2 * u_BD[:, 2] - 1)
    y_shift = (1 - y_scale).abs() * (2 * u_BD[:, 3] - 1)
    angle = math.radians(config.rotation) * (2 * u_BD[:, 4] - 1)
    cosine, sine = angle.cos(), angle.sin()
    if config.flip:
        x_scale = torch.where(u_BD[:, 5] < 0.5, -x_scale, x_scale)
    x_row = torch.stack([x_scale * cosine, -y_scale * sine * ratio, x_shift], dim=1)
    y_row = torch.stack([x_scale * sine / ratio, y_scale * cosine, y_shift], dim=1)
    return torch.stack([x_row, y_row], dim=1)


def composite(x_B4HW: Tensor, share: float, u_BD: Tensor) -> Tensor:
    """RGBA in [0, 255] over white, or for `share` of the images over a random colour: (B, 3, H,
    W).
    """
    coloured_B1 = (u_BD[:, 9:10] < share).float()
    colour_B3 = 255 * (1 + coloured_B1 * (u_BD[:, 10:13] - 1))
    opaque = x_B4HW[:, 3:] / 255
    return x_B4HW[:, :3] * opaque + colour_B3[:, :, None, None] * (1 - opaque)


def recolour(x_B3HW: Tensor, config: AugmentConfig, u_BD: Tensor) -> Tensor:
    """Jitter and CLIP's normalisation of RGB in [0, 255], as one linear map of colour an image."""

    def factor(spread: float, draw: int) -> Tensor:
        return (1 + spread * (2 * u_BD[:, draw] - 1)).view(-1, 1, 1)

    bright, contrast = factor(config.brightness, 6), factor(config.contrast, 7)
    saturation = factor(config.saturation, 8)
    device = x_B3HW.device
    grey_33 = torch.tensor(GREY, device=device).expand(3, 3)
    eye_33 = torch.eye(3, device=device)
    colour_B33 = bright * contrast * (saturation * eye_33 + (1 - saturation) * grey_33)
    mean_B31 = x_B3HW.mean(dim=(2, 3))[:, :, None]
    offset_B31 = bright * (1 - contrast) * (grey_33 @ mean_B31)
    deviation_31 = torch.tensor(DEVIATION, device=device).view(3, 1)
    colour_B33 = colour_B33 / (255 * deviation_31)
    offset_B31 = (offset_B31 / 255 - torch.tensor(MEAN, device=device).view(3, 1)) / deviation_31
    flat_B3N = x_B3HW.flatten(2)
    return torch.baddbmm(offset_B31, colour_B33, flat_B3N).view_as(x_B3HW)


def augment(
    pixels_BCHW: Tensor, config: AugmentConfig, u_BD: Tensor, size: tuple[int, int]
) -> Tensor:
    """uint8 (B, C, h, w) to normalised float32 (B, 3, H, W), (H, W) = `size`; the border is
    repeated outside.
    """
    x_BCHW = pixels_BCHW.float()
    if config != NONE or x_BCHW.shape[2:] != size:
        theta_B23 = affine(config, u_BD, x_BCHW.shape[2] / x_BCHW.shape[3])
        grid = F.affine_grid(theta_B23, [len(x_BCHW), 3, *size], align_corners=False)
        x_BCHW = F.grid_sample(x_BCHW, grid, padding_mode="border", align_corners=False)
    if x_BCHW.shape[1] == 4:
        x_BCHW = composite(x_BCHW, config.background, u_BD)
    if config.brightness or config.contrast or config.saturation:
        return recolour(x_BCHW, config, u_BD)
    return normalise(x_BCHW)
