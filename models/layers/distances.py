"""T5's relative positions (Raffel et al. 2020, section 2.1): a learned number for each bucket of
distances and each head, added to the attention's logits.

One table serves all blocks of a stack, so the bias is worked out once a pass, and for the L + S - 1
distances that there are rather than for L x S pairs.

Shapes: N buckets, H heads, L queries, S keys, X distances.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def bucket_of(distance: Tensor, count: int, furthest: int, both: bool) -> Tensor:
    """The bucket, 0 to `count` - 1, of each `distance` (key minus query, int64).

    Half of the buckets are one distance each, the other half grow with the logarithm up to
    `furthest`; everything beyond shares the last. With `both`, keys ahead have buckets of their
    own; without, they count as distance 0, as nobody looks ahead.
    """
    if both:
        count //= 2
        ahead = (distance > 0).long() * count
        distance = distance.abs()
    else:
        ahead = torch.zeros_like(distance)
        distance = (-distance).clamp(min=0)
    exact = count // 2
    growth = (distance.clamp(min=1).float() / exact).log() / math.log(furthest / exact)
    far = (exact + (growth * (count - exact)).long()).clamp(max=count - 1)
    return ahead + torch.where(distance < exact, distance, far)


class Distances(nn.Module):
    """The bias on the logits of every block of a stack; `both` as in `bucket_of`."""

    def __init__(
        self, heads: int, count: int, furthest: int, *, both: bool, deviation: float
    ) -> None:
        super().__init__()
        exact = count // (4 if both else 2)
        if exact < 1 or furthest <= exact:
            raise ValueError(f"count={count} must be at least 4, furthest={furthest} over {exact}")
        self.furthest, self.both = furthest, both
        self.table_NH = nn.Parameter(deviation * torch.randn(count, heads))

    def forward(self, length: int, keys: int | None = None) -> Tensor:
        """(1, H, L, S) for `length` queries, the last of which stands at the last key."""
        keys = length if keys is None else keys
        device = self.table_NH.device
        distance_X = torch.arange(1 - keys, length, device=device)
        bucket_X = bucket_of(distance_X, len(self.table_NH), self.furthest, self.both)
        bias_HX = self.table_NH[bucket_X].T
        query_L = torch.arange(keys - length, keys, device=device)
        key_S = torch.arange(keys, device=device)
        return bias_HX[None, :, key_S - query_L[:, None] + keys - 1]
