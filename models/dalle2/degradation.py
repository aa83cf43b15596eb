"""What spoils the low-resolution image that an upsampler is trained on, so that it also mends what
a decoder gets wrong.

unCLIP blurs for its first upsampler and applies the more diverse degradation of BSRGAN (Zhang et
al. 2021, arXiv 2103.14006) for its second: blur with a normal kernel that may be stretched and
turned, a trip to another resolution and back, noise, sensor noise (stronger where the image is
brighter) and JPEG's quantisation, in random order. unCLIP prints no strengths; the ranges below are
mild ones chosen here.

JPEG's loss is that of rounding 8 x 8 DCT coefficients of luma and chroma: the rest of the format
loses nothing and is left out, so that a batch runs as a few matrix products, on any device. Chroma
keeps its full resolution.

Draws come from torch's global generator, or from one that is given. Images are in [-1, 1].

Shapes: B batch, C channels, H height, W width, K side of a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = 7  # side of a blur's kernel, pixels
# Tables K.1 and K.2 of the JPEG standard (ITU-T T.81).
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def uniform(
    like_BCHW: Tensor, low: float, high: float, generator: torch.Generator | None = None
) -> Tensor:
    """(B, 1, 1, 1): a number in [low, high) for each image."""
    drawn = torch.rand(len(like_BCHW), 1, 1, 1, generator=generator, device=like_BCHW.device)
    return low + (high - low) * drawn


def blur(x_BCHW: Tensor, across_B: Tensor, along_B: Tensor, angle_B: Tensor) -> Tensor:
    """Each image with its own normal kernel: deviations in pixels along two axes, turned by an
    angle in radians. The border is repeated outside.
    """
    B, C, H, W = x_BCHW.shape
    place_K = torch.arange(REACH, device=x_BCHW.device) - REACH // 2
    y_KK, x_KK = torch.meshgrid(place_K, place_K, indexing="ij")
    cosine, sine = angle_B.view(B, 1, 1).cos(), angle_B.view(B, 1, 1).sin()
    u_BKK = (cosine * x_KK + sine * y_KK) / across_B.view(B, 1, 1)
    v_BKK = (cosine * y_KK - sine * x_KK) / along_B.view(B, 1, 1)
    kernel_BKK = torch.exp(-0.5 * (u_BKK.square() + v_BKK.square()))
    kernel_BKK = kernel_BKK / kernel_BKK.sum(dim=(1, 2), keepdim=True)
    wide = F.pad(x_BCHW, (REACH // 2,) * 4, mode="replicate").view(1, B * C, H + 6, W + 6)
    weight = kernel_BKK.repeat_interleave(C, dim=0)[:, None].to(x_BCHW.dtype)
    return F.conv2d(wide, weight, groups=B * C).view(B, C, H, W)


def jpeg(x_BCHW: Tensor, quality_B: Tensor) -> Tensor:
    """RGB after JPEG of a quality in 1 to 100 for each image, whose sides are padded to 8."""
    B, _, H, W = x_BCHW.shape
    device = x_BCHW.device
    colour_33 = torch.tensor(YCBCR, device=device)
    zero_311 = torch.tensor([128.0, 0.0, 0.0], device=device).view(3, 1, 1)
    bytes_BCHW = ((x_BCHW.float() + 1) * 127.5).round().clamp(0, 255)
    ycc = (torch.einsum("dc,bchw->bdhw", colour_33, bytes_BCHW) - zero_311).round()
    ycc = F.pad(ycc, (0, -W % 8, 0, -H % 8), mode="replicate")
    rows, columns = ycc.shape[2] // 8, ycc.shape[3] // 8
    blocks = ycc.view(B, 3, rows, 8, columns, 8).transpose(3, 4)
    step = torch.arange(8, device=device)
    dct = ((2 * step + 1) * step[:, None] * math.pi / 16).cos() * torch.where(
        step == 0, math.sqrt(1 / 8), 0.5
    ).view(8, 1)
    quality = quality_B.view(B, 1, 1, 1, 1, 1).float()
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    table = torch.tensor([LUMA, CHROMA, CHROMA], device=device).view(1, 3, 1, 1, 8, 8)
    table = ((table * scale + 50) / 100).floor().clamp(1, 255)
    rounded = (dct @ blocks @ dct.T / table).round() * table
    ycc = (dct.T @ rounded @ dct).transpose(3, 4).reshape(B, 3, rows * 8, columns * 8)[:, :, :H, :W]
    ycc = ycc.round() + zero_311
    rgb = torch.einsum("cd,bdhw->bchw", torch.linalg.inv(colour_33), ycc)
    return (rgb.round().clamp(0, 255) / 127.5 - 1).to(x_BCHW.dtype)


def blurred(x_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A slight round blur, of 0.4 to 0.6 pixels: the first upsampler's."""
    deviation = uniform(x_BCHW, 0.4, 0.6, generator)
    return blur(x_BCHW, deviation, deviation, torch.zeros_like(deviation))


def degraded(x_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Every kind of damage, in an order drawn for the batch: the second upsampler's."""

    def smear(x: Tensor) -> Tensor:
        across, along = uniform(x, 0.2, 1.5, generator), uniform(x, 0.2, 1.5, generator)
        return blur(x, across, along, uniform(x, 0, math.pi, generator))

    def resample(x: Tensor) -> Tensor:
        factor = float(uniform(x[:1], 0.5, 1.0, generator))
        size = [max(1, round(side * factor)) for side in x.shape[2:]]
        mode = "bilinear" if float(uniform(x[:1], 0, 1, generator)) < 0.5 else "bicubic"
        small = F.interpolate(x, size, mode=mode, antialias=True)
        return F.interpolate(small, x.shape[2:], mode=mode)

    def noise(x: Tensor) -> Tensor:
        drawn = torch.randn(x.shape, generator=generator, device=x.device)
        return x + uniform(x, 0.0, 0.1, generator) * drawn

    def sensor(x: Tensor) -> Tensor:
        drawn = torch.randn(x.shape, generator=generator, device=x.device)
        light = ((x + 1) / 2).clamp(0, 1)
        return x + uniform(x, 0.0, 0.1, generator) * light.sqrt() * drawn

    def compress(x: Tensor) -> Tensor:
        return jpeg(x.clamp(-1, 1), uniform(x, 30, 95, generator).round())

    damages: list[Callable[[Tensor], Tensor]] = [smear, resample, noise, sensor, compress]
    order = torch.randperm(len(damages), generator=generator, device=x_BCHW.device)
    for place in order.tolist():
        x_BCHW = damages[place](x_BCHW)
    return x_BCHW.clamp(-1, 1)
