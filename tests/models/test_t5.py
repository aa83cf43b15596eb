"""T5 against transformers' T5 and mT5: logits, loss, gradients, greedy and beam search, padding on
either side, embeddings instead of tokens; the cache; sizes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import MT5Config, MT5ForConditionalGeneration, T5ForConditionalGeneration
from transformers import T5Config as TheirConfig

from models.generation import GenerationConfig
from models.t5 import IGNORED, MT5_BASE, MT5_LARGE, MT5_SMALL, T5, T5_XL, T5Config

ORIGINAL_SMALL = T5Config(depth=6, heads=8, hidden=2048, activation="relu", gated=False, tied=True)
RULES = [
    (r"^shared\.weight$", "embedding.weight"),
    (r"^lm_head\.", "head."),
    (r"\.block\.0\.layer\.0\.SelfAttention\.relative.*\.weight$", ".distances.table_NH"),
    (r"\.final_layer_norm\.", ".norm_after."),
    (r"\.block\.", ".transformer.blocks."),
    (r"\.layer\.0\.SelfAttention\.o\.", ".attention.out."),
    (r"\.layer\.1\.EncDecAttention\.o\.", ".cross.out."),
    (r"\.layer\.1\.EncDecAttention\.q\.", ".cross.q."),
    (r"\.layer\.0\.layer_norm\.", ".norm_1."),
    (r"^(decoder.*)\.layer\.1\.layer_norm\.", r"\1.norm_cross."),
    (r"\.layer\.[12]\.layer_norm\.", ".norm_2."),
    (r"\.layer\.[12]\.DenseReluDense\.wi_0\.", ".mlp.gate."),
    (r"\.layer\.[12]\.DenseReluDense\.(wi_1|wi)\.", ".mlp.up."),
    (r"\.layer\.[12]\.DenseReluDense\.wo\.", ".mlp.down."),
]
JOINED = {
    ".layer.0.SelfAttention.q.": (("q", "k", "v"), ".attention.qkv."),
    ".layer.1.EncDecAttention.k.": (("k", "v"), ".cross.kv."),
}


def from_transformers(tensors: dict[str, Tensor], tied: bool) -> dict[str, Tensor]:
    """Our names for transformers' weights."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if "embed_tokens" in name or (tied and name == "lm_head.weight"):
            continue
        ours, value = name, tensor
        for lead, (letters, joined) in JOINED.items():
            if lead in name:
                parts = [name.replace(lead, f"{lead[:-2]}{letter}.") for letter in letters]
                value = torch.cat([tensors[part] for part in parts])
                ours = name.replace(lead, joined)
        for pattern, replacement in RULES:
            ours = re.sub(pattern, replacement, ours)
        if "Attention." not in ours:
            out[ours] = value
    return out


def drawn(seed: int, version: str) -> T5Config:
    """A small configuration of a version of T5."""
    dice = random.Random(seed)
    return T5Config(
        vocab_size=dice.choice([24, 31, 40]),
        width=dice.choice([16, 20, 32]),
        depth=dice.choice([1, 2, 3]),
        decoder_depth=dice.choice([1, 2, 4]),
        heads=dice.choice([2, 3]),
        head_width=dice.choice([4, 6, 8]),
        hidden=dice.choice([12, 40]),
        buckets=dice.choice([8, 32]),
        furthest=dice.choice([20, 128]),
        activation="relu" if version == "t5" else "gelu_tanh",
        gated=version != "t5",
        tied=version == "t5",
    )


def pair(seed: int, version: str) -> tuple[T5, Any]:
    """Ours and theirs with the same weights, each drawn anew."""
    config = drawn(seed, version)
    settings: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "d_model": config.width,
        "d_kv": config.head_width,
        "d_ff": config.hidden,
        "num_layers": config.depth,
        "num_decoder_layers": config.decoder_depth,
        "num_heads": config.heads,
        "relative_attention_num_buckets": config.buckets,
        "relative_attention_max_distance": config.furthest,
        "feed_forward_proj": "gated-gelu" if config.gated else "relu",
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
    }
    torch.manual_seed(seed)
    theirs: Any
    if version == "mt5":
        theirs = MT5ForConditionalGeneration(MT5Config(**settings))
    else:
        settings["tie_word_embeddings"] = config.tied
        theirs = T5ForConditionalGeneration(TheirConfig(**settings))
    if not config.tied:  # transformers 5 ties even where the published weights are not
        theirs.lm_head.weight = nn.Parameter(torch.empty(config.vocab_size, config.width))
    for name, parameter in theirs.named_parameters():
        gain = "layer_norm" in name
        nn.init.normal_(parameter, mean=float(gain), std=0.4)
    ours = T5(config).eval()
    ours.load_state_dict(from_transformers(theirs.state_dict(), config.tied))
    return ours, theirs.eval()


