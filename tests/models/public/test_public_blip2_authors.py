"""LAVIS's BLIP-2: its image encoder against timm's EVA, the rest against transformers'."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from models.blip2.blip2 import BLIP2, BLIP2Config
from models.blip2.language import BLIP2Language, BLIP2LanguageConfig
from models.layers.cache import Cache
from models.public.blip2_authors import read
from models.weights import WeightsError, fit
from tests.models.drawing import randomise

# transformers' names to LAVIS's
NAMES = (
    (r"^layernorm\.", "embeddings.LayerNorm."),
    (r"attention\.attention\.", "attention.self."),
)


def image_encoder() -> nn.Module:
    """EVA without the last norm, which LAVIS takes away."""
    model = timm.models.eva.Eva(
        img_size=8, patch_size=4, embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.5, num_classes=0,
        qkv_bias=True, global_pool="token",
    )  # fmt: skip
    model.norm, model.fc_norm = nn.Identity(), nn.Identity()
    return model.eval()


def make(text: bool) -> tuple[nn.Module, Blip2QFormerModel, dict[str, Tensor]]:
    """timm's and transformers' parts, and a file of LAVIS's that holds them."""
    torch.manual_seed(0)
    config = Blip2QFormerConfig(
        vocab_size=40, hidden_size=64, num_hidden_layers=3, num_attention_heads=1,
        intermediate_size=24, max_position_embeddings=12, encoder_hidden_size=64,
        use_qformer_text_input=text,
    )  # fmt: skip
    vision, former = image_encoder(), Blip2QFormerModel(config).eval()
    randomise(vision)
    randomise(former)
    tensors = {f"visual_encoder.{n}": t for n, t in vision.state_dict().items()}
    for name, tensor in former.state_dict().items():
        theirs = name
        for pattern, other in NAMES:
            theirs = re.sub(pattern, other, theirs)
        tensors[f"Qformer.bert.{theirs}"] = tensor
    shapes: dict[str, tuple[int, ...]] = {
        "ln_vision.weight": (64,),
        "ln_vision.bias": (64,),
        "query_tokens": (1, 3, 64),
    }
    if text:
        shapes |= {
            "Qformer.bert.embeddings.word_embeddings.weight": (40, 64),
            "Qformer.bert.embeddings.position_embeddings.weight": (12, 64),
            "Qformer.bert.embeddings.position_ids": (1, 12),
            "Qformer.cls.predictions.bias": (40,),
            "Qformer.cls.predictions.transform.dense.weight": (64, 64),
            "Qformer.cls.predictions.transform.dense.bias": (64,),
            "Qformer.cls.predictions.transform.LayerNorm.weight": (64,),
            "Qformer.cls.predictions.transform.LayerNorm.bias": (64,),
            "Qformer.cls.predictions.decoder.weight": (40, 64),
            "Qformer.cls.predictions.decoder.bias": (40,),
            "vision_proj.weight": (8, 64),
            "vision_proj.bias": (8,),
            "text_proj.weight": (8, 64),
            "text_proj.bias": (8,),
            "itm_head.weight": (2, 64),
            "itm_head.bias": (2,),
            "temp": (),
        }
    else:
        shapes |= {"opt_proj.weight": (20, 64), "opt_proj.bias": (20,), "opt_model.x": (2,)}
    return vision, former, tensors | {n: torch.randn(shape) for n, shape in shapes.items()}


def linear(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return nn.functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def asked_cache(model: BLIP2, pixels: Tensor) -> Cache:
    cache = model.look(pixels)
    model.former.query(cache)
    return cache


def compared(model: BLIP2, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
    return (
        model.encode_image(pixels),
        model.encode_text(tokens),
        model.itm_logits(pixels, tokens),
        model.word_logits(tokens, asked_cache(model, pixels)),
    )


@pytest.mark.parametrize("text", [True, False])
def test_both_stages_see_what_the_parts_see(
    text: bool, every_weight_shows: Callable[..., None]
) -> None:
    vision, former, tensors = make(text)
    config, ours = read(tensors)
    assert (config.former.cross_every, config.former.text) == (2, text)
    model: BLIP2 | BLIP2Language
    if isinstance(config, BLIP2Config):
        assert text and config.embedding == 8
        model = BLIP2(config).eval()
    else:
        assert isinstance(config, BLIP2LanguageConfig)
        assert not text and (config.language, config.start, config.end) == (20, 2, 50118)
        model = BLIP2Language(config).eval()
    fit(model, ours, "LAVIS")
    pixels = torch.randn(2, 3, 8, 8)
    states = vision.forward_features(pixels)
    torch.testing.assert_close(model.image_states(pixels), states, atol=1e-4, rtol=1e-5)
    norm = tensors["ln_vision.weight"], tensors["ln_vision.bias"]
    seen = nn.functional.layer_norm(states, (64,), *norm, eps=1e-6)
    asked = tensors["query_tokens"].expand(2, -1, -1)
    wanted = former(query_embeds=asked, encoder_hidden_states=seen).last_hidden_state
    torch.testing.assert_close(model.queries(pixels), wanted, atol=1e-4, rtol=1e-5)
    if isinstance(model, BLIP2Language):
        for name, tensor in model.language_projection.named_parameters():
            assert torch.equal(tensor, tensors[f"opt_proj.{name}"])
        return
    tokens = torch.randint(0, 40, (2, 12))
    words = tensors["Qformer.bert.embeddings.word_embeddings.weight"]
    said = words[tokens] + tensors["Qformer.bert.embeddings.position_embeddings.weight"]
    both = torch.cat([asked, said], dim=1)
    text_states = former(query_embeds=said, query_length=0).last_hidden_state
    pair_states = former(query_embeds=both, query_length=3, encoder_hidden_states=seen)
    written = model.former.write(tokens, asked_cache(model, pixels))
    head = "Qformer.cls.predictions.transform."
    hidden = nn.functional.gelu(linear(tensors, head + "dense", written))
    gain, bias = tensors[head + "LayerNorm.weight"], tensors[head + "LayerNorm.bias"]
    hidden = nn.functional.layer_norm(hidden, (64,), gain, bias, eps=1e-12)
    answers = [
        linear(tensors, "vision_proj", wanted),
        linear(tensors, "text_proj", text_states[:, 0]),
        linear(tensors, "itm_head", pair_states.last_hidden_state[:, :3]).mean(dim=1),
        hidden @ words.T + tensors["Qformer.cls.predictions.bias"],
    ]
    for found, answer in zip(compared(model, pixels, tokens), answers, strict=True):
        torch.testing.assert_close(found, answer, atol=1e-4, rtol=1e-5)
    assert torch.equal(model.temperature, tensors["temp"])

    def everything() -> Tensor:
        return torch.cat([part.flatten() for part in compared(model, pixels, tokens)])

    every_weight_shows(model, everything, unread=("temperature",))


def test_a_file_without_the_frozen_part_is_named() -> None:
    _, _, tensors = make(True)
    trained = {n: t for n, t in tensors.items() if not n.startswith("visual_encoder.")}
    with pytest.raises(WeightsError, match="put EVA ViT-g's tensors among these"):
        read(trained)
