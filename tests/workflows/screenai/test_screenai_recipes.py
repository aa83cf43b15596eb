"""The recipes from end to end on eight small screens: examples to a model by `sightmill train`, its
second stage, its scores, and the ablation.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.layers.block import BlockConfig
from models.screenai import ScreenAIConfig
from models.t5 import T5Config
from models.vision.patching import PatchingConfig
from models.weights import describe, read_config, read_tensors
from pipelines.datasets import Dataset, open_dataset
from workflows import cli
from workflows.job import Job
from workflows.screenai.ablation import WORDS, ScreenAIAblationConfig
from workflows.screenai.examples import ExamplesConfig, examples
from workflows.screenai.score import ScoreScreensConfig, reading, statuses
from workflows.train_any import TrainRecipe, network

Given = tuple[Dataset, Dataset]
TINY = ScreenAIConfig(
    PatchingConfig(8, 12),
    BlockConfig(16, 2, 24, epsilon=1e-6),
    vision_depth=1,
    places=13,
    language=T5Config(300, 20, 1, heads=2, head_width=8, hidden=24),
)
SHORT = ["--answering.annotation-tokens", "8", "--answering.answer-tokens", "8"]
STEPS = ["--schedule.train.steps", "2", "--schedule.train.batch-size", "4"]
STEPS += ["--schedule.workers.cpus", "1"]


@pytest.fixture
def splits(job: Job, given: Given) -> tuple[str, str]:
    screens, tasks = given
    config = ExamplesConfig(screens.path, tasks.path)
    train = examples(job, "train", screens, tasks, config, "train")
    return train.path, examples(job, "held-out", screens, tasks, config, "held-out").path


def test_train_then_tune_then_score(
    splits: tuple[str, str], tmp_path: Path, ray_session: None
) -> None:
    train, held = splits
    first = TrainRecipe(train, "", "screenai-small")
    config, words = network(first, open_dataset(train))
    assert isinstance(config, ScreenAIConfig) and words is not None
    assert config.language.vocab_size == words.vocab_size
    assert config.language.pad == config.language.end == words.end
    sized = T5Config(
        words.vocab_size, 20, 1, heads=2, head_width=8, hidden=24, pad=words.end, end=words.end
    )
    tiny = ScreenAIConfig(TINY.patching, TINY.vision, 1, 13, sized)
    file, one, two = tmp_path / "tiny.json", str(tmp_path / "one"), str(tmp_path / "two")
    file.write_text(json.dumps(describe(tiny)))
    asked = ["--data", train, *STEPS]
    arguments = [*asked, "--out", one, "--model-file", str(file)]
    assert cli.run("sightmill train", TrainRecipe, arguments) == 0
    tuned = [*asked, "--out", two, "--model", "screenai-small-frozen", "--start", one]
    assert cli.run("sightmill train", TrainRecipe, tuned) == 0
    before, after = (read_tensors(f"{path}/model.safetensors") for path in (one, two))
    for key, tensor in before.items():
        assert torch.equal(after[key], tensor) == key.startswith("vision."), key
    frozen = read_config(two)
    assert isinstance(frozen, ScreenAIConfig) and frozen.frozen_vision
    scored = str(tmp_path / "scored")
    arguments = ["--checkpoint", two, "--data", held, "--out", scored, *SHORT]
    assert cli.run("sightmill score-screens", ScoreScreensConfig, arguments) == 0
    answers = open_dataset(f"{scored}/answers")
    counted = statuses(answers)
    assert sum(counted.values()) == 20 and answers.manifest.rows == 4
    rows = open_dataset(f"{scored}/scores").table().to_pylist()
    assert {f"{row['split']}_{row['metric']}" for row in rows} == set(WORDS.heads)
    assert all(0 <= row["value"] <= 10 and row["n"] in (4, 8) for row in rows)


def test_the_ablation_trains_every_way_and_writes_a_page(
    given: Given, tmp_path: Path, ray_session: None
) -> None:
    screens, tasks = given
    out = tmp_path / "out"
    arguments = ["--data.screens", screens.path, "--data.tasks", tasks.path, "--out", str(out)]
    arguments += ["--seeds", "4", *STEPS, *SHORT, "--schedule.train.optimizer.warm-up", "1"]
    arguments += ["--conditions", "annotation alone, flexible", "mixture, fixed"]
    arguments += ["--model.patching.patch-size", "8", "--model.patching.budget", "12"]
    arguments += ["--model.vision.width", "16", "--model.vision.heads", "2"]
    arguments += ["--model.vision-depth", "1", "--model.language.vocab-size", "300"]
    arguments += ["--model.language.width", "16", "--model.language.depth", "1"]
    assert cli.run("sightmill screenai-ablation", ScreenAIAblationConfig, arguments) == 0
    found = json.loads((out / "report" / "ablation.json").read_text())
    assert [one["condition"] for one in found["outcomes"]] == [
        "annotation alone, flexible",
        "mixture, fixed",
    ]
    assert [one["metrics"]["corpus_texts"] for one in found["outcomes"]] == [8, 40]
    page = (out / "report" / "ablation.html").read_text()
    assert "questions, SQuAD F1" in page and "held-out screens" in page
    models = [out / f"screenai-{name}-4" for name in ("annotation-alone-flexible", "mixture-fixed")]
    configs = [one for one in map(read_config, map(str, models)) if isinstance(one, ScreenAIConfig)]
    assert [one.patching.kind for one in configs] == ["flexible", "fixed"]
    assert configs[0].language == configs[1].language  # one vocabulary


def test_a_reading_holds_what_its_task_is_scored_by() -> None:
    row = {"image_id": "i", "screen": 'TEXT "a, b" 0 9 0 9'}
    blank = {"example_id": "", "prompt": "", "status": "ok", "detail": ""}
    annotation = reading(row, {**blank, "task": "annotation", "target": "", "said": "TEXT 1 2 3 4"})
    assert list(annotation.predicted) == [("TEXT", (1, 2, 3, 4))]
    order = {**blank, "task": "navigation", "target": "click 1 2 3 4", "said": "click 1 2"}
    assert (reading(row, order).true_box, reading(row, order).box) == ((1, 2, 3, 4), None)
    assert reading(row, {**blank, "task": "question", "target": "x", "said": ""}).said is None


def test_data_of_another_kind_are_refused(given: Given, tmp_path: Path) -> None:
    arguments = ["--checkpoint", str(tmp_path), "--data", given[0].path, "--out", str(tmp_path)]
    assert cli.run("sightmill score-screens", ScoreScreensConfig, arguments) == 1
