"""A run's curve: a JSON line and TensorBoard scalars for each logged step, written by rank 0.

Lines after the step that a run resumes from are cut off first, so that the file reads like that of
an uninterrupted run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from types import TracebackType

from models.training.checkpoints import METRICS

Line = dict[str, float]


def read_curve(folder: str) -> list[Line]:
    """The lines of a run, in step order; a torn last line is left out."""
    path = os.path.join(folder, METRICS)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


class Curve:
    """Open it with `with`; `log` writes one step. `report` is called with each line too."""

    def __init__(
        self,
        folder: str,
        step: int,
        examples_a_step: int,
        report: Callable[[Line], None] | None = None,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        kept = [line for line in read_curve(folder) if line["step"] <= step]
        os.makedirs(folder, exist_ok=True)
        self.file = open(os.path.join(folder, METRICS), "w", encoding="utf-8")  # noqa: SIM115
        self.file.writelines(json.dumps(line) + "\n" for line in kept)
        self.board = SummaryWriter(os.path.join(folder, "tensorboard"), purge_step=step + 1)
        self.examples, self.report = examples_a_step, report
        self.before = kept[-1]["seconds"] if kept else 0.0  # of the run's earlier lives
        self.start = self.last_time = time.perf_counter()
        self.last_step = step

    def log(self, step: int, values: Line) -> None:
        """Figures after `step` steps, with examples a second since the last line and seconds in
        all.
        """
        now = time.perf_counter()
        rate = self.examples * (step - self.last_step) / max(1e-9, now - self.last_time)
        self.last_step, self.last_time = step, now
        line = {"step": step, **values, "examples_per_second": rate}
        line["seconds"] = self.before + now - self.start
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        for name, value in line.items():
            if name != "step":
                self.board.add_scalar(f"train/{name}", value, step)
        if self.report is not None:
            self.report(line)

    def __enter__(self) -> Curve:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()
        self.board.close()
