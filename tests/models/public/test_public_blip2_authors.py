"""LAVIS's BLIP-2: its image encoder against timm's EVA, the rest against transformers'."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from models.blip2.blip2 import BLIP2, BLIP2Config
from models.blip2.language import BLIP2Language, BLIP2LanguageConfig
from models.public.blip2_authors import read
from models.weights import WeightsError, fit

# transformers' names to LAVIS's
NAMES = (
    (r"^layernorm\.", "embeddings.LayerNorm."),
    (r"attention\.attention\.", "attention.self."),
)


def randomise(model: nn.Module) -> None:
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)


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


@pytest.mark.parametrize("text", [True, False])
def test_both_stages_see_what_the_parts_see(text: bool) -> None:
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


def test_a_file_without_the_frozen_part_is_named() -> None:
    _, _, tensors = make(True)
    trained = {n: t for n, t in tensors.items() if not n.startswith("visual_encoder.")}
    with pytest.raises(WeightsError, match="put EVA ViT-g's tensors among these"):
        read(trained)
