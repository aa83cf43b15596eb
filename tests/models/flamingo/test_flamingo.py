"""Flamingo: the bare language model at the start, IDEFICS as a whole, our GPT and transformers' as
hosts, images and videos in any number, cached generation, what trains, sizes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    IdeficsConfig,
    IdeficsForVisionText2Text,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from models.flamingo.flamingo import (
    FLAMINGO_3B,
    FLAMINGO_9B,
    FLAMINGO_80B,
    FLAMINGO_SMALL,
    Flamingo,
    FlamingoConfig,
    gated_config,
)
from models.flamingo.hosts import GPTHost, TransformersHost
from models.flamingo.resampler import ResamplerConfig
from models.generation import GenerationConfig
from models.gpt import GPT, GPTConfig
from models.layers.block import BlockConfig
from models.weights import read_tensors, write_tensors
from tests.models.drawing import randomise

IMAGE, END, VOCAB = 30, 31, 32
RESAMPLER = (
    ("latents_RC", "latents"),
    ("norm_after.", "layer_norm."),
    ("layers.", "blocks."),
    (".norm_media.", ".0.context_layer_norm."),
    (".norm_1.", ".0.latents_layer_norm."),
    (".attention.q.", ".0.q_proj."),
    (".attention.kv.", ".0.kv_proj."),
    (".attention.out.", ".0.output_proj."),
    (".norm_2.", ".1.ln."),
    (".mlp.up.", ".1.fc."),
    (".mlp.down.", ".1.c_proj."),
)
GATED = (
    (".norm_cross.", ".input_layernorm."),
    (".norm_2.", ".post_attention_layernorm."),
    (".cross.q.", ".cross_attn.q_proj."),
    (".cross.kv.", ".cross_attn.kv_proj."),
    (".cross.out.", ".cross_attn.o_proj."),
    (".cross_gate", ".alpha_cross_attn"),
    (".mlp_gate", ".alpha_dense"),
    (".mlp.gate.", ".mlp.gate_proj."),
    (".mlp.up.", ".mlp.up_proj."),
    (".mlp.down.", ".mlp.down_proj."),
)
TINY = FlamingoConfig(
    ResamplerConfig(12, 1, 2, latents=3, times=4),
    gated_config(16, 2, 12),
    every=2,
    language=GPTConfig(VOCAB, 40, width=16, depth=3, heads=2),
    image=IMAGE,
    end=END,
)


def tiny(seed: int, **changes: Any) -> Flamingo:
    torch.manual_seed(seed)
    model = Flamingo(replace(TINY, **changes)).eval()
    randomise(model)
    return model


def text(*lengths: int) -> Tensor:
    """Ids without an image's, (rows, length)."""
    return torch.randint(0, IMAGE, lengths)


def gpt2() -> tuple[GPT2LMHeadModel, GPT]:
    """transformers' and our GPT-2 with the same weights."""
    theirs = GPT2LMHeadModel(
        GPT2Config(n_layer=3, n_embd=16, n_head=2, vocab_size=VOCAB, n_positions=40)
    ).eval()
    randomise(theirs)
    ours = GPT(TINY.language).eval()
    state: dict[str, Tensor] = {}
    for name, tensor in theirs.transformer.state_dict().items():
        key = name
        for old, new in (
            ("wte.", "embedding."),
            ("wpe.weight", "positions.table_LD"),
            ("h.", "transformer.blocks."),
            ("ln_f.", "norm_after."),
            (".ln_", ".norm_"),
            (".attn.c_attn.", ".attention.qkv."),
            (".attn.c_proj.", ".attention.out."),
            (".mlp.c_fc.", ".mlp.up."),
            (".mlp.c_proj.", ".mlp.down."),
        ):
            key = key.replace(old, new)
        state[key] = tensor.T if tensor.ndim == 2 and "transformer." in key else tensor
    ours.load_state_dict(state)
    return theirs, ours


