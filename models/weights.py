"""Models to and from disk: a folder with `config.json` and `model.safetensors`, never a pickle.

The config says which model it is and its dimensions; the weights are a flat state dict. A text
model has its `tokenizer.json` beside them. `load` also reads the layouts in which others publish
their weights (`models.public`), and `save_public` writes CLIP and BLIP in Hugging Face's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import posixpath
import types
import typing
from typing import Any

import torch
from pyarrow.fs import FileSelector
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from models.blip.blip import BLIP, BLIPConfig
from models.blip2.blip2 import BLIP2, BLIP2Config
from models.blip2.language import BLIP2Language, BLIP2LanguageConfig
from models.classifier import Classifier, ClassifierConfig
from models.clip import CLIP, CLIPConfig
from models.dalle2.dalle2 import DALLE2, DALLE2Config
from models.flamingo.flamingo import Flamingo, FlamingoConfig
from models.gpt import GPT, GPTConfig
from models.pic2word import Pic2Word, Pic2WordConfig
from models.screenai import ScreenAI, ScreenAIConfig
from models.t5 import T5, T5Config
from models.tokenizers.clip import Tokenizer
from models.tokenizers.published import PublishedTokenizer
from models.tokenizers.wordpiece import WordPiece
from models.vision.vit import ViT, ViTConfig
from pipelines.storage import filesystem, write_file, write_json

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
ModelConfig = (
    CLIPConfig
    | ClassifierConfig
    | GPTConfig
    | BLIPConfig
    | BLIP2Config
    | BLIP2LanguageConfig
    | DALLE2Config
    | FlamingoConfig
    | Pic2WordConfig
    | ScreenAIConfig
    | T5Config
    | ViTConfig
)
KINDS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    "clip": (CLIP, CLIPConfig),
    "classifier": (Classifier, ClassifierConfig),
    "gpt": (GPT, GPTConfig),
    "blip": (BLIP, BLIPConfig),
    "blip2": (BLIP2, BLIP2Config),
    "blip2-language": (BLIP2Language, BLIP2LanguageConfig),
    "dalle2": (DALLE2, DALLE2Config),
    "flamingo": (Flamingo, FlamingoConfig),
    "pic2word": (Pic2Word, Pic2WordConfig),
    "screenai": (ScreenAI, ScreenAIConfig),
    "t5": (T5, T5Config),
    "vit": (ViT, ViTConfig),
}


class WeightsError(Exception):
    """A state dict does not fit a model; the message names what is missing, unexpected or of
    another shape.
    """


def build(config: ModelConfig) -> nn.Module:
    """A new model of `config`, initialised from torch's global generator."""
    for model, kind in KINDS.values():
        if isinstance(config, kind):
            return model(config)
    legal = ", ".join(kind.__name__ for _, kind in KINDS.values())
    raise TypeError(f"{type(config).__name__} configures no model; legal: {legal}")


def describe(config: ModelConfig) -> dict[str, Any]:
    """A model's config as JSON values, with its kind."""
    kind = next(name for name, (_, cls) in KINDS.items() if isinstance(config, cls))
    return {"kind": kind, **json.loads(json.dumps(dataclasses.asdict(config)))}


def _typed(cls: type[Any], values: dict[str, Any]) -> Any:
    """A (nested) dataclass from JSON values; ValueError names keys that it does not have."""
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{cls.__name__} has no {unknown}; legal: {sorted(hints)}")
    return cls(**{key: _value(hints[key], value) for key, value in values.items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, dict):
        union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        offered = typing.get_args(hint) if union else (hint,)
        kinds = [kind for kind in offered if dataclasses.is_dataclass(kind)]
        if kinds:  # of a union, the one whose fields these are
            keys = set(value)
            nearest = min(kinds, key=lambda kind: len(keys ^ set(typing.get_type_hints(kind))))
            return _typed(typing.cast("type[Any]", nearest), value)
    origin = typing.get_origin(hint)
    if isinstance(value, list) and (origin is tuple or isinstance(hint, types.GenericAlias)):
        inner = (*typing.get_args(hint), None)[0]  # of the first; all are of one kind here
        return tuple(_value(inner, each) for each in value)
    return value


def parse_config(values: dict[str, Any]) -> ModelConfig:
    """The inverse of `describe`."""
    values = dict(values)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"config kind={kind!r} must be one of {sorted(KINDS)}")
    config: ModelConfig = _typed(KINDS[kind][1], values)
    return config


def read_bytes(path: str) -> bytes:
    """A whole file, local or by URL."""
    fs, inner = filesystem(path)
    with fs.open_input_file(inner) as file:
        data: bytes = file.read()
    return data


