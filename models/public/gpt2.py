"""Hugging Face's GPT-2 as our GPT; its matrices lie the other way round."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from models.gpt import GPTConfig
from models.public.layout import Layout
from models.public.vit import activation
from models.weights import WeightsError

GPT2 = Layout(
    prefixes=(
        ("embedding.", "wte."),
        ("positions.table_LD", "wpe.weight"),
        ("transformer.blocks.", "h."),
        ("norm_after.", "ln_f."),
    ),
    parts=(
        (".norm_1.", ".ln_1."),
        (".norm_2.", ".ln_2."),
        (".attention.qkv.", ".attn.c_attn."),
        (".attention.out.", ".attn.c_proj."),
        (".mlp.up.", ".mlp.c_fc."),
        (".mlp.down.", ".mlp.c_proj."),
    ),
    transposed=tuple(f"{part}.weight" for part in ("qkv", ".out", "mlp.up", "mlp.down")),
    # the head is the table of tokens again; the first files hold masks beside the weights
    ignored=r"^lm_head\.weight$|\.attn\.(masked_)?bias$",
)
_PLAIN = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


def gpt2_config(values: dict[str, Any]) -> GPTConfig:
    """Of transformers' GPT2Config as JSON values; what it leaves out has transformers' default.

    Raises WeightsError for a variant that ours is not.
    """
    for name, plain in _PLAIN.items():
        if values.get(name, plain) != plain:
            raise WeightsError(f"{name}={values[name]} must be {plain}")
    return GPTConfig(
        vocab_size=values.get("vocab_size", 50257),
        context_length=values.get("n_positions", 1024),
        width=values.get("n_embd", 768),
        depth=values.get("n_layer", 12),
        heads=values.get("n_head", 12),
        hidden=values.get("n_inner"),
        activation=activation(values.get("activation_function", "gelu_new")),
        epsilon=values.get("layer_norm_epsilon", 1e-5),
    )


def read(values: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Our config and state dict, with or without transformers' leading `transformer.`."""
    bare = {re.sub(r"^transformer\.", "", name): tensor for name, tensor in tensors.items()}
    return gpt2_config(values), GPT2.from_public(bare)