def hosts() -> list[tuple[Any, nn.ModuleList]]:
    """Language models of transformers and their blocks."""
    sizes: dict[str, Any] = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "max_position_embeddings": 40}
    opt = OPTForCausalLM(
        OPTConfig(**sizes, ffn_dim=24, word_embed_proj_dim=16, dropout=0.1, pad_token_id=0)
    )
    llama = LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=24))
    return [(opt, opt.model.decoder.layers), (llama, llama.model.layers)]


def test_at_the_start_it_is_the_bare_language_model() -> None:
    torch.manual_seed(0)
    model = Flamingo(TINY).eval()
    assert isinstance(model.host, GPTHost)
    randomise(model.host)
    tokens, media = text(2, 9), torch.randn(2, 2, 1, 5, 12)
    tokens[0, 2] = tokens[0, 6] = tokens[1, 0] = IMAGE
    cache = model.start(model.encode_media(media))
    found = model.host.score(model.hidden(tokens, cache))
    assert float((found - model.host.model.logits(tokens)).detach().abs().max()) == 0.0
    theirs = hosts()
    for lm, blocks in theirs:
        randomise(lm.eval())
        wrapped = Flamingo(TINY, TransformersHost(lm, blocks)).eval()
        cache = wrapped.start(wrapped.encode_media(media))
        logits = wrapped.host.score(wrapped.hidden(tokens, cache))
        assert float((logits - lm(tokens).logits).detach().abs().max()) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_our_gpt_and_theirs_are_the_same_host(seed: int) -> None:
    torch.manual_seed(seed)
    theirs, ours = gpt2()
    one = Flamingo(TINY, GPTHost(ours)).eval()
    two = Flamingo(TINY, TransformersHost(theirs, theirs.transformer.h)).eval()
    for part in (one.resampler, one.gated):
        randomise(part)
    two.resampler.load_state_dict(one.resampler.state_dict())
    two.gated.load_state_dict(one.gated.state_dict())
    tokens, media = text(3, 9), torch.randn(3, 2, 2, 5, 12)
    tokens[0, 2] = tokens[0, 6] = tokens[1, 5] = IMAGE
    valid = torch.ones(3, 9, dtype=torch.bool)
    valid[1, :4] = valid[2, :8] = False
    batch = {"tokens": tokens, "media": media, "valid": valid, "frames": torch.ones(3, 2).long()}
    torch.testing.assert_close(one(batch)["loss"], two(batch)["loss"], atol=1e-4, rtol=0)
    config = GenerationConfig("beam", most=5, beams=2)
    arguments = (tokens, media, batch["frames"], valid, config)
    assert one.generate(*arguments) == two.generate(*arguments)


def idefics(seed: int) -> tuple[Flamingo, IdeficsForVisionText2Text]:
    """IDEFICS, and its language model (a Llama) as the host of our resampler and layers."""
    dice = random.Random(seed)
    heads, source, hidden = dice.choice([2, 3]), dice.choice([8, 12]), dice.choice([12, 30])
    width, depth, every = heads * dice.choice([4, 6]), dice.choice([2, 4]), dice.choice([1, 2])
    sizes: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }
    theirs = IdeficsForVisionText2Text(
        IdeficsConfig(
            **sizes,
            cross_layer_interval=every,
            use_resampler=True,
            perceiver_config={
                "use_resampler": True,
                "resampler_n_latents": 3,
                "resampler_depth": 2,
                "resampler_n_heads": 2,
                "resampler_head_dim": 4,
            },
            vision_config={
                "embed_dim": source,
                "image_size": 4,
                "patch_size": 2,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 8,
            },
        )
    ).eval()
    randomise(theirs)
    llama = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
    state = theirs.state_dict()
    llama.load_state_dict({name: state[name] for name in llama.state_dict()})
    config = FlamingoConfig(
        ResamplerConfig(source, 2, 2, head_width=4, activation="relu", latents=3, times=0),
        BlockConfig(
            width,
            heads,
            hidden,
            activation="silu",
            gated=True,
            norm="rms",
            epsilon=1e-6,
            bias=False,
            source_width=source,
        ),
        every=every,
        image=IMAGE,
        end=END,
    )
    ours = Flamingo(config, TransformersHost(llama, llama.model.layers)).eval()
    mine = {}
    for name, tensor in ours.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "host":
            mine[name] = tensor
            continue
        key, names = rest, RESAMPLER if part == "resampler" else GATED
        for old, new in names:
            key = key.replace(old, new)
        where = "perceiver_resampler." if part == "resampler" else "gated_cross_attn_layers."
        parts = [key.replace("kv_proj.", f"{letter}_proj.") for letter in "kv"]
        found = [state[f"model.{where}{one}"] for one in (parts if "kv_proj." in key else [key])]
        mine[name] = torch.cat(found)
    ours.load_state_dict(mine)
    return ours, theirs


