"""CLIP's ResNet (Radford et al. 2021, section 2.4): an image encoder of convolutions that ends in
attention.

Three things set it apart from the usual ResNet: a stem of three 3x3 convolutions, an average pool
before every convolution that would have a stride (so that it does not alias; Zhang 2019), and in
place of the last average pool one attention whose query is the mean of the map. The projection that
ends this attention is CLIP's `image_projection`, so that the encoder itself gives its 32 W features
(2,048 for RN50) to whatever head one likes.

Batch norms keep running means, which a state dict holds beside the weights; on several ranks each
normalises its own examples, as CLIP's did. A gradient in micro-batches runs each of them twice, so
that the means move twice a step.

Shapes: B batch, C channels, R rows and S columns of the last map (a 32nd of the image), D = 32 W
features, W width of the stem, L = 1 + R S tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.layers.attention import Attention
from models.layers.block import draw_linear
from models.layers.positions import Positions1D

EXPANSION = 4  # a block's output is this many times as wide as its 3x3 convolution
STRIDE = 32  # pixels of the image a place of the last map


@dataclass(frozen=True)
class ResNetConfig:
    """Size of the image and of the network; CLIP's RN50 by default."""

    image_size: tuple[int, int] = (224, 224)  # height and width, pixels; multiples of 32
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)  # blocks of each stage
    width: int = 64  # channels after the stem
    head_width: int = 64  # of the last attention's heads; it divides the features

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the last map."""
        height, width = self.image_size
        return height // STRIDE, width // STRIDE

    @property
    def features(self) -> int:
        """Width of what the encoder gives."""
        return 8 * EXPANSION * self.width


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut: (B, C, R, S) to (B, 4 inner, R/s, S/s)."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * inner
        self.conv_1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm_1 = nn.BatchNorm2d(inner)
        self.conv_2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(inner)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv_3 = nn.Conv2d(inner, wide, 1, bias=False)
        self.norm_3 = nn.BatchNorm2d(wide)
        nn.init.zeros_(self.norm_3.weight)  # every block begins as its shortcut
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != wide:
            convolution = nn.Conv2d(channels, wide, 1, bias=False)
            self.shortcut = nn.Sequential(self.pool, convolution, nn.BatchNorm2d(wide))

    def forward(self, x_BCRS: Tensor) -> Tensor:
        """The block."""
        y_BCRS = self.norm_1(self.conv_1(x_BCRS)).relu()
        y_BCRS = self.norm_2(self.conv_2(y_BCRS)).relu()
        y_BCRS = self.norm_3(self.conv_3(self.pool(y_BCRS)))
        total: Tensor = y_BCRS + self.shortcut(x_BCRS)
        return total.relu()


def stem(width: int) -> nn.Sequential:
    """Three convolutions and a pool, to a quarter of the image's size: (B, 3, H, W) to
    (B, width, H/4, W/4).
    """
    parts: list[nn.Module] = []
    half = width // 2
    for before, after, stride in ((3, half, 2), (half, half, 1), (half, width, 1)):
        parts.append(nn.Conv2d(before, after, 3, stride, padding=1, bias=False))
        parts += [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*parts, nn.AvgPool2d(2))


def stage(channels: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` in a row; the first has the stride."""
    first = Bottleneck(channels, inner, stride)
    return nn.Sequential(
        first, *(Bottleneck(EXPANSION * inner, inner, 1) for _ in range(1, blocks))
    )


class AttentionPool(nn.Module):
    """The answer that the mean of a map gets from the map and itself: (B, D, R, S) to (B, D)."""

    def __init__(self, grid: tuple[int, int], width: int, heads: int) -> None:
        super().__init__()
        deviation = width**-0.5
        self.positions = Positions1D(1 + grid[0] * grid[1], width, deviation)
        self.attention = Attention(width, heads, out=False)
        draw_linear(self, lambda _: deviation, deviation)

    def forward(self, x_BDRS: Tensor) -> Tensor:
        """Attention with one query, the mean, which is the first key too."""
        x_BND = x_BDRS.flatten(2).transpose(1, 2)
        x_BLD = self.positions(torch.cat([x_BND.mean(dim=1, keepdim=True), x_BND], dim=1))
        first_B = torch.zeros(x_BLD.shape[0], dtype=torch.int64, device=x_BLD.device)
        return self.attention.at(x_BLD, first_B)


def _check(config: ResNetConfig) -> None:
    if any(side % STRIDE for side in config.image_size):
        raise ValueError(f"image_size={config.image_size} must be multiples of {STRIDE}")
    if config.features % config.head_width:
        raise ValueError(
            f"head_width={config.head_width} must divide the {config.features} features"
        )


class ResNet(nn.Module):
    """Image encoder: pixels (B, 3, H, W), normalised float, to features (B, D)."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        _check(config)
        self.stem = stem(config.width)
        stages, channels = [], config.width
        for number, blocks in enumerate(config.layers):
            inner = config.width * 2**number
            stages.append(stage(channels, inner, blocks, 1 if number == 0 else 2))
            channels = EXPANSION * inner
        self.stages = nn.Sequential(*stages)
        heads = config.features // config.head_width
        self.pool = AttentionPool(config.grid, config.features, heads)

    def map(self, pixels_BCHW: Tensor) -> Tensor:
        """The last map, (B, D, R, S), for what looks at places."""
        if tuple(pixels_BCHW.shape[2:]) != tuple(self.config.image_size):
            size = tuple(pixels_BCHW.shape[2:])
            raise ValueError(f"pixels are {size}, the encoder takes {self.config.image_size}")
        out_BDRS: Tensor = self.stages(self.stem(pixels_BCHW))
        return out_BDRS

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, D)."""
        out_BD: Tensor = self.pool(self.map(pixels_BCHW))
        return out_BD

    def resize(self, image_size: tuple[int, int], antialias: bool = True) -> None:
        """From now on takes images of `image_size`; the last attention's table is interpolated."""
        config = replace(self.config, image_size=image_size)
        _check(config)
        self.pool.positions.resize_grid(self.config.grid, config.grid, antialias)
        self.config = config
