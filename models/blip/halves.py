"""A captioner and a matcher out of a whole BLIP, as CapFilt fine-tunes them, and the whole's start
out of encoders that were trained by contrast alone.

The captioner takes the decoder's own self-attention and the head for words; the matcher the
encoder's, the matching head, both projections, and the momentum copies with their queues.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from torch import Tensor

from models.blip.blip import BLIPConfig

Half = Literal["captioner", "matcher"]
Part = Literal[Half, "encoders"]
_DECODER = re.compile(r"^(text_tower\.blocks\.\d+\.)decoder_(attention|norm)\.")
_ENCODER = re.compile(r"^text_tower\.blocks\.\d+\.(attention|norm_1)\.")
_OWN = {"attention": "attention", "norm": "norm_1"}
_COPIES = "momentum.copies."
_MATCHES = ("matching_head.", "temperature", "image_projection.", "text_projection.", "momentum.")


def part_config(config: BLIPConfig, part: Part) -> BLIPConfig:
    """The whole's config as that part's."""
    return replace(config, part=part, text=replace(config.text, separate=False))


def half(config: BLIPConfig, tensors: dict[str, Tensor], part: Half) -> dict[str, Tensor]:
    """The state dict of that half, of a whole's config and state dict.

    Raises ValueError where the BLIP is no whole.
    """
    if config.part != "whole":
        raise ValueError(f"part={config.part!r} cannot be halved; legal: 'whole'")
    if part == "matcher":
        return {
            name: tensor
            for name, tensor in tensors.items()
            if not _DECODER.match(name) and not name.startswith("word_head.")
        }
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(_MATCHES) or (config.text.separate and _ENCODER.match(name)):
            continue
        out[_DECODER.sub(lambda found: f"{found[1]}{_OWN[found[2]]}.", name)] = tensor
    return out


def grown(drawn: dict[str, Tensor], encoders: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a whole whose encoders, and their momentum copies, are trained already; the
    decoder's own self-attention begins as the encoder's, as both of BLIP's begin as BERT's.

    Args:
        drawn: of a whole as it is drawn; the rest comes from here.
        encoders: of the part `encoders`, of the same sizes.
    """

    def origin(name: str) -> str:
        own = _DECODER.sub(lambda found: f"{found[1]}{_OWN[found[2]]}.", name)
        return own if own in encoders else own.removeprefix(_COPIES)

    return {name: encoders.get(origin(name), tensor) for name, tensor in drawn.items()}