def wanted_logits(theirs: IdeficsForVisionText2Text, tokens: Tensor, media: Tensor) -> Tensor:
    """IDEFICS's, each token seeing the last image before it."""
    images = media.shape[1]
    last_BL1 = ((tokens == IMAGE).long().cumsum(dim=1) - 1)[..., None]
    return theirs(
        input_ids=tokens,
        image_encoder_embeddings=media[:, :, 0],
        image_attention_mask=(last_BL1 == torch.arange(images)).long(),
    ).logits


@pytest.mark.parametrize("seed", range(5))
def test_the_whole_is_idefics(seed: int, every_weight_shows: Callable[..., None]) -> None:
    torch.manual_seed(seed)
    ours, theirs = idefics(seed)
    tokens, media = text(3, 10), torch.randn(3, 3, 1, 5, ours.config.resampler.width)
    tokens[0, 0] = tokens[0, 4] = tokens[0, 5] = tokens[1, 7] = IMAGE

    def found() -> Tensor:
        return ours.host.score(ours.hidden(tokens, ours.start(ours.encode_media(media))))

    wanted = wanted_logits(theirs, tokens, media)
    torch.testing.assert_close(found(), wanted, atol=1e-4, rtol=0)
    every_weight_shows(ours, found)


@pytest.mark.parametrize("config", [GenerationConfig(most=8), GenerationConfig("beam", most=8)])
@pytest.mark.parametrize("seed", range(3))
def test_writes_what_it_would_without_a_cache(seed: int, config: GenerationConfig) -> None:
    model = tiny(seed)
    prompt, media = text(4, 7), torch.randn(4, 3, 2, 5, 12)
    prompt[0, 1] = prompt[0, 3] = prompt[1, 6] = prompt[2, 0] = IMAGE
    frames = torch.tensor([[1, 2, 1], [2, 1, 1], [1, 1, 1], [1, 1, 1]])
    found = model.generate(prompt, media, frames, config=config)
    for row in range(4):
        alone = model.generate(
            prompt[row : row + 1], media[row : row + 1], frames[row : row + 1], config=config
        )
        assert alone == found[row : row + 1]
    if config.method == "beam":
        return
    for row, written in enumerate(found):
        held = prompt[row : row + 1]
        vectors = model.encode_media(media[row : row + 1], frames[row : row + 1])
        for token in [*written, END][: config.most]:
            hidden = model.hidden(held, model.start(vectors), keep=False)
            assert int(model.host.score(hidden[:, -1]).argmax()) == token
            held = torch.cat([held, torch.tensor([[token]])], dim=1)


def test_a_prompt_runs_once_for_many_answers() -> None:
    lm, blocks = hosts()[1]
    models = [tiny(3), Flamingo(TINY, TransformersHost(lm.eval(), blocks)).eval()]
    prompt, answers, media = text(2, 5), text(2, 4), torch.randn(2, 2, 1, 5, 12)
    prompt[:, 1], answers[0, 1] = IMAGE, IMAGE
    for model in models:
        randomise(model)
        shared = model.start(model.encode_media(media))
        model.advance(prompt, shared)
        for answer in (answers, answers.flip(0)):
            whole = torch.cat([prompt, answer], dim=1)
            wanted = model.hidden(whole, model.start(model.encode_media(media)), keep=False)
            found = model.hidden(answer, shared.fork())
            torch.testing.assert_close(found, wanted[:, 5:], atol=1e-4, rtol=0)
        assert shared.length == 5


