"""The autoregressive prior, of which there is no other implementation: likelihood, cache, guidance,
and a distribution that it learns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.dalle2.autoregressive_prior import AR_PRIOR_1B, ARPrior, ARPriorConfig
from models.dalle2.text_prefix import Text
from tests.models.drawing import randomise


def draw(seed: int) -> ARPriorConfig:
    g = torch.Generator().manual_seed(seed)

    def among(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (), generator=g))]

    heads = among(1, 2, 4)
    return ARPriorConfig(
        embedding=among(6, 10),
        text_width=among(5, 8),
        text_length=among(1, 4, 7),
        codes=among(1, 3, 6),
        buckets=among(2, 5, 9),
        dot_buckets=among(2, 6),
        width=heads * among(4, 8),
        depth=among(1, 2),
        heads=heads,
    )


def captions(config: ARPriorConfig, lengths: list[int]) -> Text:
    longest = max(lengths)
    real = torch.arange(longest) < torch.tensor(lengths)[:, None]
    features = torch.randn(len(lengths), longest, config.text_width)
    return Text(features, real, torch.randn(len(lengths), config.embedding))


def case(seed: int) -> tuple[ARPrior, Tensor, Tensor, Text]:
    torch.manual_seed(seed)
    config = draw(seed)
    model = ARPrior(config).eval()
    randomise(model)
    most = config.text_length
    text = captions(config, [most, 1, max(1, most - 1)])
    codes = torch.randint(config.buckets, (3, config.codes))
    return model, codes, torch.randint(config.dot_buckets, (3,)), text


@pytest.mark.parametrize("seed", range(5))
def test_logits_are_those_of_torchs_layers(
    seed: int, torch_blocks: Callable[..., Tensor], every_weight_shows: Callable[..., None]
) -> None:
    """To 1e-4: each caption by itself, its tokens and the codes put side by side by hand."""
    model, codes, dot, text = case(seed)
    found, prefix = model.logits(codes, dot, text), model.prefix
    for row, real in enumerate(text.real_BT):
        words = prefix.features(text.features_BTC[row, real])
        words = words + prefix.positions.table_LD[: len(words)]
        whole = prefix.embedding(text.embedding_BE[row]) + prefix.positions.table_LD[-1]
        given = [model.dot.weight[dot[row]], *model.code.weight[codes[row, :-1]]]
        given = [
            vector + place for vector, place in zip(given, model.positions.table_LD, strict=True)
        ]
        x = torch.stack([*words, whole, *given])[None]
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        x = torch_blocks(model.transformer, x, mask)[0, -len(given) :]
        wanted = model.out(model.norm_after(x))
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=0)
    other = ("codes.", "no_embedding_D", *(("code.weight",) if codes.shape[1] == 1 else ()))
    every_weight_shows(model, lambda: model.logits(codes, dot, text), unread=other)


@pytest.mark.parametrize("seed", range(5))
def test_the_likelihood_is_the_product_of_each_codes_own(seed: int) -> None:
    """To 1e-4: code k's probability from a sequence that holds nothing of k and what follows."""
    model, codes, dot, text = case(seed)
    total = torch.zeros(3)
    for place in range(model.config.codes):
        blind = codes.clone()
        blind[:, place:] = torch.randint(model.config.buckets, blind[:, place:].shape)
        log = model.logits(blind, dot, text)[:, place].log_softmax(dim=-1)
        total += log.gather(1, codes[:, place : place + 1])[:, 0]
    found = model.log_likelihood(codes, dot, text)
    torch.testing.assert_close(found, total, atol=1e-4, rtol=0)


def test_all_probabilities_sum_to_one() -> None:
    torch.manual_seed(0)
    config = replace(draw(0), codes=3, buckets=4)
    model = ARPrior(config).eval()
    randomise(model)
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    text = captions(config, [config.text_length]).repeat(64)
    total = model.log_likelihood(every, torch.zeros(64, dtype=torch.int64), text).exp().sum()
    assert float(total.detach()) == pytest.approx(1.0, abs=1e-5)


