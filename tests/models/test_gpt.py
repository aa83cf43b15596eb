"""GPT against transformers' GPT-2, GPT-Neo and OPT: logits, padding, generation; sizes; vectors in
the place of tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from models import generation, gpt, weights
from models.generation import GenerationConfig
from models.gpt import GPT, GPTConfig
from models.layers.adaptive import AdaptiveConfig
from models.layers.cache import Cache
from models.layers.sparse import SparseConfig

END = 7


def drawn(seed: int, **changes: object) -> GPTConfig:
    """A small GPT of random sizes."""
    rng = random.Random(seed)
    heads = rng.randint(1, 4)
    config = GPTConfig(
        vocab_size=rng.randint(20, 40),
        context_length=rng.randint(12, 24),
        width=heads * rng.choice([4, 8]),
        depth=rng.randint(1, 3),
        heads=heads,
        hidden=rng.choice([None, 20]),
    )
    return replace(config, **changes)


def randomised(config: GPTConfig, seed: int, deviation: float = 0.3) -> GPT:
    torch.manual_seed(seed)
    model = GPT(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=deviation)
    return model


def talkative(config: GPTConfig, seed: int) -> GPT:
    """One that does not say the same token for ever: its places outweigh the tokens."""
    model = randomised(config, seed, deviation=0.6)
    with torch.no_grad():
        if isinstance(model.norm_after, nn.LayerNorm):
            model.norm_after.bias.zero_()
            model.norm_after.weight.fill_(1.0)
        if model.positions is not None:
            model.positions.table_LD.mul_(3.0)
    return model


def gpt2_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' GPT-2 names for ours; its matrices lie the other way round."""
    names = {
        "embedding.": "transformer.wte.",
        "positions.table_LD": "transformer.wpe.weight",
        "transformer.blocks.": "transformer.h.",
        "norm_after.": "transformer.ln_f.",
        ".norm_1.": ".ln_1.",
        ".norm_2.": ".ln_2.",
        ".attention.qkv.": ".attn.c_attn.",
        ".attention.out.": ".attn.c_proj.",
        ".mlp.up.": ".mlp.c_fc.",
        ".mlp.down.": ".mlp.c_proj.",
    }
    out = {}
    for name, tensor in tensors.items():
        key = name
        for mine, other in names.items():
            key = key.replace(mine, other)
        turned = ".c_" in key and key.endswith("weight")
        out[key] = tensor.T if turned else tensor
    return out


def gpt2(model: GPT) -> GPT2LMHeadModel:
    c = model.config
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=c.vocab_size,
            n_positions=c.context_length,
            n_embd=c.width,
            n_layer=c.depth,
            n_head=c.heads,
            n_inner=c.hidden,
            activation_function="gelu_new",
            bos_token_id=0,
            eos_token_id=END,
        )
    ).eval()
    state = gpt2_names(model.state_dict())
    theirs.load_state_dict(state | {"lm_head.weight": state["transformer.wte.weight"]})
    return theirs


def left(valid: Tensor) -> Tensor:
    """transformers' places of padded prompts."""
    return (valid.long().cumsum(1) - 1).clamp(min=0)


def some_valid(batch: int, length: int) -> Tensor:
    """No padding, padding on the left, on the right, on both sides."""
    valid = torch.ones(batch, length, dtype=torch.bool)
    valid[1, :3], valid[2, -4:], valid[3, :2], valid[3, -3:] = False, False, False, False
    return valid


@pytest.mark.parametrize("seed", range(5))
def test_logits_are_those_of_gpt2(seed: int, every_weight_shows: Callable[..., None]) -> None:
    config = drawn(seed)
    ours = randomised(config, seed)
    theirs = gpt2(ours)
    for length in (1, 2, config.context_length):
        tokens = torch.randint(config.vocab_size, (1 + seed % 2, length))
        wanted = theirs(tokens).logits
        torch.testing.assert_close(ours.logits(tokens), wanted, atol=1e-4, rtol=1e-5)
    tokens = torch.randint(config.vocab_size, (4, config.context_length))
    valid = some_valid(*tokens.shape)
    wanted = theirs(tokens, attention_mask=valid.long(), position_ids=left(valid)).logits
    found = ours.logits(tokens, valid)
    torch.testing.assert_close(found[valid], wanted[valid], atol=1e-4, rtol=1e-5)
    assert found.isfinite().all()
    every_weight_shows(ours, lambda: ours.logits(tokens))


