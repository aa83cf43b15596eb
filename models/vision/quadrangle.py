"""QFormer (Zhang et al. 2023, arXiv 2303.15105): image encoders of quadrangle attention.

Hierarchical, as Swin: patches of 4 pixels, four stages, between them four neighbouring tokens
become one of twice the width. A block is a 7 x 7 depthwise convolution beside its input, which says
where a token stands, then quadrangle attention and an MLP. With a linear head on 1,000 classes the
named ones have 29,116,924 (T), 51,164,188 (S) and 90,336,216 (B) parameters and reached 82.5, 84.0
and 84.1 % on ImageNet. Maps of odd sides get a zero row or column before their tokens are merged.

Plain: a ViT, positions and all, each of whose attentions is a quadrangle one. Its class token would
belong to no window, so the mean of the tokens stands for the image. The authors trained it from MAE
weights (82.9 %, plain windows 81.2 %) and released neither code nor weights; the block here is the
ViT's with the attention replaced and nothing else.

Not to be confused with BLIP-2's Q-Former, whose Q are queries.

Shapes: B batch, R rows and S columns of a stage's map, L = R S tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.block import Block, BlockConfig
from models.layers.positions import Grid
from models.vision.quadrangle_attention import QuadrangleAttention
from models.vision.vit import Patches, ViT, ViTConfig


@dataclass(frozen=True)
class QuadrangleConfig:
    """A hierarchical QFormer; the named ones below are the paper's."""

    image_size: tuple[int, int] = (224, 224)  # height and width, pixels
    patch_size: int = 4  # side of a square patch, pixels
    width: int = 96  # of the first stage's tokens; doubles from stage to stage
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks of each stage
    heads: tuple[int, ...] = (3, 6, 12, 24)  # of each stage
    window: int = 7  # side, tokens
    pull: float = 0.1  # how hard quadrangles are pulled back into the map
    drop_path: float = 0.2  # share of the examples that skip a part of the last block, in training
    epsilon: float = 1e-5  # of the norms

    @property
    def grids(self) -> list[Grid]:
        """Rows and columns of each stage's map."""
        rows, columns = (side // self.patch_size for side in self.image_size)
        factors = (2**number for number in range(len(self.depths)))
        return [(-(-rows // factor), -(-columns // factor)) for factor in factors]

    @property
    def features(self) -> int:
        """Width of what the encoder gives."""
        return self.width << (len(self.depths) - 1)


QFORMER_T = QuadrangleConfig()
QFORMER_S = QuadrangleConfig(depths=(2, 2, 18, 2), drop_path=0.3)
QFORMER_B = QuadrangleConfig(
    width=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), pull=0.5, drop_path=0.55
)


@dataclass(frozen=True)
class PlainQuadrangleConfig:
    """A ViT with quadrangle attention: no class token, no relative positions, no patch dropout."""

    vit: ViTConfig = field(default_factory=lambda: ViTConfig(pooling="mean"))  # all but attention
    window: int = 7  # side, tokens
    pull: float = 0.1  # how hard quadrangles are pulled back into the map

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.vit.image_size

    @property
    def features(self) -> int:
        """Width of what the encoder gives."""
        return self.vit.width


def plain_quadrangle(config: PlainQuadrangleConfig) -> ViT:
    """The plain encoder: pixels (B, 3, H, W) to features (B, D)."""
    vit = config.vit
    if vit.pooling != "mean" or vit.positions == "relative" or vit.patch_dropout:
        raise ValueError(
            f"quadrangles need the whole map: pooling={vit.pooling!r} must be 'mean', positions="
            f"{vit.positions!r} not 'relative', patch_dropout={vit.patch_dropout} 0"
        )
    return ViT(
        vit,
        lambda _: QuadrangleAttention(vit.width, vit.heads, vit.grid, config.window, config.pull),
    )


class QuadrangleBlock(nn.Module):
    """A depthwise convolution, then a block with quadrangle attention: (B, L, D) to (B, L, D)."""

    def __init__(self, config: BlockConfig, grid: Grid, window: int, pull: float) -> None:
        super().__init__()
        width, near = config.width, window // 2
        self.grid = grid
        self.near = nn.Conv2d(width, width, 2 * near + 1, padding=near, groups=width)
        self.block = Block(config, QuadrangleAttention(width, config.heads, grid, window, pull))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Both."""
        near_BDRS = self.near(x_BLD.transpose(1, 2).reshape(x_BLD.shape[0], -1, *self.grid))
        out_BLD: Tensor = self.block(x_BLD + near_BDRS.flatten(2).transpose(1, 2))
        return out_BLD


class Merging(nn.Module):
    """Each 2 x 2 tokens of a map become one of twice the width: (B, L, D) to (B, L/4, 2 D)."""

    def __init__(self, width: int, grid: Grid, epsilon: float) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(4 * width, eps=epsilon)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Concatenated column by column, normed, projected."""
        rows, columns = self.grid
        x_BRSD = x_BLD.reshape(x_BLD.shape[0], rows, columns, -1)
        x_BRSD = F.pad(x_BRSD, (0, 0, 0, columns % 2, 0, rows % 2))
        corners = [x_BRSD[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        out_BLD: Tensor = self.reduce(self.norm(torch.cat(corners, dim=3).flatten(1, 2)))
        return out_BLD


class QuadrangleTransformer(nn.Module):
    """Image encoder: pixels (B, 3, H, W), normalised float, to features (B, D)."""

    def __init__(self, config: QuadrangleConfig) -> None:
        super().__init__()
        self.config = config
        _check(config)
        self.patches = Patches(config.patch_size, config.width, bias=True)
        self.norm_before = nn.LayerNorm(config.width, eps=config.epsilon)
        self.stages = nn.ModuleList(self._stage(number) for number in range(len(config.depths)))
        self.norm_after = nn.LayerNorm(config.features, eps=config.epsilon)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _stage(self, number: int) -> nn.Sequential:
        """Its blocks, and before them, in all but the first, the merging."""
        config, grids = self.config, self.config.grids
        before, last = sum(config.depths[:number]), max(1, sum(config.depths) - 1)
        width = config.width * 2**number
        block = BlockConfig(width, config.heads[number], epsilon=config.epsilon)
        parts: list[nn.Module] = []
        if number:
            parts.append(Merging(width // 2, grids[number - 1], config.epsilon))
        for place in range(before, before + config.depths[number]):
            ramped = replace(block, drop_path=config.drop_path * place / last)
            parts.append(QuadrangleBlock(ramped, grids[number], config.window, config.pull))
        return nn.Sequential(*parts)

    def sequence(self, pixels_BCHW: Tensor) -> Tensor:
        """The last map's tokens after the final norm, (B, L, D), row by row."""
        if tuple(pixels_BCHW.shape[2:]) != tuple(self.config.image_size):
            size = tuple(pixels_BCHW.shape[2:])
            raise ValueError(f"pixels are {size}, the encoder takes {self.config.image_size}")
        x_BLD = self.norm_before(self.patches(pixels_BCHW))
        for stage in self.stages:
            x_BLD = stage(x_BLD)
        out_BLD: Tensor = self.norm_after(x_BLD)
        return out_BLD

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, D): the mean of the last map."""
        return self.sequence(pixels_BCHW).mean(dim=1)

    def resize(self, image_size: tuple[int, int], antialias: bool = True) -> None:
        """From now on takes images of `image_size`; no weight depends on it."""
        config = replace(self.config, image_size=image_size)
        _check(config)
        for number, stage in enumerate(self.stages):
            for module in stage.modules():
                if isinstance(module, Merging):
                    module.grid = config.grids[number - 1]
                elif isinstance(module, (QuadrangleBlock, QuadrangleAttention)):
                    module.grid = config.grids[number]
        self.config = config


def _check(config: QuadrangleConfig) -> None:
    if any(side % config.patch_size for side in config.image_size):
        raise ValueError(
            f"patch_size={config.patch_size} must divide image_size={config.image_size}"
        )
    if len(config.heads) != len(config.depths):
        raise ValueError(f"heads={config.heads} must be as many as depths={config.depths}")
