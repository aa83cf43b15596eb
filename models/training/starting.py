"""Weights to go on from: those of the same model, a half of a whole BLIP's, a whole BLIP's
encoders, or a frozen part.

    a CLIP                          into Pic2Word and DALL-E 2, which hold it whole
    a ViT, CLIP, BLIP               its image encoder into a classifier, whose head is new
    a ViT, CLIP, BLIP, classifier   its ViT into BLIP-2, which keeps the blocks that it has
    BLIP-2's first stage            into the second, without its text side
    a GPT                           into Flamingo

What the checkpoint does not bring is drawn.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, cast

from torch import Tensor, nn

from models.blip.blip import BLIPConfig
from models.blip.halves import grown, half
from models.blip2.blip2 import BLIP2Config
from models.blip2.language import BLIP2LanguageConfig, first_stage
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig
from models.dalle2.dalle2 import DALLE2Config
from models.flamingo.flamingo import FlamingoConfig
from models.gpt import GPTConfig
from models.pic2word import Pic2WordConfig
from models.training.checkpoints import differences
from models.training.partners import TOWERS, vision_of
from models.vision.vit import ViTConfig
from models.weights import ModelConfig, WeightsError, read

Tensors = dict[str, Tensor]
ONLY_TRAINED = (
    "patch_dropout",
    "drop_path",
    "temperature",
    "most_scale",
    "dropout",
    "attention_dropout",
    "hidden_dropout",
)
"""Of a config, what a frozen network does not use."""
BLOCK = re.compile(r"^transformer\.blocks\.(\d+)\.")


def starting_tensors(model: nn.Module, path: str) -> Tensors:
    """A state dict for `model` out of the checkpoint at `path`, ours or published.

    Raises WeightsError where the checkpoint is of a model that this one does not begin with, or a
    frozen part has other dimensions than the model's config says.
    """
    there, tensors = read(path)
    config = cast("ModelConfig", model.config)
    if isinstance(config, BLIPConfig) and isinstance(there, BLIPConfig):
        if there.part == "whole" and config.part in ("captioner", "matcher"):
            return half(there, tensors, config.part)
        if there.part == "encoders" and config.part == "whole":
            return grown(model.state_dict(), tensors)
    if type(there) is type(config):
        return tensors
    found = _of_part(model, config, there, tensors, path)
    if found is None:
        raise WeightsError(
            f"{path} holds a {type(there).__name__}, with which a {type(config).__name__} does not"
            " begin"
        )
    return found


def _of_part(
    model: nn.Module, config: ModelConfig, there: ModelConfig, tensors: Tensors, path: str
) -> Tensors | None:
    drawn = model.state_dict()
    if isinstance(config, Pic2WordConfig | DALLE2Config) and isinstance(there, CLIPConfig):
        _same(config.clip, there, "clip", path)
        return _within(drawn, "clip.", tensors)
    if isinstance(config, FlamingoConfig) and isinstance(there, GPTConfig):
        _same(config.language, there, "language", path)
        return _within(drawn, "host.model.", tensors)
    if isinstance(config, BLIP2LanguageConfig) and isinstance(there, BLIP2Config):
        _same(config.vision, there.vision, "vision", path)
        former = dataclasses.replace(there.former, text=False)
        ours = dataclasses.asdict(config.former)
        text = ("vocab_size", "context_length", "end", "decode")
        _same(ours, dataclasses.asdict(former), "former", path, (*ONLY_TRAINED, *text))
        return drawn | first_stage(tensors)
    if isinstance(config, ClassifierConfig) and isinstance(
        there, ViTConfig | CLIPConfig | BLIPConfig
    ):
        tower = there if isinstance(there, ViTConfig) else there.vision
        _same(config.vision, tower, "vision", path)
        return _within(drawn, "encoder.", _own(there, tensors))
    encoders = ViTConfig | CLIPConfig | BLIPConfig | ClassifierConfig
    if isinstance(config, BLIP2Config | BLIP2LanguageConfig) and isinstance(there, encoders):
        return _image_encoder(drawn, config.vision, there, tensors, path)
    return None


def _same(
    ours: Any, theirs: Any, at: str, path: str, spared: tuple[str, ...] = ONLY_TRAINED
) -> None:
    """Raises WeightsError naming the fields in which a frozen part's configs differ."""
    wanted, found = (
        value if isinstance(value, dict) else dataclasses.asdict(value) for value in (ours, theirs)
    )
    wrong = [
        line
        for line in differences(wanted, found, f"{at}.")
        if line.split(":")[0].rsplit(".", 1)[-1] not in spared
    ]
    if wrong:
        raise WeightsError(f"{path} does not fit: {'; '.join(wrong)}")


def _within(drawn: Tensors, prefix: str, tensors: Tensors) -> Tensors:
    """`drawn` with all of `prefix` in it from `tensors`, so that a missing one is missed."""
    others = {name: tensor for name, tensor in drawn.items() if not name.startswith(prefix)}
    return others | {prefix + name: tensor for name, tensor in tensors.items()}


def _own(there: ModelConfig, tensors: Tensors) -> Tensors:
    """The image encoder's tensors of a checkpoint, under the encoder's own names."""
    prefix = next((part for kind, part in TOWERS.items() if isinstance(there, kind)), "")
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _image_encoder(
    drawn: Tensors, wanted: ViTConfig, there: ModelConfig, tensors: Tensors, path: str
) -> Tensors:
    """BLIP-2's frozen encoder out of a ViT at least as deep. The norm after the last block becomes
    `image_norm`; where blocks are left out, that is drawn, as nothing fits there.
    """
    found = vision_of(there)
    if found.depth < wanted.depth:
        raise WeightsError(f"{path} does not fit: vision.depth={wanted.depth}, there {found.depth}")
    whole = found.depth == wanted.depth
    _same(wanted, dataclasses.replace(found, depth=wanted.depth), "vision", path)
    own = _own(there, tensors)
    kept = {n: t for n, t in own.items() if not _after(n, wanted.depth)}
    norm = {n: kept.pop(n) for n in list(kept) if n.startswith("norm_after.")}
    out = _within(drawn, "image_tower.", kept)
    if whole:
        out |= {f"image_norm.{n.removeprefix('norm_after.')}": t for n, t in norm.items()}
    return out


def _after(name: str, depth: int) -> bool:
    block = BLOCK.match(name)
    return block is not None and int(block[1]) >= depth
