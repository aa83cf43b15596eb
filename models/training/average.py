"""A moving average of the trained weights, with which diffusion models are sampled (unCLIP, Ramesh
et al. 2022, table 3, has 0.9999).

Early on the decay is (1 + step) / (10 + step), so that the first weights, which are drawn, are
forgotten. Frozen weights and buffers are not averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def decay_at(step: int, decay: float) -> float:
    """The share of the average that step number `step` (from 0) leaves."""
    return min(decay, (1 + step) / (10 + step))


class Average:
    """The average of a model's trained weights, at first the weights themselves."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"average={decay} must lie between 0 and 1")
        self.decay = decay
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.tensors: dict[str, Tensor] = {n: p.detach().clone() for n, p in self.trained.items()}

    @torch.no_grad()
    def take(self, step: int) -> None:
        """Moves the average towards the weights after step number `step` (from 0)."""
        weights = [p.detach() for p in self.trained.values()]
        torch._foreach_lerp_(list(self.tensors.values()), weights, 1 - decay_at(step, self.decay))

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Goes on from an average that was saved."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def leave(self) -> None:
        """Puts the average into the model."""
        for name, parameter in self.trained.items():
            parameter.copy_(self.tensors[name])
