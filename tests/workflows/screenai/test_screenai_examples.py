"""Screens and tasks to examples: splits, weights, masks, what is dropped."""

from __future__ import annotations

from collections import defaultdict

import pytest

from annotators.screen import released
from annotators.screen.tasks.mixture import MASK, MixtureConfig
from pipelines.datasets import Dataset, open_dataset
from pipelines.records import record_id
from workflows.job import Job
from workflows.screenai.examples import ExamplesConfig, examples, rows, told

Given = tuple[Dataset, Dataset]


def test_templates_are_held_out_and_nothing_is_given_away(job: Job, given: Given) -> None:
    screens, tasks = given
    config = ExamplesConfig(screens.path, tasks.path, mixture=MixtureConfig(masks=1.0, masked=1.0))
    train = examples(job, "train", screens, tasks, config, "train")
    held = examples(job, "held-out", screens, tasks, config, "held-out")
    assert (train.manifest.rows, held.manifest.rows) == (8, 4)
    assert train.manifest.dropped == {"undecodable": 1, "no tasks": 1}
    assert set(held.table(["template"]).column(0).to_pylist()) == {"Y"}
    found = [one for of in train.table(["examples"]).column(0).to_pylist() for one in of]
    kept = [one for of in held.table(["examples"]).column(0).to_pylist() for one in of]
    assert all(MASK in one["prompt"] for one in found if one["task"] == "annotation")
    assert not any(MASK in one["prompt"] for one in kept)
    assert told(held) == "4 screens, 4 annotation, 8 question, 4 navigation, 4 summary"
    assert "What is all?" not in {one["prompt"] for one in found}
    for row in held.table().to_pylist():
        [target] = [one["target"] for one in row["examples"] if one["task"] == "annotation"]
        assert [one.kind for one in released.read(target)] == ["TEXT", "BUTTON"]


def test_the_weight_of_a_task_is_shared_by_its_examples(job: Job, given: Given) -> None:
    screens, tasks = given
    mix = MixtureConfig(0.5, 0.25, 0.25, 0.0)
    config = ExamplesConfig(screens.path, tasks.path, mixture=mix)
    made = examples(job, "train", screens, tasks, config, "train")
    for of_screen in made.table(["examples"]).column(0).to_pylist():
        weights: dict[str, list[float]] = defaultdict(list)
        for one in of_screen:
            weights[one["task"]].append(one["weight"])
        expected = {"annotation": [0.5], "question": [0.125] * 2, "navigation": [0.25]}
        assert weights == expected


def test_a_limit_takes_the_same_screens_again(given: Given) -> None:
    screens, tasks = given
    some = ExamplesConfig(screens.path, tasks.path, limit=5)
    found = [row["image_id"] for row in rows(screens, some, images=False)]
    assert len(found) == 5
    more = ExamplesConfig(screens.path, tasks.path, limit=9)
    assert set(found) < {row["image_id"] for row in rows(screens, more, images=True)}
    every = rows(screens, ExamplesConfig(screens.path), images=False)
    assert record_id("51") not in {row["image_id"] for row in every}  # it has no picture


def test_another_dataset_is_refused(given: Given) -> None:
    tasks = open_dataset(given[1].path)
    with pytest.raises(ValueError, match="holds screen_tasks; legal: screens or schemas"):
        list(rows(tasks, ExamplesConfig(tasks.path), images=False))