@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_are_those_of_gpt2(seed: int) -> None:
    config = drawn(seed)
    ours = randomised(config, seed)
    theirs = gpt2(ours)
    tokens = torch.randint(config.vocab_size, (4, config.context_length))
    valid = some_valid(*tokens.shape)
    valid[1], valid[3] = True, True  # transformers also counts the first token after padding
    valid[3, -3:] = False
    labels = tokens.masked_fill(~valid, -100)
    for batch, mask, marks in (
        ({"tokens": tokens}, None, tokens),
        ({"tokens": tokens, "valid": valid}, valid.long(), labels),
    ):
        ours.zero_grad()
        theirs.zero_grad()
        mine = ours(batch)
        other = theirs(tokens, attention_mask=mask, labels=marks).loss
        torch.testing.assert_close(mine["loss"], other, atol=1e-5, rtol=0)
        assert not mine["bits"].requires_grad
        mine["loss"].backward()
        other.backward()
        gradients = gpt2_names({name: p.grad for name, p in ours.named_parameters()})
        for name, parameter in theirs.named_parameters():
            assert parameter.grad.abs().max() > 0, name
            torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-4, rtol=1e-3)


def test_padding_does_not_move_a_loss() -> None:
    """The loss of a padded batch is the mean over its rows' own tokens."""
    ours = randomised(drawn(3, context_length=14), 3)
    tokens = torch.randint(ours.config.vocab_size, (4, 14))
    valid = some_valid(4, 14)
    total = count = 0.0
    for row, real in zip(tokens, valid, strict=True):
        alone = row[real][None]
        total += float(ours.losses({"tokens": alone})["loss"].detach()) * (alone.shape[1] - 1)
        count += alone.shape[1] - 1
    found = ours.losses({"tokens": tokens, "valid": valid})["loss"].detach()
    assert float(found) == pytest.approx(total / count, abs=1e-5)
    nothing = ours.losses({"tokens": tokens, "valid": torch.zeros_like(valid)})["loss"].detach()
    assert float(nothing) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_logits_are_those_of_gpt_neo_with_local_attention(seed: int) -> None:
    """GPT-Neo does not scale its logits: our queries are drawn as theirs by sqrt(K) larger."""
    window = random.Random(seed).randint(1, 6)
    config = drawn(seed, depth=2 + 2 * (seed % 2), sparse=SparseConfig("banded", span=window))
    ours = randomised(config, seed)
    width, head_width = config.width, config.width // config.heads
    for block in ours.transformer.blocks:
        nn.init.zeros_(block.attention.qkv.bias)
    theirs = GPTNeoForCausalLM(
        GPTNeoConfig(
            vocab_size=config.vocab_size,
            max_position_embeddings=config.context_length,
            hidden_size=width,
            num_layers=config.depth,
            attention_types=[[["global", "local"], config.depth // 2]],
            num_heads=config.heads,
            intermediate_size=config.hidden,
            window_size=window,
        )
    ).eval()
    state = {}
    for name, tensor in gpt2_names(ours.state_dict()).items():
        if ".c_attn." in name:
            if name.endswith("weight"):
                q, k, v = tensor.T.chunk(3)
                q = q / head_width**0.5
                for letter, part in zip("qkv", (q, k, v), strict=True):
                    key = name.replace(".attn.c_attn.", f".attn.attention.{letter}_proj.")
                    state[key] = part
            continue
        turned = tensor.T if ".c_" in name and name.endswith("weight") else tensor
        state[name.replace(".attn.c_proj.", ".attn.attention.out_proj.")] = turned
    theirs.load_state_dict(state | {"lm_head.weight": state["transformer.wte.weight"]})
    for length in (1, 5, config.context_length):
        tokens = torch.randint(config.vocab_size, (2, length))
        wanted = theirs(tokens).logits
        torch.testing.assert_close(ours.logits(tokens), wanted, atol=1e-4, rtol=1e-5)
    tokens = torch.randint(config.vocab_size, (4, config.context_length))
    valid = some_valid(*tokens.shape)
    wanted = theirs(tokens, attention_mask=valid.long(), position_ids=left(valid)).logits
    found = ours.logits(tokens, valid)
    torch.testing.assert_close(found[valid], wanted[valid], atol=1e-4, rtol=1e-5)


def test_logits_are_those_of_opt() -> None:
    config = drawn(2, activation="relu", hidden=24)
    ours = randomised(config, 2)
    theirs = OPTForCausalLM(
        OPTConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            ffn_dim=24,
            max_position_embeddings=config.context_length,
            num_attention_heads=config.heads,
            word_embed_proj_dim=config.width,
            dropout=0.0,
        )
    ).eval()
    names = {
        "embedding.": "model.decoder.embed_tokens.",
        "transformer.blocks.": "model.decoder.layers.",
        "norm_after.": "model.decoder.final_layer_norm.",
        ".norm_1.": ".self_attn_layer_norm.",
        ".norm_2.": ".final_layer_norm.",
        ".attention.out.": ".self_attn.out_proj.",
        ".mlp.up.": ".fc1.",
        ".mlp.down.": ".fc2.",
    }
    state = {}
    for name, tensor in ours.state_dict().items():
        key = name
        for mine, other in names.items():
            key = key.replace(mine, other)
        if name == "positions.table_LD":  # OPT's first place is row 2
            state["model.decoder.embed_positions.weight"] = F.pad(tensor, (0, 0, 2, 0))
        elif ".qkv." in key:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                state[key.replace(".attention.qkv.", f".self_attn.{letter}_proj.")] = part
        else:
            state[key] = tensor
    state["lm_head.weight"] = state["model.decoder.embed_tokens.weight"]
    theirs.load_state_dict(state)
    tokens = torch.randint(config.vocab_size, (2, config.context_length))
    wanted = theirs(tokens).logits
    torch.testing.assert_close(ours.logits(tokens), wanted, atol=1e-4, rtol=1e-5)


VARIANTS = {
    "dense": {},
    "banded": {"sparse": SparseConfig("banded", span=4)},
    "strided": {"sparse": SparseConfig("strided", span=3, split="heads"), "heads": 2, "width": 16},
    "fixed": {"sparse": SparseConfig("fixed", span=3, summaries=1)},
    "adaptive": {
        "adaptive": AdaptiveConfig((6, 15)),
        "width": 32,
        "positions": "sinusoidal",
        "scale_embedding": True,
        "final_norm": False,
        "heads": 2,
    },
}


SAMPLED = GenerationConfig("nucleus", most=12, top_p=1.0, temperature=4.0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_tokens_change_no_logits(variant: str) -> None:
    config = drawn(5, **VARIANTS[variant])
    ours = randomised(config, 5)
    tokens = torch.randint(config.vocab_size, (4, 12))
    valid = torch.ones(4, 12, dtype=torch.bool)
    valid[1, :3], valid[3, :5] = False, False
    for real in (None, valid):
        whole = ours.logits(tokens, real)
        cache, found = ours.new_cache(), []
        for first, last in ((0, 6), (6, 7), (7, 8), (8, 12)):
            given = real[:, first:last] if real is not None and first == 0 else None
            found.append(ours.logits(tokens[:, first:last], given, cache))
        kept = valid if real is not None else torch.ones_like(valid)
        joined = torch.cat(found, 1)
        torch.testing.assert_close(joined[kept], whole[kept], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_padded_prompt_is_answered_as_if_alone(variant: str) -> None:
    ours = talkative(drawn(6, context_length=20, **VARIANTS[variant]), 6)
    prompts = [torch.randint(8, ours.config.vocab_size, (n,)) for n in (7, 2, 5)]
    rows = [F.pad(p, (7 - len(p), 0), value=END) for p in prompts]
    valid = torch.stack([torch.arange(7) >= 7 - len(p) for p in prompts])
    for config in (SAMPLED, GenerationConfig(most=8), GenerationConfig("beam", most=6, beams=2)):
        together = ours.generate(
            torch.stack(rows), end=END, config=config, valid_BL=valid, keys=["a", "b", "c"]
        )
        alone = [
            ours.generate(p[None], end=END, config=config, keys=[key])[0]
            for p, key in zip(prompts, "abc", strict=True)
        ]
        assert together == alone
        if config is SAMPLED:
            assert len({token for row in alone for token in row}) > 3


def generated(
    theirs: GPT2LMHeadModel, prompt: Tensor, valid: Tensor, end: int, **kept: int
) -> list[list[int]]:
    made = theirs.generate(
        prompt,
        attention_mask=valid.long(),
        eos_token_id=end,
        pad_token_id=0,
        do_sample=False,
        **kept,
    )
    rows = made[:, prompt.shape[1] :].tolist()
    return [row[: row.index(end)] if end in row else row for row in rows]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beams", [1, 3])
def test_generates_what_transformers_generates(seed: int, beams: int) -> None:
    ours = talkative(drawn(seed, context_length=24), seed)
    theirs = gpt2(ours)
    prompt = torch.randint(8, ours.config.vocab_size, (5, 6))
    valid = torch.ones(5, 6, dtype=torch.bool)
    valid[0, :2], valid[3, :5] = False, False
    method = "beam" if beams > 1 else "greedy"
    config = GenerationConfig(method, most=12, beams=beams)  # type: ignore[arg-type]
    lengths = set()
    for real in (torch.ones_like(valid), valid):
        endless = ours.generate(prompt, end=-1, config=config, valid_BL=real)
        for end in {token for row in endless for token in row[2:6]}:
            found = ours.generate(prompt, end=end, config=config, valid_BL=real)
            settings = {"num_beams": beams, "max_new_tokens": 12}
            assert found == generated(theirs, prompt, real, end, **settings)
            lengths |= set(map(len, found))
    assert len(lengths) > 1


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [1, 9])
def test_generation_without_a_cache_is_the_same(variant: str, length: int) -> None:
    ours = talkative(drawn(8, context_length=24, **VARIANTS[variant]), 8)
    prompt = torch.randint(8, ours.config.vocab_size, (3, length))
    for config in (SAMPLED, GenerationConfig(most=12)):
        held = prompt[:, :0]

        def anew(tokens_BL: Tensor, _: Cache) -> Tensor:
            nonlocal held
            held = torch.cat([held, tokens_BL], dim=1)
            return ours.logits(held)[:, -1]

        wanted = generation.generate(anew, prompt, Cache(), end=-1, config=config)
        assert ours.generate(prompt, end=-1, config=config) == wanted
        if config is SAMPLED:
            assert len({token for row in wanted for token in row}) > 2


def test_vectors_stand_in_the_place_of_tokens() -> None:
    """A soft prompt in the cache, then padded text, is the whole row at once."""
    ours = randomised(drawn(9, context_length=16), 9)
    theirs = gpt2(ours)
    soft = torch.randn(2, 3, ours.config.width, requires_grad=True)
    tokens = torch.randint(8, ours.config.vocab_size, (2, 5))
    valid = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    whole = torch.cat([soft, ours.embed(tokens)], dim=1)
    real = F.pad(valid, (3, 0), value=True)
    places = left(real)
    wanted = theirs(inputs_embeds=whole, attention_mask=real.long(), position_ids=places).logits
    at_once = ours.score(ours.run(whole, real))
    torch.testing.assert_close(at_once[real], wanted[real], atol=1e-4, rtol=1e-5)
    cache = ours.new_cache()
    ours.run(soft, cache=cache)
    after = ours.logits(tokens, valid, cache)
    torch.testing.assert_close(after[valid], at_once[:, 3:][valid], atol=1e-4, rtol=1e-5)
    (gradient,) = torch.autograd.grad(after[valid].square().sum(), soft)
    assert gradient.abs().min(dim=2).values.gt(0).all()


def test_prompts_after_an_image_are_answered_as_if_alone() -> None:
    ours = talkative(drawn(10, context_length=24), 10)
    soft = torch.randn(2, 3, ours.config.width)
    tokens = torch.randint(8, ours.config.vocab_size, (2, 5))
    valid = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()

    def answer(rows: slice, first: int) -> list[list[int]]:
        cache = ours.new_cache()
        ours.run(soft[rows], cache=cache)
        return ours.generate(
            tokens[rows, first:],
            end=END,
            config=SAMPLED,
            valid_BL=valid[rows, first:],
            cache=cache,
            keys=["a", "b"][rows],
        )

    assert answer(slice(None), 0) == [*answer(slice(0, 1), 2), *answer(slice(1, 2), 0)]


def test_blocks_one_by_one_are_the_run() -> None:
    ours = randomised(drawn(11, sparse=SparseConfig(span=3), depth=3), 11)
    tokens = torch.randint(ours.config.vocab_size, (4, 10))
    valid = some_valid(4, 10)
    x, mask = ours.enter(ours.embed(tokens), valid)
    for block in ours.transformer.blocks:
        x = block(x, mask=mask, causal=True)
    assert torch.equal(ours.score(ours.leave(x)), ours.logits(tokens, valid))


def test_a_frozen_gpt_passes_gradients_to_its_input() -> None:
    ours = randomised(drawn(12), 12).requires_grad_(False)
    x = torch.randn(1, 4, ours.config.width, requires_grad=True)
    ours.score(ours.run(x)).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert all(p.grad is None for p in ours.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_is_near(variant: str) -> None:
    config = drawn(13, **VARIANTS[variant])
    ours = randomised(config, 13, deviation=0.15)
    tokens = torch.randint(config.vocab_size, (4, 11))
    valid = some_valid(4, 11)
    wanted = ours.logits(tokens, valid)[valid]
    with torch.autocast("cpu", torch.bfloat16):
        cast = ours.logits(tokens, valid)[valid].float()
    whole = ours.bfloat16().logits(tokens, valid)[valid].float()
    for found in (cast, whole):
        assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_sinusoidal_positions_are_fairseqs() -> None:
    """A table as fairseq makes it: row by row from number 2, angles in double precision."""
    width = 12
    for place in (0, 1, 5, 700):
        wanted = [0.0] * width
        for i in range(6):
            angle = torch.tensor((place + 2) * 10_000.0 ** (-i / 5), dtype=torch.float64)
            wanted[i], wanted[6 + i] = float(angle.sin()), float(angle.cos())
        found = gpt.sinusoids(torch.tensor(place), width)
        torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (gpt.GPT2, 124_439_808),
        (gpt.GPT2_MEDIUM, 354_823_168),
        (gpt.GPT2_LARGE, 774_030_080),
        (gpt.GPT2_XL, 1_557_611_200),
        (gpt.GPT3_125M, 125_226_240),
        (gpt.GPT3_350M, 355_871_744),
        (gpt.GPT3_760M, 760_300_032),
        (gpt.GPT3_1_3B, 1_315_723_264),
        (gpt.GPT3_2_7B, 2_651_553_280),
        (gpt.GPT3_6_7B, 6_658_404_352),
        (gpt.GPT3_13B, 12_936_488_380),
        (gpt.GPT3_175B, 174_604_259_328),
        (gpt.WIKITEXT_103, 246_933_504),
    ],
)
def test_parameter_counts(config: GPTConfig, count: int) -> None:
    with torch.device("meta"):
        model = GPT(config)
    assert sum(p.numel() for p in model.parameters()) == count
    width, inner = config.width, config.heads * (config.head_width or config.width // config.heads)
    a_block = 4 * width * inner + 3 * inner + 8 * width**2 + 10 * width
    assert sum(p.numel() for p in model.transformer.parameters()) == config.depth * a_block
    if config.sparse is not None:
        sparse = [hasattr(block.attention, "patterns") for block in model.transformer.blocks]
        assert sparse == [False, True] * (config.depth // 2)


def test_initial_deviations_are_gpt2s() -> None:
    torch.manual_seed(0)
    model = GPT(replace(gpt.GPT_SMALL, width=256, heads=4, depth=8))
    block = model.transformer.blocks[3]
    for tensor, wanted in (
        (model.embedding.weight, 0.02),
        (model.positions.table_LD, 0.01),
        (block.attention.qkv.weight, 0.02),
        (block.mlp.up.weight, 0.02),
        (block.attention.out.weight, 0.005),
        (block.mlp.down.weight, 0.005),
    ):
        assert float(tensor.detach().std()) == pytest.approx(wanted, rel=0.03)
    assert not block.mlp.up.bias.any()


def test_dropout_only_in_training() -> None:
    for changes in ({"dropout": 0.5}, {"attention_dropout": 0.5}, {"hidden_dropout": 0.5}):
        model = randomised(drawn(14, **changes), 14)
        tokens = torch.randint(model.config.vocab_size, (1, 9))
        assert torch.equal(model.logits(tokens), model.logits(tokens))
        model.train()
        assert not torch.equal(model.logits(tokens), model.logits(tokens))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_model_is_the_same(variant: str, tmp_path: Path) -> None:
    model = randomised(drawn(15, **VARIANTS[variant]), 15)
    weights.save(model, str(tmp_path))
    copy = weights.load(str(tmp_path))
    assert isinstance(copy, GPT) and copy.config == model.config
    tokens = torch.randint(model.config.vocab_size, (2, 9))
    assert torch.equal(copy.logits(tokens), model.logits(tokens))


def test_too_many_tokens_are_named() -> None:
    model = randomised(drawn(16, context_length=12), 16)
    with pytest.raises(ValueError, match="13 tokens exceed context_length=12"):
        model.logits(torch.zeros(1, 13, dtype=torch.int64))
    tokens, cache = torch.zeros(1, 12, dtype=torch.int64), model.new_cache()
    model.logits(tokens, cache=cache)
    with pytest.raises(ValueError, match="13 tokens exceed"):
        model.logits(tokens[:, :1], cache=cache)
    valid = torch.arange(14)[None] >= 2  # padding does not count
    model.logits(torch.zeros(1, 14, dtype=torch.int64), valid)
