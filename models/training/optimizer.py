"""AdamW (Loshchilov & Hutter 2019) with warm-up and a cosine, as CLIP, ViT and GPT-3 are all
trained.

Weight decay falls on what has two dimensions and more; gains, biases, the class token and the logit
scale have none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimizerConfig:
    """Rates are per step of the optimiser, whatever the batch."""

    rate: float = 1e-3  # peak learning rate
    last_rate: float = 0.0  # learning rate at the end, a share of the peak
    warm_up: int = 100  # steps of linear warm-up
    weight_decay: float = 0.2  # decoupled; CLIP 0.2
    beta_1: float = 0.9  # decay of the first moment
    beta_2: float = 0.98  # decay of the second moment; CLIP's ViTs 0.98
    epsilon: float = 1e-6  # added to the root of the second moment
    clip_norm: float = 1.0  # greatest norm of the whole gradient; 0 does not clip


def rate_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of `step` (from 0) of `steps` as a share of the peak."""
    if step < config.warm_up:
        return (step + 1) / config.warm_up
    done = (step - config.warm_up) / max(1, steps - config.warm_up)
    return config.last_rate + (1 - config.last_rate) * 0.5 * (1 + math.cos(math.pi * done))


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over `model`'s trainable parameters, in two groups: decayed matrices, and all else."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta_1, config.beta_2)
    return torch.optim.AdamW(groups, lr=config.rate, betas=betas, eps=config.epsilon, fused=True)


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Parameter names in the order in which the optimiser numbers them."""
    name_of = {parameter: name for name, parameter in model.named_parameters()}
    return [name_of[p] for group in optimizer.param_groups for p in group["params"]]


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as a flat dict, `exp_avg/NAME` and so on."""
    state, names = optimizer.state_dict()["state"], _names(model, optimizer)
    return {
        f"{key}/{names[index]}": value
        for index, values in state.items()
        for key, value in values.items()
    }


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`."""
    names = _names(model, optimizer)
    number = {name: index for index, name in enumerate(names)}
    state: dict[int, dict[str, Tensor]] = {index: {} for index in range(len(names))}
    for key, tensor in tensors.items():
        kind, name = key.split("/", 1)
        state[number[name]][kind] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
