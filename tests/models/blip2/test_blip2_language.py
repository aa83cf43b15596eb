"""BLIP-2's second stage against transformers' with a small OPT, GPT-2 and T5; what is trained."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import Blip2Config, Blip2ForConditionalGeneration, PreTrainedModel

from models.blip2.blip2 import BLIP2, BLIP2Config
from models.blip2.frozen_lm import FrozenCausalLM, FrozenGPT, FrozenLM, FrozenT5
from models.blip2.language import (
    BLIP2_FLAN_T5_XL,
    BLIP2_FLAN_T5_XXL,
    BLIP2_OPT_2_7B,
    BLIP2_OPT_6_7B,
    BLIP2Language,
    BLIP2LanguageConfig,
    first_stage,
)
from models.blip2.query_transformer import QueryTransformerConfig
from models.generation import GenerationConfig
from models.gpt import GPT, GPTConfig
from models.public import t5 as public_t5
from models.public.blip2 import language_tensors, read, to_hugging_face_blip2
from models.t5 import T5
from models.training.accumulate import backward
from models.vision.vit import ViTConfig
from models.weights import fit
from tests.models.drawing import randomise

START, END, IMAGE, VOCABULARY = 2, 5, 31, 32
SMALL = BLIP2LanguageConfig(
    ViTConfig((16, 24), 8, 24, 2, 3),
    QueryTransformerConfig(3, 16, 2, 2, text=False, dropout=0.0, attention_dropout=0.0),
    language=16,
    start=START,
    end=END,
)
LANGUAGES = {
    "opt": {
        "model_type": "opt", "hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 24,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 40,
        "pad_token_id": 1,
    },
    "gpt2": {
        "model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40,
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "pad_token_id": 1,
    },
    "t5": {
        "model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "pad_token_id": 0,
        "decoder_start_token_id": 0, "dropout_rate": 0.0,
    },
}  # fmt: skip


def adapter(kind: str, theirs: Blip2ForConditionalGeneration) -> FrozenLM:
    """Our T5 with their T5's weights, or their decoder itself."""
    if kind != "t5":
        return FrozenCausalLM(theirs.language_model)
    config, tensors = public_t5.read(
        theirs.config.text_config.to_dict(), language_tensors(theirs.state_dict())
    )
    model = T5(config)
    fit(model, tensors, "their language model")
    return FrozenT5(model)


def draw(kind: str, seed: int) -> tuple[Blip2ForConditionalGeneration, BLIP2Language]:
    """transformers' model of a config drawn by `seed`, and ours with its weights."""
    chance = random.Random(seed)
    torch.manual_seed(seed)
    heads, vision_heads, patch = chance.choice([1, 2]), chance.choice([1, 2, 3]), 4
    config = Blip2Config(
        vision_config={
            "hidden_size": 8 * vision_heads,
            "intermediate_size": chance.choice([24, 40]),
            "num_hidden_layers": chance.choice([1, 2]),
            "num_attention_heads": vision_heads,
            "image_size": patch * chance.choice([1, 2, 3]),
            "patch_size": patch,
        },
        qformer_config={
            "hidden_size": 8 * heads,
            "num_hidden_layers": chance.choice([1, 2, 3]),
            "num_attention_heads": heads,
            "intermediate_size": chance.choice([24, 40]),
            "cross_attention_frequency": chance.choice([1, 2]),
        },
        text_config={
            **LANGUAGES[kind],
            "vocab_size": VOCABULARY,
            "bos_token_id": START,
            "eos_token_id": END,
        },
        num_query_tokens=chance.choice([1, 2, 4]),
        image_token_index=IMAGE,
    )
    theirs = Blip2ForConditionalGeneration(config).eval()
    randomise(theirs)
    theirs.language_model.tie_weights()
    theirs.generation_config.eos_token_id = END
    ours_config, tensors = read(config.to_dict(), theirs.state_dict())
    assert isinstance(ours_config, BLIP2LanguageConfig)
    assert (ours_config.start, ours_config.end) == (0 if kind == "t5" else START, END)
    ours = BLIP2Language(ours_config).eval()
    fit(ours, tensors, "transformers")
    return theirs, ours.attach(adapter(kind, theirs))


