"""Which published layout a folder or file has, and its reader.

    config.json + model.safetensors (or the files of its index)   Hugging Face, by `model_type`
    open_clip_config.json + open_clip_model.safetensors           open_clip
    a lone NAME.safetensors                                       OpenAI's CLIP, the authors' BLIP

Pickles are never opened: convert them to safetensors elsewhere.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from typing import Any

from torch import Tensor

from models.blip2.frozen_lm import FrozenGPT, FrozenLM, FrozenT5
from models.public import blip, blip2, blip_authors, clip, gpt2, opt, t5, vit
from models.public.clip_configs import open_clip_config
from models.weights import (
    WEIGHTS,
    ModelConfig,
    WeightsError,
    filled,
    read_bytes,
    read_tensors,
)
from pipelines.storage import filesystem

Tensors = dict[str, Tensor]
Read = Callable[[dict[str, Any], Tensors], tuple[Any, Tensors]]
Write = Callable[[Any, Tensors], tuple[dict[str, Any], Tensors]]
READERS: dict[str, Read] = {
    "blip": blip.read,
    "blip-2": blip2.read,
    "clip": clip.read,
    "gpt2": gpt2.read,
    "mt5": t5.read,
    "opt": opt.read,
    "t5": t5.read,
    "vit": vit.read,
}
"""Of Hugging Face's layouts, by the `model_type` of their config."""
WRITERS: dict[str, Write] = {"blip": blip.write, "clip": clip.write}
"""Into Hugging Face's layouts, by the kind of our model."""


def read(path: str) -> tuple[ModelConfig, Tensors]:
    """Our config and float32 state dict of the published model at `path`.

    Raises WeightsError for a layout that none of the readers knows.
    """
    config, tensors = _read(path.rstrip("/"))
    return config, {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}


def _read(path: str) -> tuple[ModelConfig, Tensors]:
    if path.endswith(".safetensors"):
        tensors = read_tensors(path)
        authors = any(name.startswith("visual_encoder.") for name in tensors)
        return blip_authors.read(tensors) if authors else clip.read_openai(tensors)
    if is_file(posixpath.join(path, "open_clip_config.json")):
        values = json.loads(read_bytes(posixpath.join(path, "open_clip_config.json")))
        config = open_clip_config(values["model_cfg"])
        tensors = read_tensors(posixpath.join(path, "open_clip_model.safetensors"))
        return config, clip.from_openai(tensors)
    if not is_file(posixpath.join(path, "config.json")):
        raise WeightsError(
            f"{path} has neither config.json nor open_clip_config.json, and is no .safetensors file"
        )
    values = json.loads(read_bytes(posixpath.join(path, "config.json")))
    kind = values.get("model_type")
    if kind not in READERS:
        raise WeightsError(f"{path}: model_type={kind!r} must be one of {sorted(READERS)}")
    return READERS[kind](values, _sharded(path))


def language_model(path: str) -> FrozenLM:
    """The frozen language model inside a published BLIP-2 of the second stage."""
    from models.gpt import GPT
    from models.t5 import T5

    values = json.loads(read_bytes(posixpath.join(path, "config.json")))["text_config"]
    kind = values.get("model_type", "opt")
    if kind not in READERS:
        raise WeightsError(f"{path}: language model {kind!r} must be one of {sorted(READERS)}")
    config, tensors = READERS[kind](values, blip2.language_tensors(_sharded(path)))
    model = filled(config, {n: t.float() for n, t in tensors.items()}, f"{path}: language model")
    if isinstance(model, T5):
        return FrozenT5(model)
    if isinstance(model, GPT):
        return FrozenGPT(model)
    raise WeightsError(f"{path}: a {type(model).__name__} is no language model")


def is_file(path: str) -> bool:
    """Whether a file stands there."""
    fs, inner = filesystem(path)
    return bool(fs.get_file_info(inner).is_file)


def _sharded(path: str) -> Tensors:
    """The tensors of model.safetensors, or of the files that its index lists."""
    index = posixpath.join(path, WEIGHTS + ".index.json")
    if not is_file(index):
        return read_tensors(posixpath.join(path, WEIGHTS))
    files = sorted(set(json.loads(read_bytes(index))["weight_map"].values()))
    parts = [read_tensors(posixpath.join(path, file)) for file in files]
    return {name: tensor for part in parts for name, tensor in part.items()}
