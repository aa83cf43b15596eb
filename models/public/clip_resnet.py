"""The image tower of OpenAI's ResNet CLIPs (and open_clip's, which kept the layout) as our ResNet.

Running means and variances of the batch norms come along. The shortcut's convolution and norm are
called 0 and 1 there, as its pool is called -1; the projection that ends the last attention is our
`image_projection`.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from models.public.layout import Layout
from models.vision.resnet import STRIDE, ResNetConfig

PREFIX = "visual."
TABLE = "visual.attnpool.positional_embedding"  # only a ResNet has it
_STEM = tuple(
    (f"image_tower.stem.{3 * i + shift}.", f"visual.{kind}{i + 1}.")
    for i in range(3)
    for shift, kind in enumerate(("conv", "bn"))
)
RESNET = Layout(
    prefixes=(
        *_STEM,
        *((f"image_tower.stages.{i}.", f"visual.layer{i + 1}.") for i in range(4)),
        ("image_tower.pool.positions.table_LD", "visual.attnpool.positional_embedding"),
        ("image_projection.", "visual.attnpool.c_proj."),
        ("image_tower.pool.attention.", "visual.attnpool."),
    ),
    parts=(
        *((f".conv_{i}.", f".conv{i}.") for i in (1, 2, 3)),
        *((f".norm_{i}.", f".bn{i}.") for i in (1, 2, 3)),
        (".shortcut.2.", ".downsample.1."),
        (".shortcut.1.", ".downsample.0."),
    ),
    joined=((".attention.qkv.", tuple(f".attention.{letter}_proj." for letter in "qkv")),),
)


def split(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The image tower's tensors, under our names, and all others; all, if it is no ResNet."""
    if TABLE not in tensors:
        return {}, tensors
    ours = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
    return RESNET.from_public(ours), rest


def resnet_config(tensors: dict[str, Tensor]) -> ResNetConfig:
    """The dimensions of an OpenAI state dict; its heads are 64 wide and its images square."""
    found = re.compile(r"visual\.layer(\d)\.(\d+)\.conv1\.weight$")
    blocks = [int(m[1]) for name in tensors if (m := found.match(name))]
    side = round((len(tensors[TABLE]) - 1) ** 0.5) * STRIDE
    return ResNetConfig(
        image_size=(side, side),
        layers=(blocks.count(1), blocks.count(2), blocks.count(3), blocks.count(4)),
        width=tensors["visual.layer1.0.conv1.weight"].shape[0],
    )


def open_clip_resnet_config(vision: dict[str, Any]) -> ResNetConfig:
    """Of open_clip's `vision_cfg` with a list of `layers`."""
    size = vision.get("image_size", 224)
    return ResNetConfig(
        image_size=(size, size),
        layers=tuple(vision["layers"]),
        width=vision["width"],
        head_width=vision.get("head_width", 64),
    )