def texts(rows: int, length: int, start: int) -> Tensor:
    tokens = torch.randint(7, IMAGE, (rows, length))
    lengths = torch.randint(2, length + 1, (rows,))
    lengths[0] = length
    place = torch.arange(length)
    tokens[place == lengths[:, None] - 1] = END
    tokens[place >= lengths[:, None]] = 1
    tokens[:, 0] = start
    return tokens


def placeholders(rows: int, queries: int) -> Tensor:
    return torch.full((rows, queries), IMAGE)


@pytest.mark.parametrize("kind", ["opt", "gpt2"])
@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_transformers(
    kind: str, seed: int, every_weight_shows: Callable[..., None]
) -> None:
    theirs, ours = draw(kind, seed)
    rows = seed or 1
    pixels = torch.randn(rows, 3, *ours.config.vision.image_size)
    tokens = texts(rows, (2, 12, 7, 5)[seed], START)
    scored = torch.rand(tokens.shape) > 0.3 if seed == 3 else torch.ones_like(tokens).bool()
    scored[0, 1] = True
    place = torch.arange(tokens.shape[1])
    lengths = (tokens[:, 1:] == END).int().argmax(dim=1) + 2
    real = place < lengths[:, None]
    asked = placeholders(rows, ours.config.former.queries)
    labels = tokens.masked_fill(~(real & scored), -100)
    labels[:, 0] = -100
    wanted = theirs(
        pixels,
        torch.cat([asked, tokens], dim=1),
        attention_mask=torch.cat([torch.ones_like(asked), real], dim=1).long(),
        labels=torch.cat([torch.full_like(asked, -100), labels], dim=1),
    )
    found = ours.losses({"pixels": pixels, "tokens": tokens, "scored": scored})["loss"]
    torch.testing.assert_close(found, wanted.loss, atol=1e-4, rtol=1e-5)

    def logits() -> Tensor:
        assert ours.language is not None
        soft = ours.language_projection(ours.queries(pixels))
        return ours.language.logits(soft, None, tokens)[real]

    theirs_real = wanted.logits[:, asked.shape[1] :][real]
    torch.testing.assert_close(logits(), theirs_real, atol=1e-4, rtol=1e-5)
    every_weight_shows(ours, logits)


@pytest.mark.parametrize("seed", range(4))
def test_an_encoder_decoders_loss_is_transformers(seed: int) -> None:
    theirs, ours = draw("t5", seed)
    rows = seed or 1
    pixels = torch.randn(rows, 3, *ours.config.vision.image_size)
    tokens, prefix = texts(rows, (2, 12, 7, 5)[seed], 0), torch.randint(7, IMAGE, (rows, 4))
    valid = torch.rand(rows, 4) > 0.4
    asked = placeholders(rows, ours.config.former.queries)
    lengths = (tokens[:, 1:] == END).int().argmax(dim=1) + 2
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    wanted = theirs(
        pixels,
        torch.cat([asked, prefix], dim=1),
        attention_mask=torch.cat([torch.ones_like(asked), valid], dim=1).long(),
        labels=tokens.masked_fill(~real, -100)[:, 1:].contiguous(),
    ).loss
    batch = {"pixels": pixels, "tokens": tokens, "prefix": prefix, "prefix_valid": valid}
    found = ours(batch)
    assert isinstance(found, dict)
    torch.testing.assert_close(found["loss"], wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", ["opt", "gpt2", "t5"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beams", [1, 3])
def test_generated_texts_are_transformers(kind: str, seed: int, beams: int) -> None:
    theirs, ours = draw(kind, seed)
    pixels = torch.randn(2, 3, *ours.config.vision.image_size)
    asked, words = placeholders(2, ours.config.former.queries), [[9, 10]] * 2
    start = [] if kind == "t5" else [[START]] * 2
    read_in = torch.cat([asked, *([torch.tensor(start)] if start else []), torch.tensor(words)], 1)
    made = theirs.generate(
        pixels, read_in, max_new_tokens=6, num_beams=beams, do_sample=False, eos_token_id=END
    )
    rows = (made[:, 1:] if kind == "t5" else made[:, read_in.shape[1] :]).tolist()
    wanted = [row[: row.index(END)] if END in row else row for row in rows]
    settings = GenerationConfig("beam" if beams > 1 else "greedy", most=6, beams=beams)
    prefix = torch.tensor(words) if kind == "t5" else None
    prompt = [] if kind == "t5" else words[0]
    assert ours.caption(pixels, settings, prompt, prefix_BP=prefix) == wanted
    states = ours.image_states(pixels)
    assert ours.caption(states, settings, prompt, prefix_BP=prefix) == wanted


