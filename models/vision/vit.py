"""Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) as an image encoder.

An image becomes a row of patch vectors, a class token leads it, positions are added, and pre-LN
blocks mix them. CLIP's variant has one more norm before the first block and no bias on the patches.
`patch_dropout` drops a share of the patches in training only (FLIP, Li et al. 2023): half of them
gone is nearly twice the speed. Other attentions take the place of the plain one by the `attention`
argument (`models.vision.quadrangle`).

Beside the feature that `forward` gives there are all tokens (`sequence`), for a language model to
look at, and the attention weights of every layer (`attention_maps`), for us to look at. `resize`
makes a trained encoder take images of another size, to be fine-tuned on them.

Shapes: B batch, C channels, D width, N patches, L tokens (patches, and the class token if there is
one), R rows and S columns of the patch grid, P side of a patch in pixels, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.attention import Attention
from models.layers.block import Activation, BlockConfig, Transformer
from models.layers.positions import PositionKind, RelativeKeys, patch_positions


@dataclass(frozen=True)
class ViTConfig:
    """Size of the image and of the network. The named ones below are those of the ViT paper."""

    image_size: tuple[int, int] = (224, 224)  # height and width, pixels
    patch_size: int = 16  # side of a square patch, pixels
    width: int = 768  # of a token
    depth: int = 12  # blocks
    heads: int = 12  # attention heads; they divide the width
    hidden: int | None = None  # width of the MLP; 4 times the width if None
    activation: Activation = "gelu"  # of the MLP
    positions: PositionKind = "1d"  # learned tables, or learned keys of offsets ("relative")
    pooling: Literal["cls", "mean"] = (
        "cls"  # class token, or mean of the patches (then no class token)
    )
    norm_before: bool = False  # CLIP's norm before the first block
    patch_bias: bool = True  # CLIP has none
    patch_dropout: float = 0.0  # share of the patches dropped in training, [0, 1)
    drop_path: float = 0.0  # share of the examples that skip a part of the last block, in training
    epsilon: float = 1e-6  # of the norms; CLIP 1e-5

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.image_size
        return height // self.patch_size, width // self.patch_size

    @property
    def features(self) -> int:
        """Width of what the encoder gives."""
        return self.width


VIT_B_32 = ViTConfig(patch_size=32)
VIT_B_16 = ViTConfig()
VIT_L_16 = ViTConfig(width=1024, depth=24, heads=16)
VIT_L_14 = ViTConfig(patch_size=14, width=1024, depth=24, heads=16)
VIT_H_14 = ViTConfig(patch_size=14, width=1280, depth=32, heads=16)


class Patches(nn.Module):
    """Cuts the image into P x P patches and projects each: (B, C, R P, S P) to (B, N, D).

    The weight has the layout of a convolution with stride P, but runs as one matrix product.
    """

    def __init__(self, patch_size: int, width: int, bias: bool) -> None:
        super().__init__()
        self.patch_size = patch_size
        convolution = nn.Conv2d(3, width, patch_size, patch_size, bias=bias)  # for its init
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Patch vectors (B, N, D), row by row."""
        B, C, H, W = pixels_BCHW.shape
        P = self.patch_size
        patches = pixels_BCHW.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.reshape(B, -1, C * P * P), self.weight.flatten(1), self.bias)


def drop_patches(x_BND: Tensor, share: float) -> Tensor:
    """Keeps a random (1 - share) of the patches of each image, at least one, by torch's global
    generator.
    """
    B, N, _ = x_BND.shape
    keep = max(1, round(N * (1.0 - share)))
    chosen_BN = torch.rand(B, N, device=x_BND.device).argsort(dim=1)[:, :keep]
    return x_BND.gather(1, chosen_BN[:, :, None].expand(-1, -1, x_BND.shape[2]))


def _check(config: ViTConfig) -> None:
    if any(side % config.patch_size for side in config.image_size):
        raise ValueError(
            f"patch_size={config.patch_size} must divide image_size={config.image_size}"
        )
    if not 0.0 <= config.patch_dropout < 1.0:
        raise ValueError(f"patch_dropout={config.patch_dropout} must be in [0, 1)")
    if config.positions == "relative" and config.patch_dropout:
        raise ValueError(
            f"patch_dropout={config.patch_dropout} must be 0 with positions='relative': offsets "
            "are those of the whole grid"
        )


