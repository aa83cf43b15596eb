"""Hugging Face's T5, T5 1.1 and mT5 as our T5; its encoder and decoder are laid out apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from models.public.layout import Layout
from models.public.vit import activation
from models.t5 import T5Config

_OWN = (".attention.qkv.", tuple(f".layer.0.SelfAttention.{letter}." for letter in "qkv"))
_ENDS = (
    ("distances.table_NH", "block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
    ("norm_after.", "final_layer_norm."),
    ("transformer.blocks.", "block."),
)


def _stack(feed_forward: int, *crossed: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    layer = f".layer.{feed_forward}."
    return (
        *crossed,
        (".attention.out.", ".layer.0.SelfAttention.o."),
        (".norm_1.", ".layer.0.layer_norm."),
        (".norm_2.", f"{layer}layer_norm."),
        (".mlp.gate.", f"{layer}DenseReluDense.wi_0."),
        (".mlp.up.", f"{layer}DenseReluDense.wi_1."),
        (".mlp.up.", f"{layer}DenseReluDense.wi."),
        (".mlp.down.", f"{layer}DenseReluDense.wo."),
    )


ENCODER = Layout(_ENDS, _stack(1), (_OWN,), ignored=r"^embed_tokens\.")
DECODER = Layout(
    _ENDS,
    _stack(
        2,
        (".cross.out.", ".layer.1.EncDecAttention.o."),
        (".cross.q.", ".layer.1.EncDecAttention.q."),
        (".norm_cross.", ".layer.1.layer_norm."),
    ),
    (_OWN, (".cross.kv.", tuple(f".layer.1.EncDecAttention.{letter}." for letter in "kv"))),
    # T5's first files hold a table of distances for cross-attention that T5 never uses
    ignored=r"^embed_tokens\.|EncDecAttention\.relative_attention_bias",
)
_NAMES = {"shared.weight": "embedding.weight"}


def t5_config(values: dict[str, Any]) -> T5Config:
    """Of transformers' T5Config or MT5Config as JSON values, with that class's defaults."""
    multilingual = values.get("model_type") == "mt5"
    kind = values.get("feed_forward_proj", "gated-gelu" if multilingual else "relu")
    gated, _, name = kind.rpartition("-")
    # transformers reads gated-gelu as the tanh form, which T5 1.1 was trained with
    used = "gelu_new" if kind == "gated-gelu" else name
    return T5Config(
        vocab_size=values.get("vocab_size", 250112 if multilingual else 32128),
        width=values.get("d_model", 512),
        depth=values.get("num_layers", 8 if multilingual else 6),
        decoder_depth=values.get("num_decoder_layers"),
        heads=values.get("num_heads", 6 if multilingual else 8),
        head_width=values.get("d_kv", 64),
        hidden=values.get("d_ff", 1024 if multilingual else 2048),
        activation=activation(used),
        gated=gated == "gated",
        tied=not multilingual and _scaled(values),
        buckets=values.get("relative_attention_num_buckets", 32),
        furthest=values.get("relative_attention_max_distance", 128),
        epsilon=values.get("layer_norm_epsilon", 1e-6),
        pad=values.get("pad_token_id", 0),
        end=values.get("eos_token_id", 1),
    )


def _scaled(values: dict[str, Any]) -> bool:
    """Whether the decoder's output is scaled, which goes with the first T5's tied output layer.

    transformers 5 says that every output layer is tied, and keeps this under a name of its own.
    """
    return bool(values.get("scale_decoder_outputs", values.get("tie_word_embeddings", True)))


def read(values: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[T5Config, dict[str, Tensor]]:
    """Our config and state dict."""
    config = t5_config(values)
    ours: dict[str, Tensor] = {}
    for prefix, layout in (("encoder.", ENCODER), ("decoder.", DECODER)):
        part = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        ours |= {prefix + name: tensor for name, tensor in layout.from_public(part).items()}
    rest = {n: t for n, t in tensors.items() if not n.startswith(("encoder.", "decoder."))}
    head = rest.pop("lm_head.weight", rest.get("shared.weight"))
    if not config.tied and head is not None:
        ours["head.weight"] = head.clone()
    return config, ours | {_NAMES.get(name, name): tensor for name, tensor in rest.items()}
