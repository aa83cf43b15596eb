"""BLIP-2's Q-Former against transformers': queries alone, text alone, and all three masks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel
from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

from models.blip.med import WordHead
from models.blip2.query_transformer import QueryTransformer, QueryTransformerConfig
from models.layers import masks
from models.public.blip2 import SECTIONS, former_config, from_sections
from models.weights import fit
from tests.models.drawing import randomise


class Theirs(nn.Module):
    """transformers' Q-Former, its words and queries, named as in its larger models."""

    def __init__(self, config: Blip2QFormerConfig, queries: int) -> None:
        super().__init__()
        self.qformer = Blip2QFormerModel(config)
        self.embeddings = Blip2TextEmbeddings(config)
        self.query_tokens = nn.Parameter(torch.zeros(1, queries, config.hidden_size))

    def forward(
        self, image: Tensor | None, tokens: Tensor | None, mask: Tensor | None, queries: bool
    ) -> Tensor:
        rows = len(image) if tokens is None else len(tokens)  # type: ignore[arg-type]
        asked = self.query_tokens.expand(rows, -1, -1)
        x = asked if tokens is None else self.embeddings(tokens, query_embeds=None)
        if queries and tokens is not None:
            x = self.embeddings(tokens, query_embeds=asked)
        out = self.qformer(
            query_embeds=x,
            query_length=asked.shape[1] if queries else 0,
            attention_mask=mask,
            encoder_hidden_states=image,
        )
        states: Tensor = out.last_hidden_state
        return states


def draw(seed: int) -> tuple[Theirs, QueryTransformer]:
    """transformers' of a config drawn by `seed`, and ours with its weights."""
    chance = random.Random(seed)
    torch.manual_seed(seed)
    heads, queries = chance.choice([1, 2, 4]), chance.choice([1, 3, 5])
    config = Blip2QFormerConfig(
        vocab_size=chance.randrange(20, 40),
        hidden_size=8 * heads,
        num_hidden_layers=chance.choice([1, 3, 4]),
        num_attention_heads=heads,
        intermediate_size=chance.choice([24, 40]),
        max_position_embeddings=12,
        cross_attention_frequency=chance.choice([1, 2, 3]),
        encoder_hidden_size=chance.choice([8, 20]),
        use_qformer_text_input=True,
    )
    theirs = Theirs(config, queries).eval()
    randomise(theirs)
    ours_config = replace(former_config(config.to_dict()), queries=queries)
    ours = QueryTransformer(ours_config, config.encoder_hidden_size).eval()
    tensors = from_sections(theirs.state_dict(), SECTIONS)
    fit(ours, {n.removeprefix("former."): t for n, t in tensors.items()}, "transformers")
    return theirs, ours


