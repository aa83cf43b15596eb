"""The curve of a run that was cut off reads like that of one that was not."""

from __future__ import annotations

from pathlib import Path

from models.training.curve import Curve, Line, read_curve


def test_lines_after_the_resumed_step_are_cut(tmp_path: Path) -> None:
    folder, seen = str(tmp_path), []
    with Curve(folder, 0, 8) as curve:
        for step in (2, 4, 6):
            curve.log(step, {"loss": step / 10})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # the process died here
    assert [line["step"] for line in read_curve(folder)] == [2, 4, 6]
    before = read_curve(folder)

    def report(line: Line) -> None:
        seen.append(line["step"])

    with Curve(folder, 4, 8, report) as curve:
        curve.log(6, {"loss": 0.5})
    after = read_curve(folder)
    assert after[:2] == before[:2] and after[2]["loss"] == 0.5 and seen == [6]
    assert after[2]["seconds"] >= before[1]["seconds"]
    assert after[2]["examples_per_second"] > 0


def test_no_run_has_no_curve(tmp_path: Path) -> None:
    assert read_curve(str(tmp_path / "nowhere")) == []


def test_tensorboard_holds_the_same_figures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Curve(str(tmp_path), 0, 8) as curve:
        curve.log(3, {"loss": 0.25})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(3, 0.25)]