def padded(rows: int, length: int, vocab: int, side: str) -> tuple[Tensor, Tensor]:
    """Token ids and what is real of them: the first row whole, the last one token long."""
    tokens = torch.randint(2, vocab, (rows, length))
    count = torch.linspace(length, 1, rows).round().long()
    place = torch.arange(length)
    valid = place < count[:, None] if side == "right" else place >= length - count[:, None]
    return tokens.masked_fill(~valid, 0), valid


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("version", ["t5", "t5-1.1", "mt5"])
@pytest.mark.parametrize("seed", range(3))
def test_logits_and_loss_are_those_of_transformers(seed: int, version: str, side: str) -> None:
    ours, theirs = pair(seed, version)
    tokens, valid = padded(3, 11, ours.config.vocab_size, side)
    labels = torch.randint(1, ours.config.vocab_size, (3, 6))
    labels[0, 4:] = IGNORED
    wanted = theirs(input_ids=tokens, attention_mask=valid.long(), labels=labels)
    source = ours.encode(tokens, valid)
    logits = ours.decode(ours.shifted(labels), source, valid)
    real = wanted.encoder_last_hidden_state[valid]
    torch.testing.assert_close(source[valid], real, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits, wanted.logits, atol=1e-4, rtol=0)
    found = ours({"tokens": tokens, "valid": valid, "labels": labels})
    torch.testing.assert_close(found["loss"], wanted.loss, atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [1, 150])
def test_shortest_and_longer_than_the_furthest_distance(length: int) -> None:
    ours, theirs = pair(3, "mt5")
    tokens = torch.randint(2, ours.config.vocab_size, (1, length))
    labels = torch.randint(1, ours.config.vocab_size, (1, length))
    wanted = theirs(input_ids=tokens, labels=labels).logits
    logits = ours.decode(ours.shifted(labels), ours.encode(tokens))
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=0)


def test_the_encoder_takes_embeddings() -> None:
    ours, theirs = pair(4, "t5-1.1")
    embeddings, valid = torch.randn(2, 7, ours.config.width), torch.ones(2, 7)
    valid[1, :3] = 0
    labels = torch.randint(1, ours.config.vocab_size, (2, 5))
    wanted = theirs(inputs_embeds=embeddings, attention_mask=valid, labels=labels)
    found = ours.losses_of(ours.encode(embeddings, valid), valid, labels)
    torch.testing.assert_close(found["loss"], wanted.loss, atol=1e-4, rtol=0)
    tokens = torch.randint(2, ours.config.vocab_size, (2, 7))
    assert torch.equal(ours.encode(tokens), ours.encode(ours.embedding(tokens)))


def test_gradients_are_those_of_transformers() -> None:
    ours, theirs = pair(5, "mt5")
    tokens, valid = padded(3, 9, ours.config.vocab_size, "right")
    labels = torch.randint(1, ours.config.vocab_size, (3, 6))
    theirs(input_ids=tokens, attention_mask=valid.long(), labels=labels).loss.backward()
    ours({"tokens": tokens, "valid": valid, "labels": labels})["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, wanted in from_transformers(gradients, tied=False).items():
        found = ours.get_parameter(name).grad
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0, msg=name)
        assert float(wanted.abs().max()) > 0


