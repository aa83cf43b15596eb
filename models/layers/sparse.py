"""Sparse causal attention: the banded layers of GPT-3, and the two factorisations of the Sparse
Transformer (Child et al. 2019, arXiv 1904.10509).

A full causal layer compares every token with all before it, L^2 / 2 pairs. A pattern here keeps a
part of the pairs: `Banded` the last `window` places, `Strided` the places a multiple of `stride`
back, `Fixed` one's own block, `Summaries` the last `count` places of every block. The Sparse
Transformer pairs a local pattern with one that carries far, so that two steps reach everything: the
strided pair is banded and strided, the fixed pair own block and summaries. With a stride near
sqrt(L) both cost about L^1.5. Either half of the heads has one pattern and half the other, or the
layers take turns. GPT-3 has dense and banded layers in turn; it does not say how wide its band is,
and 256, GPT-Neo's choice, is what `SparseConfig` begins with. The paper's third form, one head that
sees the union of a pair, is left out.

Patterns count places from a row's first real token, so a prompt padded on the left is attended as
if it stood alone; padding further inside keeps its places. A single token after cached ones reads
only the keys of its pattern.

Shapes: B batch, H heads, L queries, S keys, K width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from models.layers.attention import Attention
from models.layers.block import BlockConfig, make_attention
from models.layers.patterns import Banded, Fixed, Full, Pattern, Strided, Summaries


@dataclass(frozen=True)
class SparseConfig:
    """Which pairs of tokens a stack of blocks compares."""

    kind: Literal["banded", "strided", "fixed"] = "banded"  # banded: dense and banded
    span: int = 256  # places of the band, the stride or the block
    summaries: int = 8  # fixed: last places of a block that all later tokens see
    split: Literal["layers", "heads"] = "layers"  # how the two patterns of a kind share the work


def pair(config: SparseConfig) -> tuple[Pattern, Pattern]:
    """The two patterns of a kind."""
    if config.span < 1:
        raise ValueError(f"span={config.span} must be at least 1")
    if config.kind == "fixed" and not 1 <= config.summaries <= config.span:
        raise ValueError(f"summaries={config.summaries} must be in 1 to span={config.span}")
    if config.kind == "banded":
        return Full(), Banded(config.span)
    if config.kind == "strided":
        return Banded(config.span), Strided(config.span)
    if config.kind == "fixed":
        return Fixed(config.span), Summaries(config.span, config.summaries)
    raise ValueError(f"kind={config.kind!r} must be one of banded, strided, fixed")


class SparseAttention(Attention):
    """Causal self-attention whose heads are shared evenly by `patterns`; else as `Attention`."""

    def __init__(self, width: int, heads: int, patterns: tuple[Pattern, ...], **kept: Any) -> None:
        super().__init__(width, heads, **kept)
        if heads % len(patterns):
            raise ValueError(f"heads={heads} must be a multiple of the {len(patterns)} patterns")
        self.patterns = patterns

    def mix(
        self,
        q_BHLK: Tensor,
        k_BHSK: Tensor,
        v_BHSK: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attention under the patterns, (B, H, L, K); the last query stands at the last key.

        `mask` is bool over the keys, (B, 1, 1, S), true at real tokens. Raises ValueError for
        another mask, or where the attention is not causal.
        """
        if not causal:
            raise ValueError("sparse attention is causal only: causal=True is missing")
        if mask is not None:
            if mask.dtype != torch.bool or mask.ndim != 4 or mask.shape[1:3] != (1, 1):
                raise ValueError(
                    f"mask {tuple(mask.shape)} {mask.dtype} must be bool over keys, (B, 1, 1, S)"
                )
            mask = mask.expand(len(q_BHLK), -1, -1, -1)
        parts = (x.chunk(len(self.patterns), dim=1) for x in (q_BHLK, k_BHSK, v_BHSK))
        run = self._last if q_BHLK.shape[2] == 1 else self._all
        mixed = [run(p, q, k, v, mask) for p, q, k, v in zip(self.patterns, *parts, strict=True)]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1)

    def _last(
        self, pattern: Pattern, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """A single query, at the last key."""
        keys = k.shape[2]
        if mask is not None and isinstance(pattern, Fixed | Summaries):
            first_B1 = _first(mask)[:, None]
            places_BS = torch.arange(keys, device=q.device) - first_B1
            sees_BS = pattern.sees(keys - 1 - first_B1, places_BS)
            return super().mix(q, k, v, mask & sees_BS[:, None, None])
        seen = pattern.seen(keys)
        part = None if mask is None else mask[..., seen]
        return super().mix(q, k[:, :, seen], v[:, :, seen], part)

    def _all(
        self, pattern: Pattern, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """All queries, those before them (cached) as zeros; lengths made a multiple of the
        period.
        """
        length, keys = q.shape[2], k.shape[2]
        q = F.pad(q, (0, 0, keys - length, 0))
        shift_BS = None
        if mask is not None and isinstance(pattern, Fixed | Summaries):
            shift_BS = torch.arange(keys, device=q.device) + _first(mask)[:, None]
            q, k, v = (_take(x, shift_BS % keys) for x in (q, k, v))
            mask = mask.gather(3, (shift_BS % keys)[:, None, None])
        missing = -keys % pattern.period(keys)
        q, k, v = (F.pad(x, (0, 0, 0, missing)) for x in (q, k, v))
        mask = None if mask is None else F.pad(mask, (0, missing))
        out = pattern(super().mix, q, k, v, mask)[:, :, :keys]
        if shift_BS is not None:
            out = _take(out, (2 * torch.arange(keys, device=q.device) - shift_BS) % keys)
        return out[:, :, keys - length :]


def _first(mask_B11S: Tensor) -> Tensor:
    """Place (B,) of each row's first real token."""
    return mask_B11S[:, 0, 0].int().argmax(dim=1)


def _take(x_BHSK: Tensor, index_BS: Tensor) -> Tensor:
    """Places of each row in the order `index_BS`."""
    index = index_BS[:, None, :, None].expand(-1, x_BHSK.shape[1], -1, x_BHSK.shape[3])
    return x_BHSK.gather(2, index)


def sparse_attention(config: SparseConfig, block: BlockConfig) -> Callable[[int], Attention]:
    """What makes the self-attention of each block of a `Transformer`, by the block's number."""
    both = pair(config)

    def make(number: int) -> Attention:
        patterns = both if config.split == "heads" else (both[number % 2],)
        if patterns == (Full(),):
            return make_attention(block)
        return SparseAttention(
            block.width,
            block.heads,
            patterns,
            head_width=block.head_width,
            bias=block.bias,
            scale=block.scale,
            dropout=block.attention_dropout,
        )

    return make
