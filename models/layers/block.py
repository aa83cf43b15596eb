"""The transformer block that every network here is a stack of.

Pre-norm (GPT-2, ViT, CLIP, T5): x + Attention(norm(x)), then, where the block looks at a source,
x + CrossAttention(norm(x), source), then x + MLP(norm(x)). Post-norm (BERT, and so BLIP's text
transformer and BLIP-2's Q-Former): the norm comes after each sum. `BlockConfig` says which, and
what else differs between the families: LayerNorm or T5's RMSNorm, a plain or a gated MLP, biases or
none.

CLIP's published weights need `quick_gelu`, x sigmoid(1.702 x); GPT-2 and T5 the tanh form of GELU.

Shapes: B batch, L tokens, D width, F width of the MLP, S tokens of the source, C their width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.attention import Attention
from models.layers.cache import Cache, KeyValues

Activation = Literal["gelu", "quick_gelu", "gelu_tanh", "relu", "squared_relu", "silu"]
Norm = Literal["layer", "rms"]


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation of GELU that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2, of Flamingo's feed-forward layers."""
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "quick_gelu": quick_gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "squared_relu": squared_relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class BlockConfig:
    """What a block is made of."""

    width: int  # of a token
    heads: int  # attention heads; they divide the width unless head_width is given
    hidden: int | None = None  # width of the MLP; 4 times the width if None
    activation: Activation = "gelu"  # of the MLP
    gated: bool = False  # the MLP's activation multiplies a second linear layer, as in T5 1.1
    norm: Norm = "layer"  # LayerNorm, or RMSNorm without a bias
    post_norm: bool = False  # norms after the sums, as in BERT
    epsilon: float = 1e-5  # of the norms
    bias: bool = True  # in every linear layer
    head_width: int | None = None  # of a head; width / heads if None
    scale: float | None = None  # of the attention's logits; 1/sqrt(head_width) if None
    source_width: int | None = None  # of what cross-attention looks at; None: there is none
    dropout: float = 0.0  # of what each part adds, in training
    attention_dropout: float = 0.0  # of the attention weights, in training
    hidden_dropout: float = 0.0  # of what the MLP's activation gives, in training
    drop_path: float = 0.0  # share of the examples that skip a part, in training


def make_norm(kind: Norm, width: int, epsilon: float) -> nn.Module:
    """LayerNorm or RMSNorm over the last axis."""
    if kind == "layer":
        return nn.LayerNorm(width, eps=epsilon)
    return nn.RMSNorm(width, eps=epsilon)


def drop_path(x: Tensor, share: float) -> Tensor:
    """Stochastic depth (Huang et al. 2016): zeroes `share` of the examples (B, ...), drawn by
    torch's global generator, and scales the others up to the same mean.
    """
    kept = x.new_empty(x.shape[0], *(1 for _ in x.shape[1:])).bernoulli_(1.0 - share)
    return x * kept / (1.0 - share)


def make_attention(config: BlockConfig, source_width: int | None = None) -> Attention:
    """The plain attention of a block, to itself or to a source."""
    return Attention(
        config.width,
        config.heads,
        head_width=config.head_width,
        source_width=source_width,
        bias=config.bias,
        scale=config.scale,
        dropout=config.attention_dropout,
    )


