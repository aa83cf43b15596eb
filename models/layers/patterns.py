"""Which earlier places a token looks at, each pattern as a batch of small dense attentions.

Positions are reshaped: neighbouring places into blocks, every W-th place into lanes. What is then
left to compute is causal attention inside a block or a lane, or attention to few keys, and the
`dense` that every pattern is given does that (`Attention.mix`). No mask of L x L exists and nothing
loops over heads or windows. The masks of `models.layers.masks` say what each pattern must equal. A
query that sees no key at all (in `Summaries`, before the first one) gets zeros.

Shapes: B batch, H heads, L queries and keys, K width of a head, N blocks of W places, M summaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.layers import masks

Mix = Callable[..., Tensor]
Seen = slice | Tensor


def _grid(x_BHLK: Tensor, width: int) -> Tensor:
    """(B, H, N, W, K)."""
    B, H, L, K = x_BHLK.shape
    return x_BHLK.reshape(B, H, L // width, width, K)


def blocks(x_BHLK: Tensor, width: int) -> Tensor:
    """(B, H, N W, K) cut into neighbouring places, (B N, H, W, K)."""
    return _grid(x_BHLK, width).transpose(1, 2).flatten(0, 1)


def unblocks(x: Tensor, batch: int) -> Tensor:
    """The inverse of `blocks`."""
    return x.reshape(batch, -1, *x.shape[1:]).transpose(1, 2).flatten(2, 3)


def lanes(x_BHLK: Tensor, stride: int) -> Tensor:
    """(B, H, N W, K) cut into every W-th place, (B W, H, N, K)."""
    return _grid(x_BHLK, stride).permute(0, 3, 1, 2, 4).flatten(0, 1)


def unlanes(x: Tensor, batch: int) -> Tensor:
    """The inverse of `lanes`."""
    return x.reshape(batch, -1, *x.shape[1:]).permute(0, 2, 3, 1, 4).flatten(2, 3)


def _over_keys(mask_B11S: Tensor | None, cut: Callable[[Tensor], Tensor]) -> Tensor | None:
    """A mask over keys, cut as the keys are."""
    return None if mask_B11S is None else cut(mask_B11S.transpose(2, 3)).transpose(2, 3)


@dataclass(frozen=True)
class Full:
    """All places up to one's own."""

    def period(self, keys: int) -> int:
        """What the number of keys is padded to a multiple of."""
        return 1

    def __call__(self, dense: Mix, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of all queries; as many keys as queries, a multiple of the period."""
        return dense(q, k, v, mask, True)

    def seen(self, keys: int) -> Seen:
        """The keys that the last place of `keys` sees."""
        return slice(0, keys)


@dataclass(frozen=True)
class Banded:
    """The last `window` places, one's own among them."""

    window: int

    def period(self, keys: int) -> int:
        """Places of a block."""
        return min(self.window, keys)

    def __call__(self, dense: Mix, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Each block of queries looks at its own block and the one before; the first, at its
        own.
        """
        W, batch = self.window, len(q)
        head = None if mask is None else mask[..., :W]
        first = dense(q[:, :, :W], k[:, :, :W], v[:, :, :W], head, True)
        if q.shape[2] <= W:
            return first

        def pairs(x: Tensor) -> Tensor:
            return torch.cat([blocks(x[:, :, :-W], W), blocks(x[:, :, W:], W)], dim=2)

        band = masks.combined(masks.banded(2 * W, W, q.device)[W:], _over_keys(mask, pairs))
        rest = dense(blocks(q[:, :, W:], W), pairs(k), pairs(v), band)
        return torch.cat([first, unblocks(rest, batch)], dim=2)

    def seen(self, keys: int) -> Seen:
        """The keys that the last place of `keys` sees."""
        return slice(max(0, keys - self.window), keys)


@dataclass(frozen=True)
class Strided:
    """The places a multiple of `stride` back, one's own among them."""

    stride: int

    def period(self, keys: int) -> int:
        """Places between two that see each other."""
        return self.stride

    def __call__(self, dense: Mix, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Every lane of places is a short causal sequence of its own."""
        cut = [lanes(x, self.stride) for x in (q, k, v)]
        mask = _over_keys(mask, lambda x: lanes(x, self.stride))
        return unlanes(dense(*cut, mask, True), len(q))

    def seen(self, keys: int) -> Seen:
        """The keys that the last place of `keys` sees."""
        return slice((keys - 1) % self.stride, keys, self.stride)


@dataclass(frozen=True)
class Fixed:
    """The places of one's own block of `stride`, up to one's own."""

    stride: int

    def period(self, keys: int) -> int:
        """Places of a block."""
        return min(self.stride, keys)

    def __call__(self, dense: Mix, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Every block is a short causal sequence of its own."""
        width = self.period(q.shape[2])
        cut = [blocks(x, width) for x in (q, k, v)]
        mask = _over_keys(mask, lambda x: blocks(x, width))
        return unblocks(dense(*cut, mask, True), len(q))

    def seen(self, keys: int) -> Seen:
        """The keys that the last place of `keys` sees."""
        return slice((keys - 1) // self.stride * self.stride, keys)

    def sees(self, own: Tensor, places: Tensor) -> Tensor:
        """Whether a token at `own` sees the `places` before it."""
        return places // self.stride == own // self.stride


@dataclass(frozen=True)
class Summaries:
    """The last `count` places of every block of `stride`, up to one's own."""

    stride: int
    count: int

    def period(self, keys: int) -> int:
        """Places of a block."""
        return self.stride

    def __call__(self, dense: Mix, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """All queries look at `count` keys a block: a score matrix of L x (L count / stride)."""

        def chosen(x: Tensor) -> Tensor:
            return _grid(x, self.stride)[:, :, :, -self.count :].flatten(2, 3)

        place_L1 = torch.arange(q.shape[2], device=q.device)[:, None]
        summary_M = chosen(place_L1[None, None])[0, 0, :, 0]
        mask = masks.combined(place_L1 >= summary_M, _over_keys(mask, chosen))
        return dense(q, chosen(k), chosen(v), mask)

    def seen(self, keys: int) -> Seen:
        """The keys that the last place of `keys` sees."""
        places = torch.arange(keys)
        return places[self.sees(places, places)]

    def sees(self, own: Tensor, places: Tensor) -> Tensor:
        """Whether a token at `own` sees the `places` before it."""
        return places % self.stride >= self.stride - self.count


Pattern = Full | Banded | Strided | Fixed | Summaries
