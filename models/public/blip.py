"""Hugging Face's BLIP as ours: a captioner (`BlipForConditionalGeneration`) or a matcher
(`BlipForImageTextRetrieval`), each of which is a `part` of the whole.

transformers feeds its matcher texts that begin with [CLS], where the authors trained with [ENC];
ours puts [ENC] there itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.blip.blip import BLIPConfig
from models.blip.med import MEDConfig
from models.public.layout import Layout
from models.public.vit import activation, published
from models.vision.vit import ViTConfig
from models.weights import WeightsError

Tensors = dict[str, Tensor]
VISION = Layout(
    prefixes=(
        ("patches.", "embeddings.patch_embedding."),
        ("class_token_D", "embeddings.class_embedding"),
        ("positions.table_LD", "embeddings.position_embedding"),
        ("transformer.blocks.", "encoder.layers."),
        ("norm_after.", "post_layernorm."),
    ),
    parts=(
        (".norm_1.", ".layer_norm1."),
        (".norm_2.", ".layer_norm2."),
        (".attention.out.", ".self_attn.projection."),
        (".attention.qkv.", ".self_attn.qkv."),
        (".mlp.up.", ".mlp.fc1."),
        (".mlp.down.", ".mlp.fc2."),
    ),
    unsqueezed=(("class_token_D", 2), ("positions.table_LD", 1)),
)
BERT = Layout(
    prefixes=(
        ("embedding.", "embeddings.word_embeddings."),
        ("positions.table_LD", "embeddings.position_embeddings.weight"),
        ("norm.", "embeddings.LayerNorm."),
        ("blocks.", "encoder.layer."),
    ),
    parts=(
        (".attention.out.", ".attention.output.dense."),
        (".norm_1.", ".attention.output.LayerNorm."),
        (".cross.q.", ".crossattention.self.query."),
        (".cross.out.", ".crossattention.output.dense."),
        (".norm_cross.", ".crossattention.output.LayerNorm."),
        (".mlp.up.", ".intermediate.dense."),
        (".mlp.down.", ".output.dense."),
        (".norm_2.", ".output.LayerNorm."),
    ),
    joined=(
        (".attention.qkv.", tuple(f".attention.self.{n}." for n in ("query", "key", "value"))),
        (".cross.kv.", tuple(f".crossattention.self.{n}." for n in ("key", "value"))),
    ),
    ignored=r"position_ids$|^pooler\.",
)
HEAD = Layout(
    prefixes=(
        ("layer.", "predictions.transform.dense."),
        ("norm.", "predictions.transform.LayerNorm."),
        ("bias_V", "predictions.bias"),
    ),
    ignored=r"^predictions\.decoder\.",  # the embedding, and the bias again
)
PLAIN = Layout(())
# (ours, theirs, how what follows is laid out); theirs are Hugging Face's
SHARED = (
    ("image_tower.", "vision_model.", VISION),
    ("image_projection.", "vision_proj.", PLAIN),
    ("text_projection.", "text_proj.", PLAIN),
    ("matching_head.", "itm_head.", PLAIN),
    ("word_head.", "text_decoder.cls.", HEAD),
)
CAPTIONER = (*SHARED, ("text_tower.", "text_decoder.bert.", BERT))
MATCHER = (*SHARED, ("text_tower.", "text_encoder.", BERT))
Sections = tuple[tuple[str, str, Layout], ...]


def from_sections(tensors: Tensors, sections: Sections) -> Tensors:
    """Ours of theirs, each name by the first section it begins with; others stay as they are."""
    out: Tensors = {}
    rest = dict(tensors)
    for ours, theirs, layout in sections:
        names = [name for name in rest if name.startswith(theirs)]
        part = {name.removeprefix(theirs): rest.pop(name) for name in names}
        out |= {ours + name: tensor for name, tensor in layout.from_public(part).items()}
    return rest | out


def to_sections(tensors: Tensors, sections: Sections) -> Tensors:
    """The inverse of `from_sections`, without what a layout ignores."""
    out: Tensors = {}
    rest = dict(tensors)
    for ours, theirs, layout in sections:
        names = [name for name in rest if name.startswith(ours)]
        part = {name.removeprefix(ours): rest.pop(name) for name in names}
        out |= {theirs + name: tensor for name, tensor in layout.to_public(part).items()}
    return rest | out


def vision_config(values: dict[str, Any], **defaults: Any) -> ViTConfig:
    """Of the `vision_config` of BLIP or BLIP-2; `defaults` for what it leaves out."""
    values = defaults | values
    size = values["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return ViTConfig(
        image_size=(height, width),
        patch_size=values["patch_size"],
        width=values["hidden_size"],
        depth=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        hidden=values["intermediate_size"],
        activation=activation(values.get("hidden_act", "gelu")),
        epsilon=values["layer_norm_eps"],
    )


def blip_config(values: dict[str, Any]) -> BLIPConfig:
    """Of transformers' BlipConfig as JSON values; what it leaves out has transformers' default.

    Without queues: a public half is used, or fine-tuned with CLIP's loss.
    """
    text = values.get("text_config") or {}
    kind = (values.get("architectures") or [""])[0]
    if text.get("hidden_act", "gelu") != "gelu":
        raise WeightsError(f"hidden_act={text['hidden_act']!r} of BLIP's text must be gelu")
    decode = text.get("bos_token_id", 30522)
    return BLIPConfig(
        vision=vision_config(
            values.get("vision_config") or {},
            image_size=384,
            patch_size=16,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            layer_norm_eps=1e-5,
        ),
        text=MEDConfig(
            vocab_size=text.get("vocab_size", 30524),
            context_length=text.get("max_position_embeddings", 512),
            width=text.get("hidden_size", 768),
            depth=text.get("num_hidden_layers", 12),
            heads=text.get("num_attention_heads", 8),
            hidden=text.get("intermediate_size", 3072),
            separate=False,
            dropout=text.get("hidden_dropout_prob", 0.0),
            attention_dropout=text.get("attention_probs_dropout_prob", 0.0),
            epsilon=text.get("layer_norm_eps", 1e-12),
            end=text.get("sep_token_id", 102),
            decode=decode,
            encode=decode + 1,
        ),
        part="matcher" if "Retrieval" in kind else "captioner",
        embedding=values.get("image_text_hidden_size", 256),
        queue=0,
        smoothing=text.get("label_smoothing", 0.0),
    )


def from_hugging_face_blip(tensors: Tensors) -> Tensors:
    """Our state dict of a captioner or of a matcher, told apart by its tensors."""
    if any(name.startswith("text_decoder.") for name in tensors):
        return from_sections(tensors, CAPTIONER)
    return {"temperature": torch.tensor(0.07)} | from_sections(tensors, MATCHER)


def to_hugging_face_blip(tensors: Tensors) -> Tensors:
    """The inverse; without the tied copies of embedding and bias, as transformers saves it."""
    if "word_head.bias_V" in tensors:
        return to_sections(tensors, CAPTIONER)
    return to_sections({n: t for n, t in tensors.items() if n != "temperature"}, MATCHER)


def read(values: dict[str, Any], tensors: Tensors) -> tuple[BLIPConfig, Tensors]:
    """Our config and state dict of Hugging Face's."""
    values = dict(values)
    if any(name.startswith("text_encoder.") for name in tensors):
        values["architectures"] = ["BlipForImageTextRetrieval"]
    return blip_config(values), from_hugging_face_blip(tensors)


