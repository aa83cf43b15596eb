"""Hugging Face's BLIP-2 as ours: `Blip2ForImageTextRetrieval` is a matcher of the first stage,
`Blip2ForConditionalGeneration` the second stage and a language model beside it.

The language model's tensors are its own published layout under `language_model.`; take them with
`language_tensors` to where that model is read. The last norm of their image encoder is the one that
was trained, our `image_norm`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from models.blip2.blip2 import BLIP2Config
from models.blip2.language import BLIP2LanguageConfig
from models.blip2.query_transformer import QueryTransformerConfig
from models.public.blip import PLAIN, VISION, Sections, Tensors, from_sections, to_sections
from models.public.blip import vision_config as vision_config_of
from models.public.layout import Layout
from models.vision.vit import ViTConfig
from models.weights import WeightsError

FORMER_PARTS = (
    (".attention.out.", ".attention.output.dense."),
    (".norm_1.", ".attention.output.LayerNorm."),
    (".cross.out.", ".crossattention.output.dense."),
    (".norm_cross.", ".crossattention.output.LayerNorm."),
    (".mlp.up.", ".intermediate_query.dense."),
    (".mlp.down.", ".output_query.dense."),
    (".norm_2.", ".output_query.LayerNorm."),
    (".text_mlp.up.", ".intermediate.dense."),
    (".text_mlp.down.", ".output.dense."),
    (".text_norm.", ".output.LayerNorm."),
)


def former_layout(inner: str, norm: str) -> Layout:
    """Of a Q-Former whose attentions' projections lie under `inner`, its first norm at `norm`."""
    return Layout(
        prefixes=(("norm.", norm), ("blocks.", "encoder.layer.")),
        parts=((".cross.q.", f".crossattention.{inner}.query."), *FORMER_PARTS),
        joined=(
            (
                ".attention.qkv.",
                tuple(f".attention.{inner}.{n}." for n in ("query", "key", "value")),
            ),
            (".cross.kv.", tuple(f".crossattention.{inner}.{n}." for n in ("key", "value"))),
        ),
        ignored=r"position_ids$",
    )


QUERIES = Layout((), unsqueezed=(("", 1),))
SECTIONS: Sections = (
    ("image_norm.", "vision_model.post_layernorm.", PLAIN),
    ("image_tower.", "vision_model.", VISION),
    ("former.queries_QD", "query_tokens", QUERIES),
    ("former.embedding.", "embeddings.word_embeddings.", PLAIN),
    ("former.positions.table_LD", "embeddings.position_embeddings.weight", PLAIN),
    ("former.", "qformer.", former_layout("attention", "layernorm.")),
    ("image_projection.", "vision_projection.", PLAIN),
    ("text_projection.", "text_projection.", PLAIN),
    ("matching_head.", "itm_head.", PLAIN),
    ("language_projection.", "language_projection.", PLAIN),
)
LANGUAGE = "language_model."
WIDTHS = ("d_model", "hidden_size", "n_embd")  # T5, OPT, GPT-2


def vision_config(values: dict[str, Any]) -> ViTConfig:
    """Of the `vision_config` of a Blip2Config; what it leaves out is EVA ViT-g/14's."""
    return vision_config_of(
        values,
        image_size=224,
        patch_size=14,
        hidden_size=1408,
        num_hidden_layers=39,
        num_attention_heads=16,
        intermediate_size=6144,
        layer_norm_eps=1e-6,
    )


def former_config(values: dict[str, Any]) -> QueryTransformerConfig:
    """Of transformers' Blip2QFormerConfig as JSON values, but for the number of queries."""
    if values.get("hidden_act", "gelu") != "gelu":
        raise WeightsError(f"hidden_act={values['hidden_act']!r} of the Q-Former must be gelu")
    return QueryTransformerConfig(
        width=values.get("hidden_size", 768),
        depth=values.get("num_hidden_layers", 12),
        heads=values.get("num_attention_heads", 12),
        hidden=values.get("intermediate_size", 3072),
        cross_every=values.get("cross_attention_frequency", 2),
        text=values.get("use_qformer_text_input", False),
        vocab_size=values.get("vocab_size", 30522),
        context_length=values.get("max_position_embeddings", 512),
        dropout=values.get("hidden_dropout_prob", 0.1),
        attention_dropout=values.get("attention_probs_dropout_prob", 0.1),
        epsilon=values.get("layer_norm_eps", 1e-12),
    )


def blip2_config(values: dict[str, Any]) -> BLIP2Config | BLIP2LanguageConfig:
    """Of transformers' Blip2Config as JSON values: the first stage where it has the architecture
    `Blip2ForImageTextRetrieval`, else the second.
    """
    vision = vision_config(values.get("vision_config") or {})
    former = former_config(values.get("qformer_config") or {})
    former = replace(former, queries=values.get("num_query_tokens", 32))
    if "Retrieval" in (values.get("architectures") or [""])[0]:
        embedding = values.get("image_text_hidden_size", 256)
        return BLIP2Config(vision, replace(former, text=True), "matcher", embedding)
    text = values.get("text_config") or {}
    encodes = text.get("is_encoder_decoder", text.get("model_type") in ("t5", "mt5"))
    return BLIP2LanguageConfig(
        vision,
        replace(former, text=False),
        language=next((text[key] for key in WIDTHS if key in text), 2560),
        start=text.get("decoder_start_token_id") or 0 if encodes else text.get("bos_token_id", 2),
        end=text.get("eos_token_id", 1 if encodes else 50118),
    )


def from_hugging_face_blip2(tensors: Tensors) -> Tensors:
    """Our state dict of either stage, without the language model."""
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(LANGUAGE)}
    ours = from_sections(own, SECTIONS)
    if "matching_head.weight" in ours:
        ours["temperature"] = torch.tensor(0.07)  # theirs has none
    return {n: t for n, t in ours.items() if not n.endswith("position_ids")}


def to_hugging_face_blip2(tensors: Tensors) -> Tensors:
    """The inverse: a matcher, or the second stage without its language model."""
    return to_sections({n: t for n, t in tensors.items() if n != "temperature"}, SECTIONS)


def language_tensors(tensors: Tensors) -> Tensors:
    """The language model's own state dict out of `Blip2ForConditionalGeneration`'s."""
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(LANGUAGE)}
    return {name.removeprefix(LANGUAGE): tensor for name, tensor in found.items()}


def read(
    values: dict[str, Any], tensors: Tensors
) -> tuple[BLIP2Config | BLIP2LanguageConfig, Tensors]:
    """Our config and state dict of Hugging Face's."""
    stage = "Blip2ForImageTextRetrieval" if "itm_head.weight" in tensors else "second"
    return blip2_config({**values, "architectures": [stage]}), from_hugging_face_blip2(tensors)
