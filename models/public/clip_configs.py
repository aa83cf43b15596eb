"""The dimensions of published CLIP checkpoints, read from their configs or from the weights
themselves.
"""

from __future__ import annotations

import re
from typing import Any, cast

from torch import Tensor

from models.clip import CLIPConfig, TextConfig
from models.layers.block import Activation
from models.public.clip_resnet import TABLE, open_clip_resnet_config, resnet_config
from models.vision.encoder import VisionConfig
from models.vision.vit import ViTConfig
from models.weights import WeightsError


def _depth(tensors: dict[str, Tensor], prefix: str) -> int:
    found = re.compile(re.escape(prefix) + r"(\d+)\.")
    return 1 + max((int(m[1]) for name in tensors if (m := found.match(name))), default=-1)


def openai_config(tensors: dict[str, Tensor], activation: Activation = "quick_gelu") -> CLIPConfig:
    """The dimensions of an OpenAI state dict; its heads are 64 wide and its images square."""
    text, vocabulary = tensors["positional_embedding"], tensors["token_embedding.weight"]
    vision = resnet_config(tensors) if TABLE in tensors else _openai_vit(tensors, activation)
    text_config = TextConfig(
        context_length=len(text),
        vocab_size=len(vocabulary),
        width=text.shape[1],
        depth=_depth(tensors, "transformer.resblocks."),
        heads=text.shape[1] // 64,
        activation=activation,
    )
    return CLIPConfig(vision, text_config, tensors["text_projection"].shape[1])


def _openai_vit(tensors: dict[str, Tensor], activation: Activation) -> ViTConfig:
    patches, table = tensors["visual.conv1.weight"], tensors["visual.positional_embedding"]
    side = round((len(table) - 1) ** 0.5) * patches.shape[-1]
    return ViTConfig(
        image_size=(side, side),
        patch_size=patches.shape[-1],
        width=patches.shape[0],
        depth=_depth(tensors, "visual.transformer.resblocks."),
        heads=patches.shape[0] // 64,
        activation=activation,
        norm_before=True,
        patch_bias=False,
        epsilon=1e-5,
    )


def open_clip_config(values: dict[str, Any]) -> CLIPConfig:
    """The `model_cfg` of an open_clip model whose image tower is a plain ViT or a ResNet."""
    vision, text = values["vision_cfg"], values["text_cfg"]
    foreign = sorted(
        (set(vision) - {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"})
        | (set(text) - {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"})
    )
    if foreign:
        raise WeightsError(f"not a plain CLIP: {foreign} in the open_clip config")
    activation: Activation = "quick_gelu" if values.get("quick_gelu") else "gelu"
    resnet = isinstance(vision["layers"], list)
    text_config = TextConfig(
        context_length=text.get("context_length", 77),
        vocab_size=text.get("vocab_size", 49408),
        width=text["width"],
        depth=text["layers"],
        heads=text["heads"],
        hidden=int(text["width"] * text.get("mlp_ratio", 4.0)),
        activation=activation,
    )
    vision_config: VisionConfig = (
        open_clip_resnet_config(vision) if resnet else _open_clip_vit(vision, activation)
    )
    return CLIPConfig(vision_config, text_config, values["embed_dim"])


def _open_clip_vit(vision: dict[str, Any], activation: Activation) -> ViTConfig:
    size = vision.get("image_size", 224)
    return ViTConfig(
        image_size=(size, size) if isinstance(size, int) else (size[0], size[1]),
        patch_size=vision["patch_size"],
        width=vision["width"],
        depth=vision["layers"],
        heads=vision["width"] // vision.get("head_width", 64),
        hidden=int(vision["width"] * vision.get("mlp_ratio", 4.0)),
        activation=activation,
        norm_before=True,
        patch_bias=False,
        epsilon=1e-5,
    )


def hugging_face_config(values: dict[str, Any]) -> CLIPConfig:
    """The `config.json` of a transformers CLIPModel; what it leaves out has transformers'
    default.
    """
    vision, text = values.get("vision_config") or {}, values.get("text_config") or {}
    end, vocabulary = text.get("eos_token_id", 49407), text.get("vocab_size", 49408)
    if end not in (2, vocabulary - 1):  # 2 is transformers' old mark for "the greatest id"
        raise WeightsError(f"eos_token_id={end} must be the last id, {vocabulary - 1}")
    side, width = vision.get("image_size", 224), vision.get("hidden_size", 768)
    vision_config = ViTConfig(
        image_size=(side, side),
        patch_size=vision.get("patch_size", 32),
        width=width,
        depth=vision.get("num_hidden_layers", 12),
        heads=vision.get("num_attention_heads", 12),
        hidden=vision.get("intermediate_size", 3072),
        activation=_activation(vision),
        norm_before=True,
        patch_bias=False,
        epsilon=vision.get("layer_norm_eps", 1e-5),
    )
    text_config = TextConfig(
        context_length=text.get("max_position_embeddings", 77),
        vocab_size=vocabulary,
        width=text.get("hidden_size", 512),
        depth=text.get("num_hidden_layers", 12),
        heads=text.get("num_attention_heads", 8),
        hidden=text.get("intermediate_size", 2048),
        activation=_activation(text),
        epsilon=text.get("layer_norm_eps", 1e-5),
    )
    return CLIPConfig(vision_config, text_config, values.get("projection_dim", 512))


def _activation(values: dict[str, Any]) -> Activation:
    name = values.get("hidden_act", "quick_gelu")
    if name not in ("gelu", "quick_gelu"):
        raise WeightsError(f"hidden_act={name!r} must be gelu or quick_gelu")
    return cast("Activation", name)
