"""Pre-LN transformer blocks (GPT-2, ViT, CLIP): x + Attention(LN(x)), then x + MLP(LN(x)).

CLIP's published weights need `quick_gelu`, x sigmoid(1.702 x); everything trained here uses the
exact GELU, which has a fused kernel on every device.

Shapes: B batch, L tokens, D width, F width of the MLP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.attention import Attention

Activation = Literal["gelu", "quick_gelu"]


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation of GELU that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


class MLP(nn.Module):
    """Two linear layers with the activation between: (..., D) to (..., D)."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} must be one of {sorted(ACTIVATIONS)}")
        self.activation = ACTIVATIONS[activation]
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """The layers, token by token."""
        hidden_BLF = self.activation(self.up(x_BLD))
        out_BLD: Tensor = self.down(hidden_BLF)
        return out_BLD


class Block(nn.Module):
    """One pre-LN block: (B, L, D) to (B, L, D)."""

    def __init__(
        self, width: int, heads: int, hidden: int, activation: Activation, epsilon: float
    ) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=epsilon)
        self.attention = Attention(width, heads)
        self.norm_2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = MLP(width, hidden, activation)

    def forward(
        self, x_BLD: Tensor, causal: bool = False, valid_BL: Tensor | None = None
    ) -> Tensor:
        """The block on all tokens; masks as in `Attention`."""
        x_BLD = x_BLD + self.attention(self.norm_1(x_BLD), causal, valid_BL)
        out_BLD: Tensor = x_BLD + self.mlp(self.norm_2(x_BLD))
        return out_BLD

    def at(self, x_BLD: Tensor, place_B: Tensor, causal: bool = False) -> Tensor:
        """Row `place_B` of `forward` alone: (B, D)."""
        x_BD = x_BLD[torch.arange(len(x_BLD), device=x_BLD.device), place_B]
        x_BD = x_BD + self.attention.at(self.norm_1(x_BLD), place_B, causal)
        out_BD: Tensor = x_BD + self.mlp(self.norm_2(x_BD))
        return out_BD


class Transformer(nn.Module):
    """`depth` blocks in a row, without a final norm: (B, L, D) to (B, L, D)."""

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        hidden: int | None = None,
        activation: Activation = "gelu",
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.width = width
        hidden = hidden or 4 * width
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, activation, epsilon) for _ in range(depth)
        )
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """CLIP's draw: N(0, 1/D) for qkv, N(0, 1/2D) for the MLP's first layer, and both
        projections into the residual stream divided by sqrt(2 depth), so that the stream's variance
        does not grow with depth.

        OpenAI's code does this to the text tower and leaves PyTorch's default in the image tower;
        here both have it.
        """
        scale = self.width**-0.5
        residual = scale * (2 * len(self.blocks)) ** -0.5
        for block in self.blocks:
            assert isinstance(block, Block)
            for layer, deviation in (
                (block.attention.qkv, scale),
                (block.attention.out, residual),
                (block.mlp.up, scale * 2**-0.5),
                (block.mlp.down, residual),
            ):
                nn.init.normal_(layer.weight, std=deviation)
                nn.init.zeros_(layer.bias)

    def forward(
        self, x_BLD: Tensor, causal: bool = False, valid_BL: Tensor | None = None
    ) -> Tensor:
        """All blocks on all tokens; masks as in `Attention`."""
        for block in self.blocks:
            x_BLD = block(x_BLD, causal, valid_BL)
        return x_BLD

    def at(self, x_BLD: Tensor, place_B: Tensor, causal: bool = False) -> Tensor:
        """Row `place_B` of `forward` alone, (B, D), where one token stands for all.

        The last block then works on that token only, save for keys and values: 10/12 of its cost
        are gone.
        """
        *before, last = self.blocks
        for block in before:
            x_BLD = block(x_BLD, causal)
        assert isinstance(last, Block)
        return last.at(x_BLD, place_B, causal)
