"""Hugging Face's OPT as our GPT with ReLU; its position table begins with two rows of padding."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from models.gpt import GPTConfig
from models.public.layout import Layout
from models.public.vit import activation
from models.weights import WeightsError

PADDING = 2  # rows of the position table that no token has
OPT = Layout(
    prefixes=(
        ("embedding.", "embed_tokens."),
        ("positions.table_LD", "embed_positions.weight"),
        ("transformer.blocks.", "layers."),
        ("norm_after.", "final_layer_norm."),
    ),
    parts=(
        (".norm_1.", ".self_attn_layer_norm."),
        (".norm_2.", ".final_layer_norm."),
        (".attention.out.", ".self_attn.out_proj."),
        (".mlp.up.", ".fc1."),
        (".mlp.down.", ".fc2."),
    ),
    joined=((".attention.qkv.", tuple(f".self_attn.{letter}_proj." for letter in "qkv")),),
    ignored=r"^lm_head\.weight$",  # the table of tokens again
)


def opt_config(values: dict[str, Any]) -> GPTConfig:
    """Of transformers' OPTConfig as JSON values; what it leaves out has transformers' default.

    Raises WeightsError for OPT-350M's build, which ours is not.
    """
    width = values.get("hidden_size", 768)
    if values.get("word_embed_proj_dim", width) != width:
        raise WeightsError(f"word_embed_proj_dim must be hidden_size={width}")
    if not values.get("do_layer_norm_before", True):
        raise WeightsError("do_layer_norm_before=False: the norms must come before")
    return GPTConfig(
        vocab_size=values.get("vocab_size", 50272),
        context_length=values.get("max_position_embeddings", 2048),
        width=width,
        depth=values.get("num_hidden_layers", 12),
        heads=values.get("num_attention_heads", 12),
        hidden=values.get("ffn_dim", 3072),
        activation=activation(values.get("activation_function", "relu")),
    )


def read(values: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Our config and state dict, with or without transformers' leading `model.decoder.`."""
    bare = {re.sub(r"^(model\.)?decoder\.", "", name): tensor for name, tensor in tensors.items()}
    ours = OPT.from_public(bare)
    if "positions.table_LD" in ours:
        ours["positions.table_LD"] = ours["positions.table_LD"][PADDING:]
    return opt_config(values), ours
