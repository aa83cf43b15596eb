"""Hugging Face's ViT (google/vit-base-patch16-224 and others of its layout) as our ViT or
Classifier.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from models.classifier import ClassifierConfig
from models.layers.block import ACTIVATIONS, Activation
from models.public.layout import Layout
from models.vision.vit import ViTConfig

_NAMES: dict[str, str] = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_new": "gelu_tanh"}
_NAMES |= {"gelu_pytorch_tanh": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}
VIT = Layout(
    prefixes=(
        ("patches.", "embeddings.patch_embeddings.projection."),
        ("class_token_D", "embeddings.cls_token"),
        ("positions.table_LD", "embeddings.position_embeddings"),
        ("transformer.blocks.", "encoder.layer."),
        ("norm_after.", "layernorm."),
        ("head.", "classifier."),
    ),
    parts=(
        (".norm_1.", ".layernorm_before."),
        (".norm_2.", ".layernorm_after."),
        (".attention.out.", ".attention.output.dense."),
        (".mlp.up.", ".intermediate.dense."),
        (".mlp.down.", ".output.dense."),
    ),
    joined=(
        (".attention.qkv.", tuple(f".attention.attention.{n}." for n in ("query", "key", "value"))),
    ),
    unsqueezed=(("class_token_D", 2), ("positions.table_LD", 1)),
    ignored=r"^pooler\.",
)


def activation(name: str) -> Activation:
    """Ours of a name of transformers'. Raises ValueError for one that no block here has."""
    ours = _NAMES.get(name)
    if ours not in ACTIVATIONS:
        raise ValueError(f"hidden_act={name!r} must be one of {sorted(_NAMES)}")
    return cast("Activation", ours)


def published(name: Activation) -> str:
    """transformers' name of an activation of ours. Raises ValueError where it has none."""
    theirs = next((theirs for theirs, ours in _NAMES.items() if ours == name), None)
    if theirs is None:
        raise ValueError(f"activation={name!r} has no name in transformers")
    return theirs


def vit_config(values: dict[str, Any]) -> ViTConfig:
    """Of transformers' ViTConfig as JSON values; what it leaves out has transformers' default."""
    size = values.get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    return ViTConfig(
        image_size=(height, width),
        patch_size=values.get("patch_size", 16),
        width=values.get("hidden_size", 768),
        depth=values.get("num_hidden_layers", 12),
        heads=values.get("num_attention_heads", 12),
        hidden=values.get("intermediate_size", 3072),
        activation=activation(values.get("hidden_act", "gelu")),
        epsilon=values.get("layer_norm_eps", 1e-12),
    )


def read(
    values: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[ViTConfig | ClassifierConfig, dict[str, Tensor]]:
    """Our config and state dict: a classifier where the file has a head, else the encoder."""
    config = vit_config(values)
    ours = VIT.from_public({name.removeprefix("vit."): t for name, t in tensors.items()})
    if "head.weight" not in ours:
        return config, ours
    named = {n if n.startswith("head.") else f"encoder.{n}": t for n, t in ours.items()}
    return ClassifierConfig(config, classes=len(ours["head.weight"])), named
