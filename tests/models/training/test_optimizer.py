"""The schedule's shape, who is decayed, and the optimiser's state through a flat dict."""

from __future__ import annotations

import pytest
import torch

from models.clip import CLIP, CLIPConfig, TextConfig
from models.training.optimizer import (
    OptimizerConfig,
    build_optimizer,
    optimizer_tensors,
    rate_factor,
    restore_optimizer,
)
from models.vision.vit import ViTConfig

SMALL = CLIPConfig(
    ViTConfig((16, 16), patch_size=8, width=16, depth=1, heads=2), TextConfig(8, 40, 16, 1, 2), 12
)


def test_rate_rises_then_falls_along_a_cosine() -> None:
    config = OptimizerConfig(warm_up=10, last_rate=0.1)
    rates = [rate_factor(step, 110, config) for step in range(111)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55) and rates[110] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_schedule_is_torchs_cosine() -> None:
    config = OptimizerConfig(warm_up=0)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for step in range(20):
        assert rate_factor(step, 20, config) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_gains_biases_and_scale_are_not_decayed() -> None:
    model = CLIP(SMALL)
    decayed = {id(p) for p in build_optimizer(model, OptimizerConfig()).param_groups[0]["params"]}
    for name, parameter in model.named_parameters():
        free = "norm" in name or name.endswith(("bias", "class_token_D", "logit_scale"))
        assert (id(parameter) in decayed) != free, name


def step(model: CLIP, optimizer: torch.optim.Optimizer) -> None:
    tokens = torch.tensor([[1, 39, 0], [2, 3, 39], [4, 39, 0]])
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(3, 3, 16, 16, generator=generator)
    optimizer.zero_grad()
    model({"pixels": pixels, "tokens": tokens})["loss"].backward()
    optimizer.step()


def test_state_survives_a_flat_dict() -> None:
    torch.manual_seed(0)
    model = CLIP(SMALL)
    optimizer = build_optimizer(model, OptimizerConfig())
    step(model, optimizer)
    copy = CLIP(SMALL)
    copy.load_state_dict(model.state_dict())
    other = build_optimizer(copy, OptimizerConfig())
    tensors = optimizer_tensors(model, optimizer)
    assert tensors["exp_avg/logit_scale"].abs() > 0
    restore_optimizer(copy, other, {key: value.clone() for key, value in tensors.items()})
    step(model, optimizer)
    step(copy, other)
    for mine, theirs in zip(model.parameters(), copy.parameters(), strict=True):
        assert torch.equal(mine, theirs)
