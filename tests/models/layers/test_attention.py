"""Attention against a plain loop over heads and against PyTorch's own module."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from models.layers.attention import Attention
from models.layers.masks import padding


def plain(module: Attention, x: Tensor, causal: bool, valid: Tensor | None) -> Tensor:
    """One head, one query at a time."""
    q, k, v = module.qkv(x).chunk(3, dim=-1)
    size = x.shape[2] // module.heads
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for head in range(module.heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(x.shape[1]):
                seen = [
                    j
                    for j in range(x.shape[1])
                    if (not causal or j <= i) and (valid is None or bool(valid[b, j]))
                ]
                logits = k[b, seen, part] @ q[b, i, part] / math.sqrt(size)
                out[b, i, part] = logits.softmax(0) @ v[b, seen, part]
    return module.out(out)


@pytest.fixture
def module() -> Attention:
    torch.manual_seed(0)
    return Attention(24, 3)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_equals_a_plain_loop(module: Attention, causal: bool, padded: bool) -> None:
    x = torch.randn(2, 5, 24)
    valid = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool() if padded else None
    torch.testing.assert_close(
        module(x, mask=None if valid is None else padding(valid), causal=causal),
        plain(module, x, causal, valid),
        atol=1e-5,
        rtol=0,
    )


def test_equals_torch_multihead_attention(module: Attention) -> None:
    theirs = nn.MultiheadAttention(24, 3, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": module.qkv.weight,
            "in_proj_bias": module.qkv.bias,
            "out_proj.weight": module.out.weight,
            "out_proj.bias": module.out.bias,
        }
    )
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(module(x), theirs(x, x, x)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_one_row_is_the_row_of_all(module: Attention, causal: bool) -> None:
    x, place = torch.randn(4, 6, 24), torch.tensor([0, 5, 2, 3])
    rows = module(x, causal=causal)[torch.arange(4), place]
    torch.testing.assert_close(module.at(x, place, causal), rows, atol=1e-6, rtol=0)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"heads=5 .* width=24"):
        Attention(24, 5)