def write(config: BLIPConfig, tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Hugging Face's config and tensors of our captioner or matcher.

    Raises ValueError for a whole BLIP, of which transformers has the halves only, and for towers
    that its classes cannot express.
    """
    vision, text, captions = config.vision, config.text, config.part == "captioner"
    if config.part == "whole":
        raise ValueError("part='whole' has no class of transformers; legal: captioner, matcher")
    if vision.pooling != "cls" or vision.positions != "1d" or vision.norm_before:
        raise ValueError(f"Hugging Face's BLIP has a plain ViT with a class token, not {vision}")
    if vision.image_size[0] != vision.image_size[1]:
        raise ValueError(f"Hugging Face's BLIP has square images, not {vision.image_size}")
    kept = {n: t for n, t in tensors.items() if not n.startswith("momentum.")}
    values = {
        "model_type": "blip",
        "architectures": [
            f"BlipFor{'ConditionalGeneration' if captions else 'ImageTextRetrieval'}"
        ],
        "image_text_hidden_size": config.embedding,
        "vision_config": {
            "model_type": "blip_vision_model",
            "image_size": vision.image_size[0],
            "patch_size": vision.patch_size,
            "hidden_size": vision.width,
            "num_hidden_layers": vision.depth,
            "num_attention_heads": vision.heads,
            "intermediate_size": vision.hidden or 4 * vision.width,
            "hidden_act": published(vision.activation),
            "layer_norm_eps": vision.epsilon,
        },
        "text_config": {
            "model_type": "blip_text_model",
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.context_length,
            "hidden_size": text.width,
            "encoder_hidden_size": vision.width,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.heads,
            "intermediate_size": text.hidden or 4 * text.width,
            "hidden_act": "gelu",
            "hidden_dropout_prob": text.dropout,
            "attention_probs_dropout_prob": text.attention_dropout,
            "layer_norm_eps": text.epsilon,
            "bos_token_id": text.decode,
            "sep_token_id": text.end,
            "eos_token_id": text.end,
            "pad_token_id": 0,
            "label_smoothing": config.smoothing,
        },
    }
    return values, to_hugging_face_blip(kept)