class MLP(nn.Module):
    """Two linear layers with the activation between, gated by a third or not: (..., D) to
    (..., D).
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        *,
        gated: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} must be one of {sorted(ACTIVATIONS)}")
        self.activation, self.dropout = ACTIVATIONS[activation], dropout
        self.up = nn.Linear(width, hidden, bias=bias)
        self.gate = nn.Linear(width, hidden, bias=bias) if gated else None
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """The layers, token by token."""
        if self.gate is None:
            hidden_BLF = self.activation(self.up(x_BLD))
        else:
            hidden_BLF = self.activation(self.gate(x_BLD)) * self.up(x_BLD)
        if self.dropout:
            hidden_BLF = F.dropout(hidden_BLF, self.dropout, self.training)
        out_BLD: Tensor = self.down(hidden_BLF)
        return out_BLD


class Block(nn.Module):
    """One block: (B, L, D) to (B, L, D). `attention` replaces the plain self-attention."""

    def __init__(self, config: BlockConfig, attention: Attention | None = None) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.hidden or 4 * config.width

        def norm() -> nn.Module:
            return make_norm(config.norm, width, config.epsilon)

        self.norm_1 = norm()
        self.attention = attention or make_attention(config)
        if config.source_width is not None:
            self.norm_cross = norm()
            self.cross = make_attention(config, config.source_width)
        self.norm_2 = norm()
        self.mlp = MLP(
            width,
            hidden,
            config.activation,
            gated=config.gated,
            bias=config.bias,
            dropout=config.hidden_dropout,
        )

    def add(self, x_BLD: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        """`x_BLD` and what `part` makes of it, with the norm where the config puts it."""
        config = self.config
        added = part(x_BLD if config.post_norm else norm(x_BLD))
        total: Tensor = x_BLD + self.drop(added)
        return norm(total) if config.post_norm else total

    def drop(self, added: Tensor) -> Tensor:
        """What dropout and stochastic depth leave, in training, of what a part adds."""
        if self.training:
            if self.config.dropout:
                added = F.dropout(added, self.config.dropout)
            if self.config.drop_path:
                added = drop_path(added, self.config.drop_path)
        return added

    def forward(
        self,
        x_BLD: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        source_BSC: Tensor | None = None,
        source_mask: Tensor | None = None,
        caches: tuple[KeyValues, KeyValues] | None = None,
    ) -> Tensor:
        """The block on all tokens; masks and caches as in `Attention`.

        Cross-attention is left out where there is neither a source nor a cache that holds one.
        """
        own, crossed = caches or (None, None)
        norm, attention = self.own(causal)
        x_BLD = self.add(x_BLD, norm, partial(attention, mask=mask, causal=causal, cache=own))
        x_BLD = self.look(x_BLD, source_BSC, source_mask, crossed)
        return self.add(x_BLD, self.norm_2, self.mlp)

    def own(self, causal: bool) -> tuple[nn.Module, nn.Module]:
        """The norm and the self-attention that serve a causal pass, or another."""
        return self.norm_1, self.attention

    def look(
        self,
        x_BLD: Tensor,
        source_BSC: Tensor | None,
        source_mask: Tensor | None = None,
        cache: KeyValues | None = None,
    ) -> Tensor:
        """Cross-attention alone, where there is a source or a cache that holds one."""
        if source_BSC is None and (cache is None or not cache.length):
            return x_BLD
        look = partial(self.cross, source_BSC=source_BSC, mask=source_mask, cache=cache)
        return self.add(x_BLD, self.norm_cross, look)

    def at(self, x_BLD: Tensor, place_B: Tensor, causal: bool = False) -> Tensor:
        """Row `place_B` of `forward` alone, (B, D), of a pre-norm block without a source."""
        x_BD = x_BLD[torch.arange(x_BLD.shape[0], device=x_BLD.device), place_B]
        x_BD = x_BD + self.drop(self.attention.at(self.norm_1(x_BLD), place_B, causal))
        out_BD: Tensor = x_BD + self.drop(self.mlp(self.norm_2(x_BD)))
        return out_BD


class Transformer(nn.Module):
    """`depth` blocks in a row, without a final norm: (B, L, D) to (B, L, D).

    `attention` makes the self-attention of the block of that number, if it is not the plain one.
    `drop_path` rises evenly from 0 in the first block to the config's in the last.
    """

    def __init__(
        self,
        config: BlockConfig,
        depth: int,
        attention: Callable[[int], Attention] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(
            Block(
                replace(config, drop_path=config.drop_path * number / max(1, depth - 1)),
                attention(number) if attention else None,
            )
            for number in range(depth)
        )
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """CLIP's draw: N(0, 1/D) for attention, N(0, 1/2D) for the MLP's first layers, and the
        projections into the residual stream divided by sqrt(2 depth), so that the stream's variance
        does not grow with depth.

        OpenAI's code does this to the text tower and leaves PyTorch's default in the image tower;
        here all have it.
        """
        scale = self.config.width**-0.5
        into = scale * (2 * max(1, len(self.blocks))) ** -0.5
        draw_linear(self, lambda name: scale * 2**-0.5 if "mlp" in name else scale, into)

    def forward(
        self,
        x_BLD: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        source_BSC: Tensor | None = None,
        source_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """All blocks on all tokens; arguments as in `Block`."""
        for number, block in enumerate(self.blocks):
            x_BLD = block(
                x_BLD,
                mask=mask,
                causal=causal,
                source_BSC=source_BSC,
                source_mask=source_mask,
                caches=None if cache is None else (cache.own[number], cache.cross[number]),
            )
        return x_BLD

    def at(self, x_BLD: Tensor, place_B: Tensor, causal: bool = False) -> Tensor:
        """Row `place_B` of `forward` alone, (B, D), where one token stands for all.

        The last block then works on that token only, save for keys and values: 10/12 of its cost
        are gone.
        """
        *before, last = self.blocks
        for block in before:
            x_BLD = block(x_BLD, causal=causal)
        assert isinstance(last, Block)
        return last.at(x_BLD, place_B, causal)

    def maps(self, x_BLD: Tensor, causal: bool = False) -> list[Tensor]:
        """Each block's attention weights, (B, H, L, L); for looking at, not for speed."""
        found = []
        for block in self.blocks:
            assert isinstance(block, Block)
            seen = x_BLD if block.config.post_norm else block.norm_1(x_BLD)
            found.append(block.attention.maps(seen, causal=causal))
            x_BLD = block(x_BLD, causal=causal)
        return found


@torch.no_grad()
def draw_linear(model: nn.Module, deviation: Callable[[str], float], into: float) -> None:
    """Draws each linear layer's weight from N(0, deviation(name)^2), those that end a part of a
    block (`out`, `down`) from N(0, into^2); biases are zero.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            last = name.endswith((".out", ".down"))
            nn.init.normal_(layer.weight, std=into if last else deviation(name))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
