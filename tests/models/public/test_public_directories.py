"""Whole directories in Hugging Face's layout through `weights.load`: the class follows from the
config, and the answers are transformers'.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from models.blip2.language import BLIP2Language
from models.generation import GenerationConfig
from models.gpt import GPT
from models.t5 import T5
from models.weights import KINDS, WeightsError, load, save, save_public

WORDS, WIDTH = 30, 16


def opt() -> OPTConfig:
    return OPTConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        ffn_dim=24,
        max_position_embeddings=32,
        num_attention_heads=2,
        word_embed_proj_dim=WIDTH,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=1,
    )


def t5() -> T5Config:
    return T5Config(
        vocab_size=WORDS,
        d_model=WIDTH,
        d_kv=4,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
    )


def blip2(language: OPTConfig | T5Config) -> Blip2Config:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    former = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "encoder_hidden_size": 16,
    }
    return Blip2Config(
        vision_config=vision,
        qformer_config=former,
        text_config=language.to_dict(),
        num_query_tokens=4,
    )


def drawn(model: PreTrainedModel, seed: int, path: Path) -> PreTrainedModel:
    torch.manual_seed(seed)
    for parameter in model.eval().parameters():
        nn.init.normal_(parameter, std=0.3)
    model.tie_weights()
    model.save_pretrained(path)
    return model


@pytest.mark.parametrize("seed", range(3))
def test_opt(seed: int, tmp_path: Path) -> None:
    theirs = drawn(OPTForCausalLM(opt()), seed, tmp_path)
    ours = load(str(tmp_path))
    assert isinstance(ours, GPT)
    tokens = torch.randint(4, WORDS, (3, 32))
    with torch.no_grad():
        assert (ours.logits(tokens) - theirs(tokens).logits).abs().max() <= 1e-4


@pytest.mark.parametrize("language", [opt, t5])
def test_blip2_with_its_language_model(language: type, tmp_path: Path) -> None:
    theirs = drawn(Blip2ForConditionalGeneration(blip2(language())), 0, tmp_path)
    ours = load(str(tmp_path))
    assert isinstance(ours, BLIP2Language)
    assert not any(name.startswith("language_model") for name in ours.state_dict())
    pixels = torch.randn(3, 3, 16, 16)
    soft = ours.language_projection(ours.queries(pixels))
    with torch.no_grad():
        wanted = theirs.language_projection(
            theirs.qformer(
                query_embeds=theirs.query_tokens.expand(3, -1, -1),
                encoder_hidden_states=theirs.vision_model(pixels).last_hidden_state,
            ).last_hidden_state
        )
        assert (soft - wanted).abs().max() <= 1e-4
    settings = GenerationConfig(most=6, least=6)
    found = ours.caption(pixels, settings)
    if language is opt:
        begun = {
            "inputs_embeds": torch.cat(
                [wanted, theirs.get_input_embeddings()(torch.full((3, 1), 2))], 1
            )
        }
    else:
        begun = {"inputs_embeds": wanted}
    made = theirs.language_model.generate(
        **begun, max_new_tokens=6, min_new_tokens=6, do_sample=False
    )
    assert [row[-6:] for row in made.tolist()] == found


def test_t5_directory(tmp_path: Path) -> None:
    drawn(T5ForConditionalGeneration(t5()), 0, tmp_path)
    assert isinstance(load(str(tmp_path)), T5)


def test_every_kind_has_a_name_and_others_are_refused(tmp_path: Path) -> None:
    assert sorted(KINDS) == [
        "blip", "blip2", "blip2-language", "classifier", "clip", "dalle2", "flamingo", "gpt",
        "pic2word", "screenai", "t5", "vit",
    ]  # fmt: skip
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="model_type='bert' must be one of"):
        load(str(tmp_path))
    drawn(OPTForCausalLM(opt()), 0, tmp_path / "opt")
    model = load(str(tmp_path / "opt"))
    with pytest.raises(
        ValueError, match=r"layout of a gpt is not written; legal: \['blip', 'clip'"
    ):
        save_public(model, str(tmp_path / "out"))
    save(model, str(tmp_path / "ours"))
    again = load(str(tmp_path / "ours"))
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in model.state_dict().items())
