"""Keys and values that generation has computed already, so that each new token costs one row.

Shapes: B batch, H heads, S keys so far, K width of a head, C width of a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor


@dataclass
class KeyValues:
    """Of one attention; empty until it first runs."""

    k_BHSK: Tensor | None = None
    v_BHSK: Tensor | None = None

    @property
    def length(self) -> int:
        """Keys held."""
        return 0 if self.k_BHSK is None else self.k_BHSK.shape[2]

    def append(self, k_BHLK: Tensor, v_BHLK: Tensor) -> tuple[Tensor, Tensor]:
        """Adds new ones after those held; returns all."""
        if self.k_BHSK is not None and self.v_BHSK is not None:
            k_BHLK = torch.cat([self.k_BHSK, k_BHLK], dim=2)
            v_BHLK = torch.cat([self.v_BHSK, v_BHLK], dim=2)
        self.k_BHSK, self.v_BHSK = k_BHLK, v_BHLK
        return k_BHLK, v_BHLK

    def select(self, rows_B: Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may come more than once."""
        if self.k_BHSK is not None and self.v_BHSK is not None:
            self.k_BHSK = self.k_BHSK.index_select(0, rows_B)
            self.v_BHSK = self.v_BHSK.index_select(0, rows_B)


@dataclass
class Cache:
    """Of a stack of blocks: for each, its self-attention's and its cross-attention's."""

    own: list[KeyValues] = field(default_factory=list)
    cross: list[KeyValues] = field(default_factory=list)
    real_BS: Tensor | None = None  # tokens admitted that are no padding; None: all of them

    @classmethod
    def empty(cls, depth: int) -> Cache:
        """For `depth` blocks that have not run."""
        return cls([KeyValues() for _ in range(depth)], [KeyValues() for _ in range(depth)])

    @property
    def length(self) -> int:
        """Tokens that have run."""
        return self.own[0].length if self.own else 0

    def admit(self, valid_BL: Tensor | None, batch: int, length: int) -> Tensor | None:
        """Notes which of `length` tokens about to run are no padding (None: all of them); returns
        the same of all tokens, (B, S), or None where none is padding.
        """
        known = self.real_BS if valid_BL is None else valid_BL
        if known is None:
            return None
        before, new = self.real_BS, valid_BL
        if before is None:
            before = torch.ones(batch, self.length, dtype=torch.bool, device=known.device)
        if new is None:
            new = torch.ones(batch, length, dtype=torch.bool, device=known.device)
        self.real_BS = torch.cat([before, new.bool()], dim=1)
        return self.real_BS

    def fork(self) -> Self:
        """A copy that grows by itself; what is held so far is shared, not copied."""
        own, cross = map(replace, self.own), map(replace, self.cross)
        return replace(self, own=list(own), cross=list(cross))

    def select(self, rows_B: Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may come more than once."""
        for held in (*self.own, *self.cross):
            held.select(rows_B)
        if self.real_BS is not None:
            self.real_BS = self.real_BS.index_select(0, rows_B)

    def sources(self, rows_B: Tensor | None = None) -> Cache:
        """A new cache of the sources alone, of all rows or of these, for another pass over them."""
        held = Cache([KeyValues() for _ in self.own], [replace(one) for one in self.cross])
        if rows_B is not None:
            held.select(rows_B)
        return held


def join(caches: Sequence[Cache]) -> Cache:
    """A new cache of the sources of all, one batch after another."""
    out = Cache.empty(len(caches[0].cross))
    for number, held in enumerate(out.cross):
        parts = [cache.cross[number] for cache in caches]
        k_BHSK = [part.k_BHSK for part in parts if part.k_BHSK is not None]
        v_BHSK = [part.v_BHSK for part in parts if part.v_BHSK is not None]
        if k_BHSK:
            held.append(torch.cat(k_BHSK), torch.cat(v_BHSK))
    return out


@dataclass
class SourceCache(Cache):
    """With the source that cross-attention looks at, until its keys and values are held."""

    source_BSC: Tensor | None = None
    valid_BS: Tensor | None = None  # true where the source is no padding; None: everywhere

    def select(self, rows_B: Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may come more than once."""
        super().select(rows_B)
        if self.source_BSC is not None:
            self.source_BSC = self.source_BSC.index_select(0, rows_B)
        if self.valid_BS is not None:
            self.valid_BS = self.valid_BS.index_select(0, rows_B)
