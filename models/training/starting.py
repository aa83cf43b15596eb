"""Weights to go on from: those of the same model, a half of a whole BLIP's, or a whole BLIP's
encoders.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from models.blip.blip import BLIPConfig
from models.blip.halves import grown, half
from models.weights import ModelConfig, read


def starting_tensors(model: nn.Module, path: str) -> dict[str, Tensor]:
    """A state dict for `model` out of the checkpoint at `path`, ours or published."""
    there, tensors = read(path)
    config = cast("ModelConfig", model.config)
    if isinstance(config, BLIPConfig) and isinstance(there, BLIPConfig):
        if there.part == "whole" and config.part in ("captioner", "matcher"):
            return half(there, tensors, config.part)
        if there.part == "encoders" and config.part == "whole":
            return grown(model.state_dict(), tensors)
    return tensors