@pytest.mark.parametrize("kind", ["opt", "gpt2", "t5", "ours"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_among_the_words_before_changes_nothing(kind: str, side: str) -> None:
    if kind == "ours":
        torch.manual_seed(0)
        ours = BLIP2Language(SMALL).eval().attach(FrozenGPT(GPT(GPTConfig(32, 40, 16, 2, 2))))
        randomise(ours)
    else:
        _, ours = draw(kind, 1)
    language, tokens = ours.language, texts(2, 6, START)
    assert language is not None
    soft, words = torch.randn(2, 3, 16), language.embed(torch.randint(7, IMAGE, (2, 2)))
    padding, no = torch.randn(2, 2, 16), torch.zeros(2, 2, dtype=torch.bool)
    order = (padding, words) if side == "left" else (words, padding)
    seen = (no, ~no) if side == "left" else (~no, no)
    if kind == "t5" and side == "left":
        soft = soft[:, :0]  # its distances are between places, so that nothing may stand before
    valid = torch.cat([torch.ones(soft.shape[:2], dtype=torch.bool), *seen], dim=1)
    wanted = language.logits(torch.cat([soft, words], dim=1), None, tokens)
    found = language.logits(torch.cat([soft, *order], dim=1), valid, tokens)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    caches = (
        language.open(torch.cat([soft, words], dim=1), None),
        language.open(torch.cat([soft, *order], dim=1), valid),
    )
    for count in (2, 1, 1):
        steps = [language.advance(tokens[:, :count], cache) for cache in caches]
        torch.testing.assert_close(steps[0], steps[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["opt", "t5", "ours"])
def test_gradients_reach_queries_and_projection_alone(kind: str) -> None:
    torch.manual_seed(0)
    model: nn.Module | PreTrainedModel
    if kind == "ours":
        model = GPT(GPTConfig(32, 40, 16, 2, 2))
        ours = BLIP2Language(SMALL).train().attach(FrozenGPT(model))
    else:
        _, ours = draw(kind, 0)
        model = ours.language.model  # type: ignore[union-attr]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pixels = torch.randn(3, 3, *ours.config.vision.image_size)
    losses = ours.train()({"pixels": pixels, "tokens": texts(3, 7, ours.config.start)})
    assert isinstance(losses, dict)
    losses["loss"].backward()
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not any(module.training for module in (model, ours.image_tower))
    for name, parameter in ours.named_parameters():
        assert (parameter.grad is None) == name.startswith("image_tower."), name
        if parameter.grad is not None:
            assert parameter.grad.abs().max().item() > 0, name
    trained = {n.split(".")[0] for n, p in ours.named_parameters() if p.requires_grad}
    assert trained == {"image_norm", "former", "language_projection"}
    assert not any(name.startswith("language.") for name in ours.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_leave_the_same_gradient(parts: int) -> None:
    torch.manual_seed(1)
    model = BLIP2Language(SMALL).train().attach(FrozenGPT(GPT(GPTConfig(32, 40, 16, 2, 2))))
    batch = {"pixels": torch.randn(8, 3, 16, 24), "tokens": texts(8, 9, START)}
    found = []
    for count in (1, parts):
        model.zero_grad()
        backward(model, batch, count, torch.manual_seed, contextlib.nullcontext)
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_a_prompt_is_read_and_not_scored() -> None:
    torch.manual_seed(2)
    model = BLIP2Language(SMALL).eval().attach(FrozenGPT(GPT(GPTConfig(32, 40, 16, 2, 2))))
    pixels, tokens = torch.randn(3, 3, 16, 24), texts(3, 7, START)
    scored = torch.cat([torch.zeros(3, 3), torch.ones(3, 6)], dim=1)
    prompt = torch.tensor([[9, 10]]).expand(3, -1)
    spelled = torch.cat([tokens[:, :1], prompt, tokens[:, 1:]], dim=1)
    wanted = model.losses({"pixels": pixels, "tokens": spelled, "scored": scored})["loss"]
    captions = model.caption(pixels, GenerationConfig(most=5), [9, 10])
    model.config = replace(SMALL, prompt=(9, 10))
    found = model.losses({"pixels": pixels, "tokens": tokens})["loss"]
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    assert model.caption(pixels, GenerationConfig(most=5)) == captions


def test_images_are_read_once_for_many_texts() -> None:
    _, ours = draw("opt", 2)
    pixels, settings = (
        torch.randn(3, 3, *ours.config.vision.image_size),
        GenerationConfig("nucleus", most=5, seed=1),
    )
    keys = [str(number) for number in range(6)]
    many = ours.caption(pixels, settings, each=2, keys=keys)
    assert len(many) == 6 and len({tuple(text) for text in many}) > 3
    assert many[2:4] == ours.caption(pixels[1:2], settings, each=2, keys=keys[2:4])


def test_the_second_stage_begins_with_the_first() -> None:
    torch.manual_seed(3)
    former = replace(SMALL.former, text=True, vocab_size=30)
    first = BLIP2(BLIP2Config(SMALL.vision, former, embedding=8)).eval()
    randomise(first)
    second = BLIP2Language(SMALL).eval()
    missing, unexpected = second.load_state_dict(first_stage(first.state_dict()), strict=False)
    assert set(missing) == {"language_projection.weight", "language_projection.bias"}
    assert not unexpected
    pixels = torch.randn(2, 3, 16, 24)
    assert torch.equal(first.queries(pixels), second.queries(pixels))


def test_names_go_there_and_back() -> None:
    theirs, ours = draw("opt", 1)
    back = to_hugging_face_blip2(ours.state_dict())
    wanted = {n: t for n, t in theirs.state_dict().items() if not n.startswith("language_model.")}
    assert set(back) == set(wanted)
    for name, tensor in back.items():
        assert torch.equal(tensor, wanted[name]), name


def test_what_cannot_be_is_named() -> None:
    model = BLIP2Language(SMALL)
    batch = {"pixels": torch.randn(2, 3, 16, 24), "tokens": texts(2, 5, START)}
    with pytest.raises(ValueError, match=r"no language model: attach\(\) one"):
        model(batch)
    with pytest.raises(ValueError, match="language=16, but its width is 8"):
        model.attach(FrozenGPT(GPT(GPTConfig(32, 40, 8, 2, 2))))
    with pytest.raises(ValueError, match="belongs to the first stage"):
        BLIP2Language(replace(SMALL, former=replace(SMALL.former, text=True)))


def test_a_language_model_of_half_the_precision_is_near() -> None:
    torch.manual_seed(4)
    language = GPT(GPTConfig(32, 40, 16, 2, 2))
    model = BLIP2Language(SMALL).eval().attach(FrozenGPT(language))
    batch = {"pixels": torch.randn(3, 3, 16, 24), "tokens": texts(3, 7, START)}
    wanted = model.losses(batch)["loss"]
    found = model.attach(FrozenGPT(language.bfloat16())).losses(batch)["loss"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)
    assert len(model.caption(batch["pixels"], GenerationConfig(most=3))) == 3


@pytest.mark.parametrize(
    ("config", "trained"),
    [
        (BLIP2_OPT_2_7B, 107_133_696),
        (BLIP2_OPT_6_7B, 108_314_880),
        (BLIP2_FLAN_T5_XL, 106_739_968),
        (BLIP2_FLAN_T5_XXL, 108_314_880),
    ],
)
def test_parameter_counts(config: BLIP2LanguageConfig, trained: int) -> None:
    with torch.device("meta"):
        model = BLIP2Language(config)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    assert sum(p.numel() for p in model.image_tower.parameters()) == 985_949_440
