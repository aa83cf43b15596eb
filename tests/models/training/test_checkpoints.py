"""Checkpoints: which are kept, which are believed, and how plans differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.training.checkpoints import (
    RunError,
    differences,
    finished,
    read_progress,
    resume,
    save_step,
    steps_saved,
)
from models.training.optimizer import OptimizerConfig, build_optimizer

PLAN: dict[str, Any] = {"data": "a", "training": {"steps": 9, "rate": 0.1}}


def stepped(seed: int) -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model, OptimizerConfig())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_the_latest_whole_one_is_resumed(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for step in (2, 4, 6):
        model, optimizer = stepped(step)
        save_step(folder, step, PLAN, model=model, optimizer=optimizer, keep=2)
    assert steps_saved(folder) == [4, 6]
    (tmp_path / "steps" / "00000006" / "training.json").unlink()
    model, optimizer = stepped(0)
    assert resume(folder, PLAN, model, optimizer) == 4
    wanted, theirs = stepped(4)
    assert torch.equal(model.weight, wanted.weight)
    mine = optimizer.state_dict()["state"][0]["exp_avg"]
    assert torch.equal(mine, theirs.state_dict()["state"][0]["exp_avg"])


def test_nothing_saved_starts_at_zero(tmp_path: Path) -> None:
    assert resume(str(tmp_path), PLAN, *stepped(0)) == 0
    assert read_progress(str(tmp_path)) is None
    assert not finished(str(tmp_path), PLAN)


def test_another_plan_is_not_resumed(tmp_path: Path) -> None:
    model, optimizer = stepped(0)
    save_step(str(tmp_path), 2, PLAN, model=model, optimizer=optimizer, keep=1)
    with pytest.raises(RunError, match="data: 'b' here, 'a' there"):
        resume(str(tmp_path), {**PLAN, "data": "b"}, model, optimizer)


def test_differences_name_each_field() -> None:
    other = {"data": "a", "training": {"steps": 9, "rate": 0.2, "more": 1}}
    assert differences(PLAN, PLAN) == []
    assert differences(PLAN, other) == [
        "training.more: None here, 1 there",
        "training.rate: 0.1 here, 0.2 there",
    ]
