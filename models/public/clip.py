"""Published CLIP checkpoints and our CLIP: Hugging Face's layout, both ways, and OpenAI's, which
open_clip kept.

A lone OpenAI state dict tells its own dimensions. Hugging Face has no ResNets.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from models.clip import CLIPConfig
from models.public import clip_resnet
from models.public.clip_configs import hugging_face_config, openai_config
from models.public.layout import Layout

Tensors = dict[str, Tensor]
OPENAI = Layout(
    prefixes=(
        ("image_tower.patches.", "visual.conv1."),
        ("image_tower.class_token_D", "visual.class_embedding"),
        ("image_tower.positions.table_LD", "visual.positional_embedding"),
        ("image_tower.norm_before.", "visual.ln_pre."),
        ("image_tower.norm_after.", "visual.ln_post."),
        ("image_projection.weight", "visual.proj"),
        ("image_tower.transformer.blocks.", "visual.transformer.resblocks."),
        ("text_tower.transformer.blocks.", "transformer.resblocks."),
        ("text_tower.embedding.", "token_embedding."),
        ("text_tower.positions.table_LD", "positional_embedding"),
        ("text_tower.norm_after.", "ln_final."),
        ("text_projection.weight", "text_projection"),
    ),
    parts=(
        (".norm_1.", ".ln_1."),
        (".norm_2.", ".ln_2."),
        (".attention.qkv.", ".attn.in_proj_"),
        (".attention.out.", ".attn.out_proj."),
        (".mlp.up.", ".mlp.c_fc."),
        (".mlp.down.", ".mlp.c_proj."),
    ),
    transposed=("image_projection.weight", "text_projection.weight"),
    # constants and buffers that published files carry beside the weights
    ignored=r"(^|\.)(input_resolution|context_length|vocab_size|position_ids|attn_mask)$",
)
HUGGING_FACE = Layout(
    prefixes=(
        ("image_tower.patches.", "vision_model.embeddings.patch_embedding."),
        ("image_tower.class_token_D", "vision_model.embeddings.class_embedding"),
        (
            "image_tower.positions.table_LD",
            "vision_model.embeddings.position_embedding.weight",
        ),
        ("image_tower.norm_before.", "vision_model.pre_layrnorm."),
        ("image_tower.norm_after.", "vision_model.post_layernorm."),
        ("image_tower.transformer.blocks.", "vision_model.encoder.layers."),
        ("image_projection.", "visual_projection."),
        ("text_tower.embedding.", "text_model.embeddings.token_embedding."),
        ("text_tower.positions.table_LD", "text_model.embeddings.position_embedding.weight"),
        ("text_tower.norm_after.", "text_model.final_layer_norm."),
        ("text_tower.transformer.blocks.", "text_model.encoder.layers."),
    ),
    parts=(
        (".norm_1.", ".layer_norm1."),
        (".norm_2.", ".layer_norm2."),
        (".attention.out.", ".self_attn.out_proj."),
        (".mlp.up.", ".mlp.fc1."),
        (".mlp.down.", ".mlp.fc2."),
    ),
    joined=((".attention.qkv.", tuple(f".self_attn.{letter}_proj." for letter in "qkv")),),
)


def from_openai(tensors: Tensors) -> Tensors:
    """OpenAI's (and open_clip's) tensors as ours, a ViT's or a ResNet's."""
    image, rest = clip_resnet.split(tensors)
    if not image:
        return OPENAI.from_public(rest)
    text = OPENAI.from_public(rest)  # the projection that ends a ResNet's attention is its own
    return image | text


def read_openai(tensors: Tensors) -> tuple[CLIPConfig, Tensors]:
    """Our config and state dict of a lone OpenAI state dict."""
    return openai_config(tensors), from_openai(tensors)


def read(values: dict[str, Any], tensors: Tensors) -> tuple[CLIPConfig, Tensors]:
    """Our config and state dict of Hugging Face's."""
    return hugging_face_config(values), HUGGING_FACE.from_public(tensors)


def write(config: CLIPConfig, tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Hugging Face's config and tensors of ours. Raises ValueError for what it cannot express."""
    from models.vision.vit import ViTConfig

    vision, text = config.vision, config.text
    if not isinstance(vision, ViTConfig) or vision.pooling != "cls" or vision.positions != "1d":
        raise ValueError(f"Hugging Face's CLIP has a ViT with a class token, not {vision}")
    if not vision.norm_before or vision.patch_bias:
        raise ValueError("Hugging Face's CLIP has norm_before=True and patch_bias=False")
    if vision.image_size[0] != vision.image_size[1]:
        raise ValueError(f"Hugging Face's CLIP has square images, not {vision.image_size}")
    values = {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": config.embedding,
        "vision_config": {
            "model_type": "clip_vision_model",
            "image_size": vision.image_size[0],
            "patch_size": vision.patch_size,
            "projection_dim": config.embedding,
            **_tower(vision),
        },
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.context_length,
            "bos_token_id": text.end_of_text - 1,
            "eos_token_id": text.end_of_text,
            "pad_token_id": 0,
            "projection_dim": config.embedding,
            **_tower(text),
        },
    }
    return values, HUGGING_FACE.to_public(tensors)


def _tower(config: Any) -> dict[str, Any]:
    """What both towers' configs say."""
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden or 4 * config.width,
        "hidden_act": config.activation,
        "layer_norm_eps": config.epsilon,
    }