def inputs(ours: QueryTransformer, rows: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image tokens, texts, and which of the texts' tokens are real; padding on the right."""
    width = ours.blocks[0].config.source_width
    assert isinstance(width, int)
    tokens = torch.randint(1, ours.config.vocab_size, (rows, length))
    lengths = torch.randint(1, length + 1, (rows, 1))
    lengths[0] = length
    return torch.randn(rows, 6, width), tokens, torch.arange(length) < lengths


@pytest.mark.parametrize("seed", range(5))
def test_queries_and_texts_alone_are_transformers(seed: int) -> None:
    theirs, ours = draw(seed)
    image, tokens, valid = inputs(ours, seed or 1, (1, 12, 5, 7, 3)[seed])
    found = ours.query(ours.look(image))
    torch.testing.assert_close(found, theirs(image, None, None, True), atol=1e-4, rtol=1e-5)
    wanted = theirs(None, tokens, valid.long(), False)
    found = ours.read(tokens, valid)
    torch.testing.assert_close(found[valid], wanted[valid], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_transformers(seed: int) -> None:
    theirs, ours = draw(seed)
    image, tokens, valid = inputs(ours, 3, (1, 12, 5, 7, 3)[seed])
    queries = ours.config.queries
    mask = torch.cat([torch.ones(3, queries), valid], dim=1).long()
    wanted = theirs(image, tokens, mask, True)[:, :queries]
    found = ours.pair(ours.look(image), tokens, valid)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_written_texts_are_transformers_under_the_mask(seed: int) -> None:
    """Their one pass with a mask (B, 1, Q+T, Q+T) against our text alone over cached queries, and
    that token by token.
    """
    theirs, ours = draw(seed)
    image, tokens, valid = inputs(ours, 3, (1, 12, 5, 7, 3)[seed])
    queries = ours.config.queries
    mask = masks.multimodal_causal(queries, valid)
    wanted = theirs(image, tokens, mask, True)
    cache = ours.look(image)
    seen = ours.query(cache)
    torch.testing.assert_close(seen, wanted[:, :queries], atol=1e-4, rtol=1e-5)
    left = cache.fork()
    found = ours.write(tokens, cache)
    torch.testing.assert_close(found[valid], wanted[:, queries:][valid], atol=1e-4, rtol=1e-5)
    steps = [ours.write(tokens[:, n : n + 1], left) for n in range(tokens.shape[1])]
    torch.testing.assert_close(torch.cat(steps, dim=1), found, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", ["unimodal", "causal", "both"])
def test_separate_passes_are_one_pass_under_a_mask(kind: str) -> None:
    _, ours = draw(2)
    image, tokens, valid = inputs(ours, 3, 6)
    queries, cache = ours.config.queries, ours.look(image)
    both = torch.cat([torch.ones(3, queries, dtype=torch.bool), valid], dim=1)
    mask = {
        "unimodal": masks.unimodal(queries, valid),
        "causal": masks.multimodal_causal(queries, valid),
        "both": masks.padding(both),
    }[kind]
    x = torch.cat([ours.asked(3), ours.said(tokens)], dim=1)
    wanted = ours.run(x, queries, cache.sources(), mask)
    if kind == "both":
        found = ours.pair(cache, tokens, valid)
        torch.testing.assert_close(found, wanted[:, :queries], atol=1e-5, rtol=1e-5)
        return
    found = ours.query(cache)
    torch.testing.assert_close(found, wanted[:, :queries], atol=1e-5, rtol=1e-5)
    text = ours.read(tokens, valid) if kind == "unimodal" else ours.write(tokens, cache)
    torch.testing.assert_close(text[valid], wanted[:, queries:][valid], atol=1e-5, rtol=1e-5)


def test_queries_never_see_the_text_that_they_help_to_write() -> None:
    _, ours = draw(1)
    image, tokens, _ = inputs(ours, 2, 6)
    mask = masks.multimodal_causal(ours.config.queries, torch.ones(2, 6, dtype=torch.bool))
    states = []
    for text in (tokens, tokens.flip(1)):
        x = torch.cat([ours.asked(2), ours.said(text)], dim=1)
        states.append(ours.run(x, ours.config.queries, ours.look(image), mask))
    queries = ours.config.queries
    assert torch.equal(states[0][:, :queries], states[1][:, :queries])
    assert not torch.allclose(states[0][:, queries:], states[1][:, queries:])


def test_padding_on_the_left_is_masked() -> None:
    theirs, ours = draw(3)
    image, tokens, _ = inputs(ours, 2, 6)
    valid = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]).bool()
    wanted = theirs(None, tokens, valid.long(), False)
    torch.testing.assert_close(ours.read(tokens, valid)[valid], wanted[valid], atol=1e-4, rtol=1e-5)
    mask = torch.cat([torch.ones(2, ours.config.queries), valid], dim=1).long()
    wanted = theirs(image, tokens, mask, True)[:, : ours.config.queries]
    found = ours.pair(ours.look(image), tokens, valid)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_any_wrong_weight_is_seen(seed: int, every_weight_shows: Callable[..., None]) -> None:
    _, ours = draw(seed)
    image, tokens, _ = inputs(ours, 2, 12)

    def compared() -> Tensor:
        cache = ours.look(image)
        return torch.cat([ours.query(cache), ours.write(tokens, cache)], dim=1)

    every_weight_shows(ours, compared)


def test_the_query_side_starts_as_the_text_side() -> None:
    ours = QueryTransformer(QueryTransformerConfig(4, 16, 2, 2, vocab_size=20), 8)
    for name, tensor in ours.state_dict().items():
        if ".text_mlp." in name:
            assert torch.equal(tensor, ours.state_dict()[name.replace(".text_mlp.", ".mlp.")])
    storages = [tensor.data_ptr() for tensor in ours.state_dict().values()]
    assert len(storages) == len(set(storages))


def test_bfloat16_runs_and_is_near() -> None:
    torch.manual_seed(0)
    ours = QueryTransformer(QueryTransformerConfig(4, 16, 2, 2, vocab_size=20), 8).eval()
    image, tokens, valid = inputs(ours, 2, 6)
    wanted = ours.pair(ours.look(image), tokens, valid)
    found = ours.bfloat16().pair(ours.look(image.bfloat16()), tokens, valid)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.1, rtol=0.1)


def test_parameter_count_is_the_papers() -> None:
    """188M in the paper."""
    config = QueryTransformerConfig()
    with torch.device("meta"):
        model = QueryTransformer(config, 1408)
        head = WordHead(config.width, config.vocab_size, config.epsilon)
        alone = QueryTransformer(replace(config, text=False), 1408)
    counts = [sum(p.numel() for p in part.parameters()) for part in (model, head, alone)]
    assert counts == [185_684_736, 622_651, 105_162_240]
    assert abs(sum(counts[:2]) / 188e6 - 1) < 0.01
