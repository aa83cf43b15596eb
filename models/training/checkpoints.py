"""What a run leaves in its folder, and how a killed run finds its way back.

    config.json, model.safetensors, tokenizer.json    the trained model (see models.weights)
    training.json                                     what it was trained on and how; written last:
    the run is finished metrics.jsonl, tensorboard/                       the curve steps/00000500/
    a checkpoint: weights, optimizer.safetensors, average.safetensors where weights are averaged,
    training.json last

A checkpoint without its training.json is torn and is ignored. Nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from typing import Any

import pyarrow.fs as pafs
import torch
from torch import nn

from models.tokenizers.clip import Tokenizer
from models.training.average import Average
from models.training.optimizer import optimizer_tensors, restore_optimizer
from models.weights import WEIGHTS, fit, read_bytes, read_tensors, save, write_tensors
from pipelines.storage import filesystem, write_json

TRAINING, OPTIMIZER, STEPS, METRICS = (
    "training.json",
    "optimizer.safetensors",
    "steps",
    "metrics.jsonl",
)
AVERAGE = "average.safetensors"


class RunError(Exception):
    """A run folder holds the run of another plan; the message names the fields that differ."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """What training.json says: how far a run is, and the plan that decides every weight."""

    step: int  # steps done
    plan: dict[str, Any]  # data hash, model, loading, training

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.step == int(self.plan["training"]["steps"])


def read_progress(folder: str) -> Progress | None:
    """The progress in `folder`, None where there is none."""
    path = posixpath.join(folder, TRAINING)
    fs, inner = filesystem(path)
    if not fs.get_file_info(inner).is_file:
        return None
    return Progress(**json.loads(read_bytes(path)))


def differences(ours: dict[str, Any], found: dict[str, Any], at: str = "") -> list[str]:
    """Fields in which two plans differ, as `training.rate: 0.1 here, 0.2 there`."""
    out: list[str] = []
    for key in sorted(set(ours) | set(found)):
        a, b = ours.get(key), found.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            out += differences(a, b, f"{at}{key}.")
        elif a != b:
            out.append(f"{at}{key}: {a!r} here, {b!r} there")
    return out


def _same_plan(folder: str, progress: Progress | None, plan: dict[str, Any]) -> Progress | None:
    if progress is not None and (wrong := differences(plan, progress.plan)):
        raise RunError(f"{folder} holds another run ({'; '.join(wrong)}); name another folder")
    return progress


def finished(folder: str, plan: dict[str, Any]) -> bool:
    """Whether this plan's run is finished in `folder`. Raises RunError for a run of another
    plan.
    """
    progress = _same_plan(folder, read_progress(folder), plan)
    return progress is not None and progress.finished


def steps_saved(folder: str) -> list[int]:
    """Steps of the checkpoints in `folder`, ascending, torn ones too."""
    fs, inner = filesystem(posixpath.join(folder, STEPS))
    found = fs.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    return sorted(int(info.base_name) for info in found if info.base_name.isdigit())


def _step_folder(folder: str, step: int) -> str:
    return posixpath.join(folder, STEPS, f"{step:08d}")


def save_step(
    folder: str,
    step: int,
    plan: dict[str, Any],
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    keep: int,
    average: Average | None = None,
) -> None:
    """Writes the checkpoint of `step` and removes all but the `keep` latest."""
    path = _step_folder(folder, step)
    write_tensors(posixpath.join(path, WEIGHTS), model.state_dict())
    write_tensors(posixpath.join(path, OPTIMIZER), optimizer_tensors(model, optimizer))
    if average is not None:
        write_tensors(posixpath.join(path, AVERAGE), average.tensors)
    write_json(posixpath.join(path, TRAINING), dataclasses.asdict(Progress(step, plan)))
    for old in steps_saved(folder)[:-keep]:
        _remove(_step_folder(folder, old))


def _remove(path: str) -> None:
    """Removes a checkpoint, its mark first, so that a kill leaves it torn and not wrong."""
    fs, inner = filesystem(path)
    mark = posixpath.join(inner, TRAINING)
    if fs.get_file_info(mark).is_file:
        fs.delete_file(mark)
    fs.delete_dir(inner)


def resume(
    folder: str,
    plan: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None = None,
) -> int:
    """Restores the latest whole checkpoint and returns its step, 0 where there is none."""
    for step in reversed(steps_saved(folder)):
        path = _step_folder(folder, step)
        if _same_plan(folder, read_progress(path), plan) is None:
            continue
        fit(model, read_tensors(posixpath.join(path, WEIGHTS)), path)
        restore_optimizer(model, optimizer, read_tensors(posixpath.join(path, OPTIMIZER)))
        if average is not None:
            average.restore(read_tensors(posixpath.join(path, AVERAGE)))
        return step
    return 0


def finish(
    folder: str, plan: dict[str, Any], model: nn.Module, tokenizer: Tokenizer | None
) -> None:
    """Writes the trained model, then training.json, then removes the checkpoints."""
    save(model, folder, tokenizer)
    step = int(plan["training"]["steps"])
    write_json(posixpath.join(folder, TRAINING), dataclasses.asdict(Progress(step, plan)))
    fs, inner = filesystem(posixpath.join(folder, STEPS))
    if fs.get_file_info(inner).type == pafs.FileType.Directory:
        fs.delete_dir(inner)
