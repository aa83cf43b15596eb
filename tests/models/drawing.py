"""Weights for tests of parity."""

from __future__ import annotations

from torch import nn


def randomise(model: nn.Module, but: tuple[str, ...] = ()) -> None:
    """Draws every parameter so that every one moves what comes out; those with a part of `but` in
    their name stay.

    Matrices keep the size of what goes through them, gains of norms are near one, and biases, gates
    and other vectors are none of them zero. With all of them drawn from N(0, 0.3^2), tens of a
    BLIP's tensors moved its logits by less than parities tolerate.
    """
    for name, parameter in model.named_parameters():
        if any(part in name for part in but):
            continue
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
        elif name.endswith("weight"):
            nn.init.normal_(parameter, mean=1.0, std=0.3)
        else:
            nn.init.normal_(parameter, std=0.5)
