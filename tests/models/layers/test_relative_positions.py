"""Relative positions against a plain loop, and position tables on another grid against timm."""

from __future__ import annotations

import random

import pytest
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from transformers import SwinConfig
from transformers.models.swin.modeling_swin import SwinAttention

from models.layers.attention import Attention
from models.layers.positions import (
    Positions1D,
    Positions2D,
    RelativeBias,
    RelativeKeys,
    offsets,
    resample,
)


def key_of(table: RelativeKeys, query: int, key: int) -> Tensor:
    """The vector of one pair, by the definition: rows and columns from the key to the query."""
    rows, columns = table.grid
    down, across = offsets(table.grid)
    if table.class_token:
        if query == 0 or key == 0:
            case = 0 if query == key else (1 if query == 0 else 2)
            return table.table_EK[down * across + case]
        query, key = query - 1, key - 1
    dy = query // columns - key // columns
    dx = query % columns - key % columns
    return table.table_EK[(dy + rows - 1) * across + dx + columns - 1]


def plain(module: Attention, table: RelativeKeys, x: Tensor) -> Tensor:
    """Attention, one head and one pair at a time."""
    q, k, v = module.qkv(x).chunk(3, dim=-1)
    size, out = x.shape[2] // module.heads, torch.zeros_like(x)
    for b in range(len(x)):
        for head in range(module.heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(x.shape[1]):
                keys = [k[b, j, part] + key_of(table, i, j) for j in range(x.shape[1])]
                logits = torch.stack([q[b, i, part] @ key for key in keys]) / size**0.5
                out[b, i, part] = logits.softmax(0) @ v[b, :, part]
    return module.out(out)


@pytest.mark.parametrize("seed", range(4))
def test_relative_keys_equal_a_plain_loop(seed: int) -> None:
    torch.manual_seed(seed)
    draw = random.Random(seed)
    grid, heads = (draw.randint(1, 3), draw.randint(2, 4)), draw.choice([1, 2])
    table = RelativeKeys(grid, 4, class_token=seed % 2 == 0, deviation=1.0)
    module = Attention(4 * heads, heads, relative=table)
    length = grid[0] * grid[1] + (seed % 2 == 0)
    x = torch.randn(2, length, 4 * heads)
    torch.testing.assert_close(module(x), plain(module, table, x), atol=1e-5, rtol=0)
    place = torch.tensor([0, length - 1])
    rows = module(x)[torch.arange(2), place]
    torch.testing.assert_close(module.at(x, place), rows, atol=1e-6, rtol=0)


def test_every_entry_of_the_table_learns() -> None:
    torch.manual_seed(0)
    table = RelativeKeys((2, 3), 4, class_token=True, deviation=1.0)
    table(torch.randn(1, 2, 7, 4)).square().sum().backward()
    assert table.table_EK.grad is not None
    assert table.table_EK.shape == (3 * 5 + 3, 4)
    assert bool((table.table_EK.grad.abs().sum(dim=1) > 0).all())


def test_relative_bias_is_swins() -> None:
    torch.manual_seed(0)
    ours = RelativeBias((3, 3), 2)
    theirs = SwinAttention(SwinConfig(), 8, 2, 3).eval()
    nn.init.normal_(theirs.relative_position_bias.relative_position_bias_table)
    with torch.no_grad():
        ours.table_OH.copy_(theirs.relative_position_bias.relative_position_bias_table)
        wanted = theirs.relative_position_bias()
    torch.testing.assert_close(ours(torch.zeros(1, 2, 9, 4)), wanted.view(2, 9, 9))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("old", "new"), [((4, 6), (7, 5)), ((6, 4), (2, 9)), ((3, 3), (3, 3))])
def test_resample_is_timms(old: tuple[int, int], new: tuple[int, int], antialias: bool) -> None:
    torch.manual_seed(0)
    table = Positions1D(1 + old[0] * old[1], 5, 1.0)
    wanted = resample_abs_pos_embed(
        table.table_LD[None], list(new), list(old), antialias=antialias
    )[0]
    table.resize_grid(old, new, antialias)
    assert isinstance(table.table_LD, nn.Parameter) and table.table_LD.requires_grad
    torch.testing.assert_close(table.table_LD.detach(), wanted.detach(), atol=1e-6, rtol=0)


def test_halves_are_interpolated_as_the_whole_grid_is() -> None:
    torch.manual_seed(0)
    table = Positions2D(3, 5, 6, 1, 1.0)
    whole = table(torch.zeros(1, 16, 6))[0, 1:].detach()
    table.resize_grid((3, 5), (6, 4))
    again = table(torch.zeros(1, 25, 6))[0].detach()
    assert torch.equal(again[0], torch.zeros(6))
    torch.testing.assert_close(again[1:], resample(whole, (3, 5), (6, 4)), atol=1e-5, rtol=0)


def test_a_relative_table_keeps_its_middle_and_its_class_token() -> None:
    torch.manual_seed(0)
    table = RelativeKeys((3, 4), 5, class_token=True, deviation=1.0)
    before = table.table_EK.detach().clone()
    table.resize_grid((3, 4), (6, 7))
    assert table.table_EK.shape == (11 * 13 + 3, 5)
    assert torch.equal(table.table_EK[-3:], before[-3:])
    spread = resample(before[:-3], (5, 7), (11, 13))
    assert torch.equal(table.table_EK[:-3], spread)
    assert table(torch.randn(1, 2, 43, 5)).shape == (1, 2, 43, 43)


def test_bfloat16_tables() -> None:
    torch.manual_seed(0)
    table = RelativeKeys((3, 4), 8, class_token=False, deviation=1.0)
    q = torch.randn(1, 2, 12, 8)
    near = table.bfloat16()(q.bfloat16())
    assert near.dtype == torch.bfloat16
    wanted = table.float()(q)
    torch.testing.assert_close(near.float(), wanted, atol=0.05, rtol=0.05)
    table.bfloat16().resize_grid((3, 4), (5, 5))
    assert table.table_EK.dtype == torch.bfloat16