def uncached(model: ARPrior, dot: Tensor, text: Text, guidance: float, seed: int) -> Tensor:
    """`write` by whole sequences, one for each code."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.zeros(len(dot), model.config.codes, dtype=torch.int64)
    dropped = torch.zeros(len(dot), dtype=torch.bool)
    for place in range(model.config.codes):
        logits = model.logits(codes, dot, text)[:, place]
        without = model.logits(codes, dot, text, dropped)[:, place]
        logits = without + guidance * (logits - without)
        codes[:, place] = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return codes


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_cached_sampling_is_uncached_sampling(seed: int, guidance: float) -> None:
    model, _, dot, text = case(seed)
    for drawn in range(3):
        generator = torch.Generator().manual_seed(drawn)
        found = model.write(text, dot, guidance=guidance, generator=generator)
        assert torch.equal(found, uncached(model, dot, text, guidance, drawn))


def test_dropped_captions_are_all_the_same() -> None:
    model, codes, _, text = case(1)
    dropped, same = torch.zeros(3, dtype=torch.bool), codes[:1].expand(3, -1)
    dot = torch.zeros(3, dtype=torch.int64)
    found = model.logits(same, dot, text, dropped)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, found[:1].expand(3, -1, -1), atol=1e-5, rtol=0)
    assert not torch.allclose(model.logits(same, dot, text), found, atol=1e-2)


def test_padding_and_what_is_cut_change_nothing() -> None:
    model, codes, dot, text = case(2)
    longer = nn.functional.pad(text.features_BTC, (0, 0, 0, 3), value=9.0)
    real = nn.functional.pad(text.real_BT, (0, 3))
    wanted = model.logits(codes, dot, text)
    found = model.logits(codes, dot, Text(longer, real, text.embedding_BE))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    noisy = torch.where(text.real_BT[:, :, None], text.features_BTC, -5.0)
    found = model.logits(codes, dot, Text(noisy, text.real_BT, text.embedding_BE))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def batch_of(codes: ARPrior, rows: Tensor, text: Text) -> dict[str, Tensor]:
    return {
        "image_embedding": codes.codes.decode(rows),
        "text_features": text.features_BTC,
        "text_real": text.real_BT,
        "text_embedding": text.embedding_BE,
    }


def test_it_recovers_a_known_distribution() -> None:
    """A mixture of two products over 4^3 rows, another for each of two captions: after a short
    training the divergence of its exact distribution, given caption and dot product, is under 0.1
    nats; that of the product of its marginals is over 0.4.
    """
    torch.manual_seed(3)
    config = ARPriorConfig(
        embedding=6,
        text_width=4,
        text_length=2,
        codes=3,
        buckets=4,
        dot_buckets=2,
        width=32,
        depth=2,
        heads=2,
        drop_text=0.0,
    )
    model = ARPrior(config)
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    parts = (2 * torch.randn(2, 2, 3, 4)).softmax(dim=-1)  # caption, part, place, code
    chances = parts[:, :, torch.arange(3), every].prod(dim=-1).mean(dim=1)  # (2, 64)
    cube = chances.view(2, 4, 4, 4)
    alone = torch.einsum(
        "bi,bj,bk->bijk", cube.sum((2, 3)), cube.sum((1, 3)), cube.sum((1, 2))
    ).flatten(1)
    memoryless = (chances * (chances.log() - alone.log())).sum(dim=1)
    assert float(memoryless.min()) > 0.4
    text = captions(config, [2, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(250):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / 250)
        rows = torch.cat([every[torch.multinomial(p, 64, replacement=True)] for p in chances])
        optimizer.zero_grad()
        model(batch_of(model, rows, text.repeat(64)))["loss"].backward()
        optimizer.step()
    model.eval()
    for caption in range(2):
        own = Text(*(part[caption : caption + 1] for part in text)).repeat(64)
        dots = model.codes.dot_code(model.codes.decode(every), own.embedding_BE)
        log = model.log_likelihood(every, dots, own).detach()
        assert 0 < int(dots.sum()) < 64
        other = Text(*(part[1 - caption : 2 - caption] for part in text)).repeat(64)
        p = chances[caption]
        given_dot = p / torch.zeros(2).index_add(0, dots, p)[dots]
        found = float((p * (given_dot.log() - log)).sum())
        assert 0 <= found < 0.1
        wrong = model.log_likelihood(every, dots, other).detach()
        assert float((p * (given_dot.log() - wrong)).sum()) > 0.2


def test_samples_follow_the_models_own_distribution() -> None:
    torch.manual_seed(4)
    config = replace(draw(4), codes=2, buckets=3, dot_buckets=2)
    model = ARPrior(config).eval()
    randomise(model)
    text = captions(config, [config.text_length]).repeat(6000)
    dot = torch.ones(6000, dtype=torch.int64)
    drawn = model.write(text, dot, generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / 6000
    every = torch.tensor(list(itertools.product(range(3), repeat=2)))
    few = Text(*(part[:9] for part in text))
    wanted = model.log_likelihood(every, dot[:9], few).exp()
    assert float((shares - wanted).abs().max()) < 0.02
    cold = model.write(text, dot, temperature=1e-4)
    assert torch.equal(cold, cold[:1].expand(6000, -1))


def test_the_dot_product_comes_from_the_upper_half(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    config = replace(draw(5), dot_buckets=6)
    model, seen = ARPrior(config).eval(), []
    write = model.write

    def spy(text: Text, dot: Tensor, **settings: object) -> Tensor:
        seen.append(dot)
        return write(text, dot, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "write", spy)
    found = model.sample(captions(config, [1]).repeat(200))
    assert set(seen[0].tolist()) == {3, 4, 5}
    norm = torch.full((200,), math.sqrt(config.embedding))
    torch.testing.assert_close(found.norm(dim=1), norm)


def test_every_weight_gets_a_gradient_and_no_buffer() -> None:
    torch.manual_seed(6)
    config = replace(draw(6), codes=3, drop_text=0.5)
    model = ARPrior(config)
    randomise(model)
    text = captions(config, [config.text_length] * 64)
    batch = batch_of(model, torch.randint(config.buckets, (64, 3)), text)
    losses = model(batch)
    losses["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
    assert not losses["accuracy"].requires_grad
    assert {name for name, _ in model.named_buffers()} == {
        f"codes.{name}" for name in ("mean_E", "axes_KE", "low_K", "high_K", "dot_edges_M")
    }


def test_bfloat16_is_near_float32() -> None:
    model, codes, dot, text = case(7)
    wanted = model.logits(codes, dot, text).detach()
    found = model.bfloat16().logits(codes, dot, text).detach().float()
    assert float((found - wanted).abs().max()) < 0.1 * float(wanted.abs().max())
    assert model.write(text, dot).shape == codes.shape


def test_the_size_is_the_papers() -> None:
    assert AR_PRIOR_1B.context_length == 384
    with torch.device("meta"):
        model = ARPrior(AR_PRIOR_1B)
    assert sum(p.numel() for p in model.parameters()) == 807_129_216
