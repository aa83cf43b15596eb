"""Every pattern against dense attention under its explicit mask: any length, padding, cached
tokens, halves of the heads; what it costs; what a token can reach.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.layers import masks
from models.layers.attention import Attention
from models.layers.block import BlockConfig, Transformer
from models.layers.cache import Cache, KeyValues
from models.layers.patterns import Banded, Fixed, Full, Pattern, Strided, Summaries
from models.layers.sparse import SparseAttention, SparseConfig, pair, sparse_attention

KINDS = ["full", "banded", "strided", "fixed", "summaries"]
Explicit = Callable[[int], Tensor]


def drawn(kind: str, rng: random.Random) -> tuple[Pattern, Explicit]:
    """A pattern of random size, and the dense mask that it must equal."""
    span = rng.randint(1, 7)
    count = rng.randint(1, span)
    found: dict[str, tuple[Pattern, Explicit]] = {
        "full": (Full(), masks.causal),
        "banded": (Banded(span), lambda n: masks.banded(n, span)),
        "strided": (Strided(span), lambda n: masks.strided(n, span)),
        "fixed": (Fixed(span), lambda n: masks.fixed(n, span)),
        "summaries": (Summaries(span, count), lambda n: masks.summaries(n, span, count)),
    }
    return found[kind]


def module(patterns: tuple[Pattern, ...], heads: int, head_width: int) -> SparseAttention:
    attention = SparseAttention(heads * head_width, heads, patterns)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return attention


def dense(attention: Attention, x: Tensor, mask: Tensor) -> Tensor:
    """The same weights, every pair of tokens scored."""
    plain = Attention(x.shape[2], attention.heads)
    plain.load_state_dict(attention.state_dict())
    return plain.to(x.dtype)(x, mask=mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_dense_attention_under_its_mask(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    rng = random.Random(seed)
    pattern, explicit = drawn(kind, rng)
    heads, head_width = rng.randint(1, 3), rng.choice([4, 8])
    attention = module((pattern,), heads, head_width)
    for length in (1, 2, *rng.sample(range(3, 30), 4)):
        x = torch.randn(rng.randint(1, 3), length, heads * head_width, requires_grad=True)
        ours, wanted = attention(x, causal=True), dense(attention, x, explicit(length))
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)
        pull = torch.randn_like(wanted)
        (mine,) = torch.autograd.grad(ours, x, pull)
        (other,) = torch.autograd.grad(wanted, x, pull)
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_near(kind: str) -> None:
    torch.manual_seed(0)
    pattern, explicit = drawn(kind, random.Random(3))
    attention = module((pattern,), 2, 8)
    x = torch.randn(2, 19, 16)
    wanted = dense(attention, x, explicit(19))
    found = attention.bfloat16()(x.bfloat16(), causal=True).float()
    assert (found - wanted).abs().max() < 0.03 * wanted.abs().max()


def padded_mask(explicit: Explicit, valid_BL: Tensor) -> Tensor:
    """(B, 1, L, L): the pattern counted from each row's first real token, padding never seen."""
    length = valid_BL.shape[1]
    out = torch.zeros(len(valid_BL), 1, length, length, dtype=torch.bool)
    for row, valid in enumerate(valid_BL):
        first = int(valid.int().argmax())
        out[row, 0, first:, first:] = explicit(length - first)
    return out & valid_BL[:, None, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_padding_on_either_side_is_never_seen(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    pattern, explicit = drawn(kind, random.Random(seed))
    attention = module((pattern,), 2, 4)
    length = 11 + seed
    valid = torch.ones(4, length, dtype=torch.bool)
    valid[0, :3], valid[1, -4:], valid[2, :5], valid[2, -2:] = False, False, False, False
    x = torch.randn(4, length, 8, requires_grad=True)
    ours = attention(x, mask=masks.padding(valid), causal=True)
    wanted = dense(attention, x, padded_mask(explicit, valid))
    torch.testing.assert_close(ours[valid], wanted[valid], atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(ours[valid].square().sum(), x)
    assert ours.isfinite().all() and gradient.isfinite().all()
    assert not gradient[~valid].any()
    one = masks.padding(valid[2:3])  # a mask of one row stands for all
    alike = attention(x[:2], mask=one, causal=True)
    same = attention(x[:2], mask=one.expand(2, -1, -1, -1), causal=True)
    torch.testing.assert_close(alike, same)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("pieces", [[1] * 13, [6, 1, 1, 1, 1, 1, 1, 1], [4, 5, 1, 3]])
def test_cached_tokens_change_nothing(kind: str, padded: bool, pieces: list[int]) -> None:
    torch.manual_seed(1)
    pattern, _ = drawn(kind, random.Random(7))
    attention = module((pattern, pattern), 2, 4)
    x, valid = torch.randn(3, 13, 8), torch.ones(3, 13, dtype=torch.bool)
    if padded:
        valid[0, :3], valid[1, :4] = False, False
    whole = attention(x, mask=masks.padding(valid) if padded else None, causal=True)
    cache, done, found = KeyValues(), 0, []
    for length in pieces:
        part = slice(done, done + length)
        done += length
        mask = masks.padding(valid[:, :done]) if padded else None
        found.append(attention(x[:, part], mask=mask, causal=True, cache=cache))
    torch.testing.assert_close(torch.cat(found, 1)[valid], whole[valid], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["banded", "strided", "fixed"])
def test_half_of_the_heads_have_each_pattern(kind: str) -> None:
    torch.manual_seed(2)
    config = SparseConfig(kind, span=4, summaries=2, split="heads")  # type: ignore[arg-type]
    attention = sparse_attention(config, BlockConfig(24, 4))(1)
    assert isinstance(attention, SparseAttention) and attention.patterns == pair(config)
    explicit = {
        "banded": (masks.causal(15), masks.banded(15, 4)),
        "strided": (masks.banded(15, 4), masks.strided(15, 4)),
        "fixed": (masks.fixed(15, 4), masks.summaries(15, 4, 2)),
    }[kind]
    mask = torch.stack([explicit[0], explicit[0], explicit[1], explicit[1]])[None]
    x = torch.randn(2, 15, 24)
    wanted = dense(attention, x, mask)
    torch.testing.assert_close(attention(x, causal=True), wanted, atol=1e-5, rtol=0)


def test_layers_take_turns() -> None:
    block = BlockConfig(8, 2, bias=False, head_width=6, scale=1.0, attention_dropout=0.25)
    make = sparse_attention(SparseConfig("fixed", span=4, summaries=1), block)
    found = [make(number) for number in range(4)]
    assert [a.patterns for a in found if isinstance(a, SparseAttention)] == [
        (Fixed(4),),
        (Summaries(4, 1),),
    ] * 2
    assert all(a.scale == 1.0 and a.dropout == 0.25 and a.qkv.bias is None for a in found)
    assert found[0].qkv.weight.shape == (36, 8)
    gpt3 = sparse_attention(SparseConfig("banded"), BlockConfig(8, 2))
    assert type(gpt3(0)) is Attention
    banded = gpt3(1)
    assert isinstance(banded, SparseAttention) and banded.patterns == (Banded(256),)


def work(patterns: tuple[Pattern, ...], length: int) -> int:
    """Floating point operations between projections."""
    attention = SparseAttention(8, 2, patterns)
    q, k, v = torch.randn(3, 1, 2, length, 4)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        attention.mix(q, k, v, causal=True)
    return int(counter.get_total_flops())


def test_work_grows_well_below_the_square_of_the_length() -> None:
    assert work((Full(),), 1024) == 16 * work((Full(),), 256)
    assert work((Banded(16),), 1024) < 4.2 * work((Banded(16),), 256)
    for small, large in (
        ((Banded(16), Strided(16)), (Banded(32), Strided(32))),
        ((Fixed(16), Summaries(16, 2)), (Fixed(32), Summaries(32, 2))),
    ):
        assert work(large, 1024) < 8.5 * work(small, 256)
        assert work(large, 1024) < 0.2 * work((Full(), Full()), 1024)


def test_a_decoded_token_reads_only_its_keys() -> None:
    q, (k, v) = torch.randn(1, 2, 1, 4), torch.randn(2, 1, 2, 1000, 4)
    for pattern, keys in (
        (Banded(16), 16),
        (Strided(32), 32),
        (Fixed(64), 1000 % 64),
        (Summaries(32, 2), 62),
    ):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            SparseAttention(8, 2, (pattern,)).mix(q, k, v, causal=True)
        assert counter.get_total_flops() == 2 * 2 * 2 * keys * 4


def test_what_is_outside_the_band_is_not_seen() -> None:
    torch.manual_seed(4)
    for seed, window in ((0, 3), (1, 5), (2, 1)):
        attention = module((Banded(window),), 2, 4)
        torch.manual_seed(seed)
        x, place = torch.randn(1, 17, 8), 12
        changed = x.clone()
        changed[:, : place - window + 1] = torch.randn(1, place - window + 1, 8)
        before, after = attention(x, causal=True), attention(changed, causal=True)
        torch.testing.assert_close(before[:, place], after[:, place], atol=1e-6, rtol=0)
        assert (before[:, place - 1] - after[:, place - 1]).abs().max() > 1e-3
        changed[:, place + 1 :] = torch.randn(1, 16 - place, 8)
        later = attention(changed, causal=True)
        torch.testing.assert_close(before[:, place], later[:, place], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["banded", "strided", "fixed"])
@pytest.mark.parametrize("split", ["layers", "heads"])
def test_two_layers_reach_the_whole_past(kind: str, split: str) -> None:
    """Every earlier token moves the last one: through the summary of its block, where fixed."""
    torch.manual_seed(5)
    config = SparseConfig(kind, span=4, summaries=1, split=split)  # type: ignore[arg-type]
    block = BlockConfig(16, 4)
    model = Transformer(block, 2, sparse_attention(config, block))
    x = torch.randn(1, 15, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x, causal=True)[:, -1].square().sum(), x)
    assert (gradient[0].abs().amax(dim=1) > 1e-8).all()


def test_a_stack_with_a_cache_is_the_whole_stack() -> None:
    torch.manual_seed(6)
    block = BlockConfig(16, 4)
    config = SparseConfig("fixed", span=3, summaries=1, split="heads")
    model = Transformer(block, 2, sparse_attention(config, block))
    x, cache = torch.randn(2, 10, 16), Cache.empty(2)
    parts = [model(x[:, i : i + 1], causal=True, cache=cache) for i in range(10)]
    torch.testing.assert_close(torch.cat(parts, 1), model(x, causal=True), atol=1e-5, rtol=0)


def test_what_cannot_be_is_named() -> None:
    attention = SparseAttention(8, 2, (Banded(4),))
    x = torch.randn(1, 5, 8)
    with pytest.raises(ValueError, match="causal only"):
        attention(x)
    with pytest.raises(ValueError, match=r"mask \(5, 5\) torch.bool must be bool over keys"):
        attention(x, mask=masks.causal(5), causal=True)
    with pytest.raises(ValueError, match="heads=3 must be a multiple of the 2 patterns"):
        SparseAttention(24, 3, (Banded(4), Strided(4)))
    with pytest.raises(ValueError, match="summaries=9 must be in 1 to span=8"):
        pair(SparseConfig("fixed", span=8, summaries=9))
    with pytest.raises(ValueError, match="span=0 must be at least 1"):
        pair(SparseConfig(span=0))
    with pytest.raises(ValueError, match="kind='random' must be one of"):
        pair(SparseConfig("random"))  # type: ignore[arg-type]
