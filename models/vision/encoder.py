"""Which image encoder: a model with `config.vision` takes any of them.

All map pixels (B, 3, H, W) to features (B, `config.features`), and can `resize` to another image
size, which is how the ViT paper and CLIP's L/14@336px fine-tune at a higher resolution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from torch import nn

from models.vision.quadrangle import (
    PlainQuadrangleConfig,
    QuadrangleConfig,
    QuadrangleTransformer,
    plain_quadrangle,
)
from models.vision.resnet import ResNet, ResNetConfig
from models.vision.vit import ViT, ViTConfig

VisionConfig = ViTConfig | ResNetConfig | QuadrangleConfig | PlainQuadrangleConfig
Encoder = ViT | ResNet | QuadrangleTransformer


def encoder(config: VisionConfig) -> Encoder:
    """A new encoder of `config`, initialised from torch's global generator."""
    if isinstance(config, ResNetConfig):
        return ResNet(config)
    if isinstance(config, QuadrangleConfig):
        return QuadrangleTransformer(config)
    if isinstance(config, PlainQuadrangleConfig):
        return plain_quadrangle(config)
    return ViT(config)


def sized(config: VisionConfig, image_size: tuple[int, int]) -> VisionConfig:
    """The same encoder for images of another height and width."""
    if isinstance(config, PlainQuadrangleConfig):
        return replace(config, vit=replace(config.vit, image_size=image_size))
    return replace(config, image_size=image_size)


def resize(model: nn.Module, image_size: tuple[int, int], antialias: bool = True) -> None:
    """From now on `model`, with an encoder and `config.vision`, takes images of `image_size`.

    Position tables are interpolated, by the kernel that `models.layers.positions` tells; their
    parameters are new, so build the optimiser after this. Raises ValueError where patches do not
    divide the size.
    """
    for part in model.children():
        if isinstance(part, Encoder):
            part.resize(image_size, antialias)
    config = cast("Any", model.config)
    model.config = replace(config, vision=sized(config.vision, image_size))