def test_prompts_of_unequal_length_are_padded_on_the_left() -> None:
    model = tiny(4)
    media, config = torch.randn(2, 2, 1, 5, 12), GenerationConfig(most=6)
    long, short = text(1, 8), text(1, 3)
    long[0, 2] = long[0, 5] = short[0, 1] = IMAGE
    padded = torch.cat([torch.full((1, 5), IMAGE), short], dim=1)  # padding names no image
    valid = torch.ones(2, 8, dtype=torch.bool)
    valid[1, :5] = False
    both = model.generate(torch.cat([long, padded]), media, valid_BL=valid, config=config)
    assert both[0] == model.generate(long, media[:1], config=config)[0]
    assert both[1] == model.generate(short, media[1:], config=config)[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_loss(side: str) -> None:
    model = tiny(5)
    media = torch.randn(2, 2, 1, 5, 12)
    rows = [text(1, 9), text(1, 4)]
    rows[0][0, 2] = rows[0][0, 7] = rows[1][0, 1] = IMAGE
    valid = torch.ones(2, 9, dtype=torch.bool)
    blank = torch.full((1, 5), IMAGE)
    if side == "left":
        second = torch.cat([blank, rows[1]], dim=1)
        valid[1, :5] = False
    else:
        second = torch.cat([rows[1], blank], dim=1)
        valid[1, 4:] = False
    batch = {"tokens": torch.cat([rows[0], second]), "media": media, "valid": valid}
    nll, counted = model.nll(batch)
    assert counted.sum(dim=1).tolist() == [6, 2]  # 8 and 3 that follow, less the images' tokens
    for row in range(2):
        alone, _ = model.nll({"tokens": rows[row], "media": media[row : row + 1]})
        torch.testing.assert_close(nll[row].sum(), alone.sum(), atol=1e-4, rtol=0)
    torch.testing.assert_close(model(batch)["loss"], nll.sum() / 8, atol=1e-6, rtol=0)


def test_only_the_resampler_and_the_gated_layers_train() -> None:
    torch.manual_seed(6)
    model = Flamingo(TINY).train()
    assert isinstance(model.host, GPTHost)
    assert not model.host.training
    assert not model.host.model.training
    assert model.gated.training
    for gated in model.gated:  # with shut gates only the gates have gradients
        nn.init.constant_(gated.cross_gate, 0.3)
        nn.init.constant_(gated.mlp_gate, 0.3)
    tokens = text(2, 8)
    tokens[:, 1] = IMAGE
    batch = {"tokens": tokens, "media": torch.randn(2, 1, 3, 5, 12)}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1
    )
    model(batch)["loss"].backward()
    optimiser.step()
    for name, parameter in model.named_parameters():
        same = torch.equal(before[name], parameter)
        if name.startswith("host."):
            assert parameter.grad is None and same, name
        elif name != "resampler.times_TC":  # three frames use three of its rows
            assert parameter.grad is not None and not same, name
    assert [bool(row.any()) for row in model.resampler.times_TC.grad] == [True] * 3 + [False]


def test_the_gates_open_first() -> None:
    torch.manual_seed(7)
    model = Flamingo(TINY)
    tokens = text(2, 8)
    tokens[:, 1] = IMAGE
    model({"tokens": tokens, "media": torch.randn(2, 1, 1, 5, 12)})["loss"].backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert bool(parameter.grad.any()) == name.endswith("_gate"), name


def test_learns_to_tell_videos_apart() -> None:
    torch.manual_seed(8)
    model = Flamingo(TINY)
    assert isinstance(model.host, GPTHost)
    nn.init.normal_(model.host.model.embedding.weight)  # type: ignore[arg-type]
    tokens = torch.tensor([[IMAGE, 1, 5, END], [IMAGE, 1, 6, END]])
    frame = torch.randn(4, 5, 12)
    media = torch.stack([frame, frame.flip(0)])[:, None]  # the same frames, backwards
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        found = model({"tokens": tokens, "media": media})
        found["loss"].backward()
        optimiser.step()
    assert float(found["loss"].detach()) < 0.2
    assert model.eval().generate(tokens[:, :2], media) == [[5], [6]]