def write_tensors(path: str, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file atomically; sorted names, so equal tensors give equal bytes."""
    ready = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    data = to_safetensors(ready)
    write_file(path, lambda sink: sink.write(data))


def read_tensors(path: str) -> dict[str, Tensor]:
    """Reads a safetensors file. Raises WeightsError where it is torn or something else."""
    try:
        tensors: dict[str, Tensor] = parse_safetensors(read_bytes(path))
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error
    return tensors


def fit(model: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    """Copies `tensors` into `model`. Raises WeightsError unless names and shapes are exactly the
    model's.
    """
    wanted = model.state_dict()
    problems = [f"missing {name}" for name in sorted(set(wanted) - set(tensors))]
    problems += [f"unexpected {name}" for name in sorted(set(tensors) - set(wanted))]
    problems += [
        f"{name} is {tuple(tensors[name].shape)}, should be {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(tensors))
        if tensors[name].shape != wanted[name].shape
    ]
    if problems:
        raise WeightsError(f"{origin} does not fit {type(model).__name__}: {'; '.join(problems)}")
    model.load_state_dict(tensors)


def save(model: nn.Module, path: str, tokenizer: Tokenizer | None = None) -> None:
    """Writes the folder `path`: weights, tokenizer if there is one, config last."""
    write_tensors(posixpath.join(path, WEIGHTS), model.state_dict())
    if tokenizer is not None:
        write_json(posixpath.join(path, TOKENIZER), tokenizer.to_json())
    write_json(posixpath.join(path, CONFIG), describe(typing.cast("ModelConfig", model.config)))


def save_public(model: nn.Module, path: str) -> None:
    """Writes the folder `path` in Hugging Face's layout, for a CLIP or a BLIP that it can express.

    Raises ValueError for any other model, and for what transformers' classes lack.
    """
    from models.public.formats import WRITERS

    config = typing.cast("ModelConfig", model.config)
    kind = describe(config)["kind"]
    if kind not in WRITERS:
        raise ValueError(f"Hugging Face's layout of a {kind} is not written; legal: {[*WRITERS]}")
    values, tensors = WRITERS[kind](config, model.state_dict())
    write_tensors(posixpath.join(path, WEIGHTS), tensors)
    write_json(posixpath.join(path, CONFIG), values)


def load(path: str) -> nn.Module:
    """The model at `path`, ours or published, in evaluation mode, on CPU.

    A published BLIP-2 of the second stage has its language model attached; ours does not hold one.
    Raises WeightsError naming every tensor that is missing, unexpected or of another shape.
    """
    from models.public import formats

    model = filled(*read(path), path)
    if isinstance(model, BLIP2Language) and not _is_ours(path):
        model.attach(formats.language_model(path))
    return model


def filled(config: ModelConfig, tensors: dict[str, Tensor], origin: str) -> nn.Module:
    """A model of `config` that holds `tensors`, in evaluation mode, on CPU."""
    with torch.device("meta"):
        model = build(config)
    model = model.to_empty(device="cpu")
    fit(model, tensors, origin)
    return model.eval()


def read(path: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Config and state dict of the model at `path`, ours or published."""
    from models.public import formats

    if not _is_ours(path):
        return formats.read(path)
    config = parse_config(json.loads(read_bytes(posixpath.join(path, CONFIG))))
    return config, read_tensors(posixpath.join(path, WEIGHTS))


def read_config(path: str) -> ModelConfig:
    """Config of the model at `path`, ours or published."""
    if _is_ours(path):
        return parse_config(json.loads(read_bytes(posixpath.join(path, CONFIG))))
    return read(path)[0]


def _is_ours(path: str) -> bool:
    from models.public.formats import is_file

    file = posixpath.join(path, CONFIG)
    return is_file(file) and "kind" in json.loads(read_bytes(file))


def load_words(path: str) -> Tokenizer | WordPiece | PublishedTokenizer:
    """The tokenizer in the folder `path` of a text model: ours, a published BERT's, or that of the
    language model in a published BLIP-2.
    """
    from models.public import formats

    file = posixpath.join(path, TOKENIZER)
    if not formats.is_file(file):
        return WordPiece.from_folder(path)
    kept = json.loads(read_bytes(file))
    if "merges" in kept:
        return load_tokenizer(path)
    if kept.get("model", {}).get("type") == "WordPiece":
        return WordPiece.from_folder(path)
    return PublishedTokenizer.from_folder(path)


def load_tokenizer(path: str) -> Tokenizer:
    """Our tokenizer in the folder `path`."""
    return Tokenizer.from_json(json.loads(read_bytes(posixpath.join(path, TOKENIZER))))


def content_hash(path: str) -> str:
    """32 hex digits of blake2b over what a score depends on: config, tokenizer and weights in
    `path`, or all of its files that may be either where the weights have another name, or the file.
    """
    digest = hashlib.blake2b(digest_size=16)
    fs, folder = filesystem(path)
    names = [CONFIG, TOKENIZER, WEIGHTS]
    if fs.get_file_info(folder).is_file:
        folder, name = posixpath.split(folder)
        names = [name]
    elif not fs.get_file_info(posixpath.join(folder, WEIGHTS)).is_file:
        listed = fs.get_file_info(FileSelector(folder, allow_not_found=True))
        found = (info.base_name for info in listed)
        names = sorted(name for name in found if name.endswith((".json", ".safetensors")))
    for name in names:
        inner = posixpath.join(folder, name)
        if fs.get_file_info(inner).is_file:
            with fs.open_input_file(inner) as file:
                data = file.read()
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
