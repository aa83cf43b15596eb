"""Weights to go on from: those of the same model, or a half of a whole BLIP's."""

from __future__ import annotations

from torch import Tensor

from models.blip.blip import BLIPConfig
from models.blip.halves import half
from models.weights import ModelConfig, read


def starting_tensors(config: ModelConfig, path: str) -> dict[str, Tensor]:
    """The state dict for a model of `config` out of the checkpoint at `path`, ours or published."""
    there, tensors = read(path)
    if isinstance(config, BLIPConfig) and isinstance(there, BLIPConfig):
        part = config.part
        if there.part == "whole" and part != "whole":
            return half(there, tensors, part)
    return tensors