def test_texts_without_images_and_one_token() -> None:
    model = tiny(9)
    tokens = text(2, 5)
    plain = model({"tokens": tokens})["loss"]
    with_media = model({"tokens": tokens, "media": torch.randn(2, 1, 1, 5, 12)})["loss"]
    torch.testing.assert_close(plain, with_media, atol=1e-6, rtol=0)
    assert len(model.generate(text(1, 1), config=GenerationConfig(most=3))[0]) <= 3
    longest = text(1, 40)
    longest[0, 39] = IMAGE
    media = torch.randn(1, 1, 1, 1, 12)
    assert torch.isfinite(model({"tokens": longest, "media": media})["loss"])


def test_following_texts_look_at_the_next_image() -> None:
    model = tiny(10)
    tokens, media = text(2, 6), torch.randn(2, 1, 1, 5, 12)
    tokens[:, 4] = IMAGE
    flags = torch.tensor([True, False])
    first, _ = model.nll({"tokens": tokens, "media": media, "following": flags})
    other = torch.randn_like(media)
    second, _ = model.nll({"tokens": tokens, "media": other, "following": flags})
    changed = (first != second).any(dim=0), (first != second)[1].nonzero().flatten().tolist()
    assert bool(changed[0][:3].all())  # tokens before the image, in the first row
    assert changed[1] == [4]  # the one after it, in the second


def test_what_cannot_be_is_named() -> None:
    model = tiny(11)
    tokens = torch.full((1, 3), IMAGE)
    with pytest.raises(ValueError, match="3 image tokens, but 2 images"):
        model({"tokens": tokens, "media": torch.randn(1, 2, 1, 5, 12)})
    with pytest.raises(ValueError, match="3 image tokens, but 0 images"):
        model({"tokens": tokens})
    with pytest.raises(ValueError, match=r"gated.width=20 must be 16"):
        Flamingo(replace(TINY, gated=gated_config(20, 2, 12)))
    with pytest.raises(ValueError, match=r"gated.source_width=8 must be 12"):
        Flamingo(replace(TINY, gated=gated_config(16, 2, 8)))


def test_bfloat16_is_near() -> None:
    torch.manual_seed(12)
    model = Flamingo(TINY)
    for gated in model.gated:
        nn.init.constant_(gated.cross_gate, 0.5)
    tokens = text(2, 8)
    tokens[:, 1] = IMAGE
    batch = {"tokens": tokens, "media": torch.randn(2, 1, 6, 5, 12)}
    exact = model(batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(batch)["loss"]
    torch.testing.assert_close(mixed, exact, atol=0.05, rtol=0)
    half = model.bfloat16()({**batch, "media": batch["media"].bfloat16()})["loss"]
    torch.testing.assert_close(half, exact, atol=0.05, rtol=0)


def test_goes_to_disk_and_back(tmp_path: Path) -> None:
    model = tiny(13)
    path = str(tmp_path / "model.safetensors")
    write_tensors(path, model.state_dict())
    with torch.device("meta"):
        other = Flamingo(TINY)
    other = other.to_empty(device="cpu").eval()
    other.load_state_dict(read_tensors(path))
    tokens = text(1, 6)
    tokens[0, 2] = IMAGE
    batch = {"tokens": tokens, "media": torch.randn(1, 1, 2, 5, 12)}
    assert torch.equal(model(batch)["loss"], other(batch)["loss"])


@pytest.mark.parametrize(
    ("config", "layers", "count", "paper"),
    [
        (FLAMINGO_3B, 24, 1_157_824_560, 1.2e9),
        (FLAMINGO_9B, 10, 1_803_714_580, 1.6e9),
        (FLAMINGO_80B, 12, 8_355_446_808, 10e9),
        (FLAMINGO_SMALL, 2, 886_276, 0.89e6),
    ],
)
def test_parameter_counts(config: FlamingoConfig, layers: int, count: int, paper: float) -> None:
    with torch.device("meta"):
        model = Flamingo(config)
    assert len(model.gated) == layers
    assert sum(parameter.numel() for parameter in model.gated.parameters()) == count
    assert abs(count / paper - 1) < 0.17
