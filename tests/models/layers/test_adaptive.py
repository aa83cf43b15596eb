"""Adaptive softmax against PyTorch's own and against the softmax over all ids; adaptive input
against a dense product; ties.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.layers.adaptive import AdaptiveConfig, AdaptiveInput, AdaptiveSoftmax, bands
from tests.models.drawing import randomise

UNTIED = {"tie_weights": False, "tie_projections": False}


def drawn(seed: int, **ties: bool) -> tuple[int, int, AdaptiveConfig]:
    """Ids, width, and two or three cutoffs, at random."""
    rng = random.Random(seed)
    vocab_size, width = rng.randint(30, 60), rng.choice([32, 64, 80])
    cutoffs = sorted(rng.sample(range(3, vocab_size - 3), rng.choice([1, 2])))
    factor = rng.choice([2, 4])
    return vocab_size, width, AdaptiveConfig(tuple(cutoffs), factor, **ties)


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchs_adaptive_softmax(seed: int) -> None:
    torch.manual_seed(seed)
    vocab_size, width, config = drawn(seed, **UNTIED)
    ours = AdaptiveSoftmax(vocab_size, width, config)
    randomise(ours)
    theirs = nn.AdaptiveLogSoftmaxWithLoss(
        width, vocab_size, list(config.cutoffs), float(config.factor), head_bias=False
    )
    state = {"head.weight": ours.head.weight}
    for band, (down, rows) in enumerate(zip(ours.down, ours.rows, strict=True)):
        state |= {f"tail.{band}.0.weight": down.weight, f"tail.{band}.1.weight": rows.weight}
    theirs.load_state_dict(state)
    x, ids = torch.randn(50, width), torch.randint(vocab_size, (50,))
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.nll(x, ids), -theirs(x, ids).output, atol=1e-5, rtol=0)
    ours.nll(x, ids).mean().backward()
    theirs(x, ids).loss.backward()
    for name, parameter in theirs.named_parameters():
        mine = {"head.weight": ours.head}
        for band in range(len(ours.rows)):
            mine |= {f"tail.{band}.0.weight": ours.down[band]}
            mine |= {f"tail.{band}.1.weight": ours.rows[band]}
        torch.testing.assert_close(mine[name].weight.grad, parameter.grad, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_input_is_the_dense_product(seed: int) -> None:
    torch.manual_seed(seed)
    vocab_size, width, config = drawn(seed)
    model = AdaptiveInput(vocab_size, width, config)
    randomise(model)
    ids = torch.randint(vocab_size, (3, 7))
    one_hot = F.one_hot(ids, vocab_size).float()
    wanted = torch.zeros(3, 7, width)
    for band, (first, end, size) in enumerate(bands(vocab_size, width, config)):
        assert model.table(band).shape == (end - first, size)
        wanted += one_hot[..., first:end] @ model.table(band) @ model.projection(band).T
    torch.testing.assert_close(model(ids), wanted, atol=1e-5, rtol=0)
    assert model(ids[:0]).shape == (0, 7, width)
    every = torch.arange(vocab_size)
    assert torch.equal(model(every), model(every[None, :, None])[0, :, 0])


def reference(
    x: Tensor, softmax: AdaptiveSoftmax, given: AdaptiveInput, config: AdaptiveConfig
) -> Tensor:
    """log p (N, V) from one logit an id and one a band, written out."""
    (_, head, _), *rare = softmax.bands
    if config.tie_weights:
        words, entries = given.table(0), softmax.entries.weight
    else:
        words, entries = softmax.head.weight[:head], softmax.head.weight[head:]
    top = torch.cat([x @ words.T, x @ entries.T], dim=1)
    p_top = top.exp() / top.exp().sum(dim=1, keepdim=True)
    parts = [p_top[:, :head]]
    for band in range(1, len(rare) + 1):
        down = given.projection(band).T if config.tie_projections else softmax.down[band - 1].weight
        rows = given.table(band) if config.tie_weights else softmax.rows[band - 1].weight
        logits = x @ down.T @ rows.T
        inside = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
        parts.append(p_top[:, head + band - 1, None] * inside)
    return torch.cat(parts, dim=1).log()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("projections", [False, True])
def test_equals_the_softmax_written_out(seed: int, weights: bool, projections: bool) -> None:
    torch.manual_seed(seed)
    vocab_size, width, config = drawn(seed, tie_weights=weights, tie_projections=projections)
    given = AdaptiveInput(vocab_size, width, config)
    softmax = AdaptiveSoftmax(vocab_size, width, config)
    randomise(given)
    randomise(softmax)
    x, ids = torch.randn(40, width), torch.randint(vocab_size, (40,))
    wanted = reference(x, softmax, given, config)
    found = softmax.log_prob(x, given)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(40), atol=1e-5, rtol=0)
    nll = softmax.nll(x, ids, given)
    torch.testing.assert_close(nll, -wanted.gather(1, ids[:, None])[:, 0], atol=1e-4, rtol=0)
    parameters = [*softmax.parameters()]
    parameters += [p for p in given.parameters() if weights or projections]
    mine = torch.autograd.grad(nll.sum(), parameters, allow_unused=True)
    other = torch.autograd.grad(
        -wanted.gather(1, ids[:, None]).sum(), parameters, allow_unused=True
    )
    for a, b in zip(mine, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_band_without_tokens_still_has_a_gradient() -> None:
    """So that every rank of a run exchanges the same tensors."""
    config = AdaptiveConfig((4, 8))
    given, softmax = AdaptiveInput(20, 16, config), AdaptiveSoftmax(20, 16, config)
    ids = torch.tensor([0, 1, 2])
    softmax.nll(given(ids), ids, given).sum().backward()
    for model in (given, softmax):
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
    assert given.tables[2].weight.grad is not None and not given.tables[2].weight.grad.any()


def test_a_loss_does_not_score_every_id() -> None:
    config = AdaptiveConfig((50, 200))
    given, softmax = AdaptiveInput(5000, 64, config), AdaptiveSoftmax(5000, 64, config)
    x, ids = torch.randn(300, 64), torch.arange(300) % 50
    ids[:3] = torch.tensor([60, 1000, 4999])
    costs = []
    for call in (lambda: softmax.nll(x, ids, given), lambda: softmax.log_prob(x, given)):
        with FlopCounterMode(display=False) as counter:
            call()
        costs.append(counter.get_total_flops())
    assert costs[0] < costs[1] / 5


def test_a_state_dict_holds_tied_weights_once() -> None:
    for config in (AdaptiveConfig((10, 20)), AdaptiveConfig((10, 20), **UNTIED)):
        model = nn.ModuleDict(
            {"input": AdaptiveInput(40, 32, config), "softmax": AdaptiveSoftmax(40, 32, config)}
        )
        places = [tensor.data_ptr() for tensor in model.state_dict().values()]
        assert len(set(places)) == len(places)
        tied = config.tie_weights
        count = sum(p.numel() for p in model["softmax"].parameters())
        assert count == (2 * 32 if tied else 12 * 32 + 8 * 32 + 2 * 32 + 8 * 10 + 2 * 20)


def test_dropout_only_in_training() -> None:
    config = replace(AdaptiveConfig((10,), **UNTIED), dropout=0.5)
    softmax = AdaptiveSoftmax(40, 32, config)
    x, ids = torch.randn(6, 32), torch.arange(6)
    assert not torch.equal(softmax.nll(x, ids), softmax.nll(x, ids))
    softmax.eval()
    assert torch.equal(softmax.nll(x, ids), softmax.nll(x, ids))


def test_bfloat16_is_near() -> None:
    torch.manual_seed(0)
    config = AdaptiveConfig((10, 20))
    given, softmax = AdaptiveInput(40, 32, config), AdaptiveSoftmax(40, 32, config)
    x, ids = torch.randn(40, 32), torch.arange(40)
    wanted = softmax.nll(x, ids, given)
    found = softmax.bfloat16().nll(x.bfloat16(), ids, given.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0.1, rtol=0)


def test_what_cannot_be_is_named() -> None:
    for cutoffs in ((), (5, 5), (9, 4), (40,), (0,)):
        with pytest.raises(ValueError, match="must ascend between 0 and 40"):
            AdaptiveInput(40, 32, AdaptiveConfig(cutoffs))
    with pytest.raises(ValueError, match="width=12 is too small for 3 bands"):
        AdaptiveInput(40, 12, AdaptiveConfig((10, 20)))
    config = AdaptiveConfig((10, 20))
    with pytest.raises(ValueError, match="needs the input that it is tied to, got None"):
        AdaptiveSoftmax(40, 32, config).log_prob(torch.randn(2, 32))
    for wrong in (-1, 40):
        with pytest.raises(IndexError):
            AdaptiveInput(40, 32, config)(torch.tensor([wrong]))
        with pytest.raises(IndexError):
            AdaptiveSoftmax(40, 32, AdaptiveConfig((10, 20), **UNTIED)).nll(
                torch.randn(1, 32), torch.tensor([wrong])
            )