@pytest.mark.parametrize("version", ["t5", "mt5"])
@pytest.mark.parametrize(
    "config",
    [
        GenerationConfig(most=10),
        GenerationConfig("beam", most=10, beams=3),
        GenerationConfig("beam", most=8, beams=2, least=3, length_penalty=0.5),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_writes_what_transformers_writes(seed: int, version: str, config: GenerationConfig) -> None:
    ours, theirs = pair(seed, version)
    tokens, valid = padded(4, 8, ours.config.vocab_size, "left" if seed % 2 else "right")
    # without a cache: transformers sizes the decoder's by the encoder's depth
    settings: dict[str, Any] = {"max_new_tokens": config.most, "min_new_tokens": config.least}
    settings["use_cache"] = False
    if config.method == "beam":
        settings |= {"num_beams": config.beams, "length_penalty": config.length_penalty}
    made = theirs.generate(
        tokens, attention_mask=valid.long(), do_sample=False, early_stopping=False, **settings
    )
    rows = [row[1:] for row in made.tolist()]
    wanted = [row[: row.index(1)] if 1 in row else row for row in rows]
    found = ours.generate(tokens, valid, config)
    width = max(len(row) for row in wanted)
    assert [row + [0] * (width - len(row)) for row in found] == [
        row + [0] * (width - len(row)) for row in wanted
    ]


def test_the_cache_changes_nothing() -> None:
    ours, _ = pair(6, "mt5")
    source, valid = padded(3, 7, ours.config.vocab_size, "right")
    encoded = ours.encode(source, valid)
    tokens = torch.randint(0, ours.config.vocab_size, (3, 9))
    whole = ours.decode(tokens, encoded, valid)
    cache = ours.start(encoded, valid)
    order = torch.tensor([2, 0])
    torch.testing.assert_close(ours.advance(tokens[:, :4], cache), whole[:, 3], atol=1e-4, rtol=0)
    cache.select(order)
    for place in range(4, 9):
        logits = ours.advance(tokens[order, place : place + 1], cache)
        torch.testing.assert_close(logits, whole[order, place], atol=1e-4, rtol=0)


@pytest.mark.parametrize("version", ["t5", "t5-1.1", "mt5"])
def test_any_wrong_weight_is_noticed(version: str, every_weight_shows: Callable[..., None]) -> None:
    ours, _ = pair(7, version)
    tokens = torch.randint(2, ours.config.vocab_size, (2, 6))
    written = torch.randint(1, ours.config.vocab_size, (2, 4))
    every_weight_shows(ours, lambda: ours.decode(written, ours.encode(tokens)))


def test_bfloat16_is_near() -> None:
    ours, _ = pair(8, "mt5")
    tokens, valid = padded(2, 9, ours.config.vocab_size, "right")
    labels = torch.randint(1, ours.config.vocab_size, (2, 5))
    batch = {"tokens": tokens, "valid": valid, "labels": labels}
    exact = ours(batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ours(batch)["loss"]
    torch.testing.assert_close(mixed, exact, atol=0.1, rtol=0.05)
    half = ours.to(torch.bfloat16)(batch)["loss"]
    torch.testing.assert_close(half, exact, atol=0.1, rtol=0.05)


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(9)
    model = T5(replace(drawn(0, "mt5"), dropout=0.5))
    batch = {"tokens": torch.randint(2, 20, (2, 6)), "labels": torch.randint(1, 20, (2, 4))}
    assert float((model(batch)["loss"] - model(batch)["loss"]).detach().abs()) > 1e-3
    model.eval()
    assert torch.equal(model(batch)["loss"], model(batch)["loss"])


def test_the_first_logits_are_of_size_one() -> None:
    torch.manual_seed(0)
    model = T5(T5Config(vocab_size=500, width=64, depth=2, heads=4, head_width=16, hidden=128))
    tokens = torch.randint(2, 500, (4, 12))
    logits = model.decode(tokens, model.encode(tokens))
    assert 0.8 < float(logits.detach().std()) < 1.2


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (MT5_SMALL, 300_176_768),
        (MT5_BASE, 582_401_280),
        (MT5_LARGE, 1_229_581_312),
        (T5_XL, 2_849_757_184),
        (ORIGINAL_SMALL, 60_506_624),
    ],
)
def test_parameter_counts_are_the_published(config: T5Config, count: int) -> None:
    with torch.device("meta"):
        model = T5(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