def _relative(config: ViTConfig, prefix: int) -> Attention:
    keys = RelativeKeys(config.grid, config.width // config.heads, bool(prefix), 0.02)
    return Attention(config.width, config.heads, relative=keys)


class ViT(nn.Module):
    """Image encoder: pixels (B, 3, H, W), normalised float, to features (B, D).

    `attention` makes the attention of the block of that number, if not the one of the config.
    """

    def __init__(
        self, config: ViTConfig, attention: Callable[[int], Attention] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        _check(config)
        width, deviation = config.width, config.width**-0.5
        prefix = 1 if config.pooling == "cls" else 0
        self.patches = Patches(config.patch_size, width, config.patch_bias)
        self.class_token_D = nn.Parameter(deviation * torch.randn(width)) if prefix else None
        self.positions = patch_positions(config.positions, config.grid, width, prefix, deviation)
        epsilon = config.epsilon
        self.norm_before = nn.LayerNorm(width, eps=epsilon) if config.norm_before else nn.Identity()
        if config.positions == "relative":
            attention = attention or (lambda _: _relative(config, prefix))
        block = BlockConfig(
            width,
            config.heads,
            config.hidden,
            activation=config.activation,
            epsilon=epsilon,
            drop_path=config.drop_path,
        )
        self.transformer = Transformer(block, config.depth, attention)
        self.norm_after = nn.LayerNorm(width, eps=epsilon)

    def tokens(self, pixels_BCHW: Tensor) -> Tensor:
        """The input of the first block, (B, L, D); with patch dropout in training, fewer
        patches.
        """
        if tuple(pixels_BCHW.shape[2:]) != tuple(self.config.image_size):
            size = tuple(pixels_BCHW.shape[2:])
            raise ValueError(f"pixels are {size}, the encoder takes {self.config.image_size}")
        x_BLD: Tensor = self.patches(pixels_BCHW)
        if self.class_token_D is not None:
            x_BLD = torch.cat([self.class_token_D.expand(x_BLD.shape[0], 1, -1), x_BLD], dim=1)
        x_BLD = self.positions(x_BLD)
        if self.training and self.config.patch_dropout:
            prefix = 0 if self.class_token_D is None else 1
            kept_BND = drop_patches(x_BLD[:, prefix:], self.config.patch_dropout)
            x_BLD = torch.cat([x_BLD[:, :prefix], kept_BND], dim=1)
        return x_BLD

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, D)."""
        x_BLD = self.norm_before(self.tokens(pixels_BCHW))
        if self.config.pooling == "mean":
            x_BD = self.transformer(x_BLD).mean(dim=1)
        else:
            first_B = torch.zeros(x_BLD.shape[0], dtype=torch.int64, device=x_BLD.device)
            x_BD = self.transformer.at(x_BLD, first_B)
        out_BD: Tensor = self.norm_after(x_BD)
        return out_BD

    def sequence(self, pixels_BCHW: Tensor) -> Tensor:
        """All tokens after the final norm, (B, L, D): the class token first if there is one, then
        the patches row by row; with patch dropout in training, those that are left.
        """
        x_BLD = self.transformer(self.norm_before(self.tokens(pixels_BCHW)))
        out_BLD: Tensor = self.norm_after(x_BLD)
        return out_BLD

    def attention_maps(self, pixels_BCHW: Tensor) -> Tensor:
        """Each layer's attention weights, (layers, B, H, L, L), query by key; not for speed."""
        return torch.stack(self.transformer.maps(self.norm_before(self.tokens(pixels_BCHW))))

    def resize(self, image_size: tuple[int, int], antialias: bool = True) -> None:
        """From now on takes images of `image_size`, height and width; position tables are
        interpolated (`models.layers.positions`). New parameters: build the optimiser after this.
        """
        config = replace(self.config, image_size=image_size)
        _check(config)
        for module in self.modules():
            resize_grid = getattr(module, "resize_grid", None)
            if resize_grid is not None:
                resize_grid(self.config.grid, config.grid, antialias)
        self.config = config
