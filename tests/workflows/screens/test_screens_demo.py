"""The demo's own parts over small datasets: which screens get tasks, times, and the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets import Dataset
from pipelines.records import SCREEN_TASKS, record_id
from workflows import cli
from workflows.console import Finished
from workflows.job import Job
from workflows.screens.compare import score_annotation
from workflows.screens.demo import Made, ScreensDemoConfig, for_tasks
from workflows.screens.demo_report import tasks_of, write_demo_report
from workflows.screens.inputs import pictures_of
from workflows.screens.times import FILE, Times

Build = Callable[..., Dataset]


def item(kind: str, status: str, author: str = "small-lm", **values: Any) -> dict[str, Any]:
    """A task of the screen `a`."""
    about = dict.fromkeys(("plain", "prompts", "detail", "said"), "")
    return {
        **{"task_id": f"{kind}-{status}-{author}", "kind": kind, "status": status},
        **{"author": author, "text": f"{kind} <it>?", "answer": "Go", "target": "click 1 2 3 4"},
        **{"elements": [1], "box": None, **about, **values},
    }


@pytest.fixture
def tasks(build: Build) -> Dataset:
    items = [
        item("read", "kept", said="Go"),
        item("read", "vocabulary"),
        item("read", "kept", "program"),
        item("count", "self_answer", said="1"),
        item("navigate", "kept"),
        item("summary", "kept", elements=[]),
    ]
    row = {
        "image_id": record_id("i", "a"),
        "screen": "",
        "tasks": items,
        "status": "ok",
        "detail": "",
    }
    assert set(row) == set(SCREEN_TASKS.names)
    return build("screen_tasks", [row])


def test_only_held_out_screens_with_a_picture_are_annotated(job: Job, screens: Dataset) -> None:
    found = pictures_of(job, screens, "held-out")
    assert sorted(found.table()["origin"].to_pylist()) == sorted(map(record_id, "abc"))
    assert found.manifest.dropped == {"timeout": 1}


def test_english_screens_get_tasks_drawn_by_their_ids(
    screens: Dataset, schemas: Dataset, tmp_path: Path
) -> None:
    both = for_tasks(screens, schemas, 5, seed=0).to_pylist()
    assert {row["image_id"] for row in both} == {record_id("i", key) for key in "ab"}
    assert for_tasks(screens, schemas, 1, seed=0).to_pylist() == both[:1]
    with pytest.raises(ValueError, match="no annotated English screen"):
        for_tasks(screens, schemas, 0, seed=0)


def test_times_add_up_over_runs(tmp_path: Path) -> None:
    for _ in range(2):
        job = Job(str(tmp_path))
        times = Times(job)
        job.console.finished.append(Finished("render", 2.0, None))
        times.note()
        job.console.finished.append(Finished("train", 3.0, None))
        times.note()
    assert json.loads((tmp_path / FILE).read_text()) == {"render": 4.0, "train": 6.0}
    assert Times(Job(str(tmp_path))).seconds() == {"render": 4.0, "train": 6.0}


def test_tasks_are_counted_by_who_worded_them(tasks: Dataset, schemas: Dataset) -> None:
    found = tasks_of(tasks, schemas, {})
    assert found.writer == "small-lm"
    assert found.words == [("kept", 3, 1), ("self_answer", 1, 0), ("vocabulary", 1, 0)]
    kinds = {kind: figures for kind, *figures in found.kinds}
    assert kinds["read"] == [2, 1, 1, 1, 1]
    assert kinds["count"] == [1, 0, 1, 0, 0]
    assert kinds["navigate"] == [1, 1, 0, 0, 0]
    (one,) = found.examples
    assert [task.place for task in one.tasks].count(0) == 1  # the summary
    assert {box.label for box in one.screen.boxes} == {"BUTTON Go!"}
    assert one.tasks[-1].author == "program"


def weights(job: Job, name: str, **given: Any) -> Dataset:
    """A folder of a model's files."""

    def write(folder: str, _: Any) -> dict[str, int]:
        Path(folder, "weights").write_text(name)
        return {}

    return job.build(name, name, write, content_hash=lambda folder: f"{name:0>32}", **given)


def test_the_report_shows_everything_and_says_what_is_missing(
    job: Job, screens: Dataset, schemas: Dataset, tasks: Dataset, build: Build
) -> None:
    scores = score_annotation(job, "annotation-scores", screens, schemas)
    asked = {"row_id": record_id("x"), "image_id": record_id("i", "a"), "task": "question"}
    mixture = build("screen_mixture", [{**asked, "prompt": "?", "target": "Go"}])
    trained = {"train": {"steps": 9, "batch_size": 2}}
    network = weights(job, "checkpoint", config=trained)
    names = weights(job, "icon-names", parents=[network])
    made = Made(screens, screens, names, schemas, tasks, mixture, (scores,), ("OmniParser: gone.",))
    config = ScreensDemoConfig(out=job.out)
    page = Path(write_demo_report(job, config, made, {"render screens": 61.0})).read_text()
    for said in (
        "X, b.html (phone, light, en)",
        "goal 0.85 reached",
        "never sees pixels",
        "small-lm",
        "read &lt;it&gt;?",
        "OmniParser: gone.",
        "Elements found: no detector was scored.",
        "TEXT 1 of 1",
        "not read: sales",
        "1 min 1 s",
    ):
        assert said in page, said
    assert page.count("<rect") > 10
    assert (Path(job.out) / "report" / "screens.html").exists()


def test_the_command_line_knows_it() -> None:
    assert cli.RECIPES["screens-demo"][:2] == (
        ScreensDemoConfig.__module__,
        ScreensDemoConfig.__name__,
    )
