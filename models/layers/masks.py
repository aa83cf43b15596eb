"""Who may look at whom: every attention mask that a model here uses.

A mask is boolean, true where a query may look, and broadcasts to (B, H, L, S). Purely causal
attention needs none of these (the kernel has a flag), and neither does a batch without padding:
the fastest mask is no mask.

Shapes: B batch, H heads, L queries, S keys, Q learned queries, T tokens of text.
"""

from __future__ import annotations

import torch
from torch import Tensor


def padding(valid_BS: Tensor) -> Tensor:
    """(B, 1, 1, S): keys that are real tokens, of a (B, S) that is true (or 1) at those."""
    return valid_BS.bool()[:, None, None, :]


def causal(length: int, keys: int | None = None, device: torch.device | None = None) -> Tensor:
    """(L, S): nobody looks ahead; the last query stands at the last key, as with cached keys."""
    keys = length if keys is None else keys
    square = torch.ones(length, keys, dtype=torch.bool, device=device)
    return square.tril(keys - length)


def banded(length: int, window: int, device: torch.device | None = None) -> Tensor:
    """(L, L): causal, and only the last `window` tokens, one's own among them."""
    return causal(length, device=device) & ~causal(length, device=device).tril(-window)


def strided(length: int, stride: int, device: torch.device | None = None) -> Tensor:
    """(L, L): causal, and only tokens a multiple of `stride` back (Child et al. 2019)."""
    place = torch.arange(length, device=device)
    same = (place[:, None] - place) % stride == 0
    return same & causal(length, device=device)


def fixed(length: int, stride: int, device: torch.device | None = None) -> Tensor:
    """(L, L): causal, and only tokens of one's own block of `stride` (Child et al. 2019)."""
    block = torch.arange(length, device=device) // stride
    return (block[:, None] == block) & causal(length, device=device)


def summaries(length: int, stride: int, count: int, device: torch.device | None = None) -> Tensor:
    """(L, L): causal, and only the last `count` tokens of each block of `stride`."""
    summary = torch.arange(length, device=device) % stride >= stride - count
    return summary & causal(length, device=device)


def multimodal_causal(queries: int, valid_BT: Tensor) -> Tensor:
    """(B, 1, Q+T, Q+T), BLIP-2's for text generation: queries see queries; a text token sees all
    queries and the text up to itself.
    """
    total = queries + valid_BT.shape[1]
    mask = causal(total, device=valid_BT.device)
    mask[:queries, :queries] = True
    real_BS = torch.cat([valid_BT.new_ones(len(valid_BT), queries), valid_BT], dim=1)
    return mask & padding(real_BS)


def unimodal(queries: int, valid_BT: Tensor) -> Tensor:
    """(B, 1, Q+T, Q+T), BLIP-2's for the contrastive loss: queries see queries, text sees text."""
    side = torch.arange(queries + valid_BT.shape[1], device=valid_BT.device) < queries
    real_BS = torch.cat([valid_BT.new_ones(len(valid_BT), queries), valid_BT], dim=1)
    return (side[:, None] == side) & padding(real_BS)


def combined(*masks: Tensor | None) -> Tensor | None:
    """All of `masks` at once: None is no mask; one float mask (added to the logits) may be among
    them.
    """
    allowed: Tensor | None = None
    bias: Tensor | None = None
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            allowed = mask if allowed is None else allowed & mask
        else:
            bias = mask if bias is None else bias + mask
    if bias is None or allowed is None:
        return bias if allowed is None else allowed
    return torch.where(allowed, bias, torch.tensor(-torch.inf, dtype=bias.dtype))
