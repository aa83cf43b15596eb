"""Screens and their tasks to what a ScreenAI trains on and what it is scored on.

    sightmill screen-examples --screens run/screens --out run/examples
    sightmill train --model screenai-small --data run/examples/train --out run/screenai
    sightmill score-screens --checkpoint run/screenai --data run/examples/held-out --out run/scored

Screens are those of `sightmill render-screens`, held out by template, or of `sightmill screens`,
held out by a hash of the screen. Tasks are written here, or given by `--tasks`, a `screen_tasks`
dataset about the same screens. Out come `train` and `held-out`, a row a screen with all of its
examples (`annotators.screen.tasks.mixture`): the weight of a task is shared by its examples on the
screen. On held-out screens nothing of an annotation is given away: no prompt holds a masked schema.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from annotators.screen import grammar
from annotators.screen.tasks import mixture
from annotators.screen.tasks.mixture import MixtureConfig
from annotators.screen.tasks.stage import READS, TaskConfig
from annotators.screen.truth import true_schema
from models.pixels import whole
from pipelines.datasets import Dataset, open_dataset, write_shard
from pipelines.records import SCREEN_EXAMPLES, record_id, uniform
from workflows.console import Update
from workflows.job import Job
from workflows.screens.tasks import ScreenTasksConfig, write_tasks, writer_at

Split = Literal["train", "held-out"]
SHARD_ROWS = 64
SOURCES = {"screens": "screen_id", "schemas": "image_id"}
"""Datasets that have screenshots, and the name of their ids."""


@dataclass(frozen=True)
class ExamplesConfig:
    """Which screens, which tasks, and how they are mixed."""

    screens: str
    """Folder of a `screens` or `schemas` dataset."""
    tasks: str = ""
    """Folder of a `screen_tasks` dataset about these screens; empty: they are written."""
    limit: int = 0
    """Screens, drawn by a hash of their ids; 0: all."""
    held_out: float = 0.2
    """Share of screens that are held out, where no templates are."""
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    """The weights of the tasks, and what training prompts mask."""
    writer: str = ""
    """Who words the tasks: URL of a chat server, or a GGUF file; empty: SmolLM2-135M-Instruct."""
    writing: TaskConfig = field(default_factory=TaskConfig)
    """Which tasks are written and how they are checked."""


@dataclass(frozen=True)
class ScreenExamplesConfig(ExamplesConfig):
    """Screens with their tasks, for training and for scoring."""

    out: str = "screen-examples"
    """Folder of everything that is made."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out)
        screens = open_dataset(self.screens)
        tasks = tasks_of(job, self, screens)
        for split in ("train", "held-out"):
            made = examples(job, split, screens, tasks, self, split)
            job.console.say(f"{made.path}: {told(made)}")
        job.console.summary(self.out)


def rows(screens: Dataset, config: ExamplesConfig, images: bool) -> Iterator[dict[str, Any]]:
    """image_id, template and split of every screen that has a picture, and that `image`, or else
    its true or annotated `screen`, the schema as text.

    Raises ValueError for another kind of dataset.
    """
    name = screens.manifest.name
    if name not in SOURCES:
        raise ValueError(f"{screens.path} holds {name}; legal: {' or '.join(SOURCES)}")
    key, truth = SOURCES[name], name == "screens"
    columns = [key, *(["template", "split"] if truth else [])]
    columns += ["image"] if images else ["truth", "width", "height"] if truth else ["screen"]
    chosen = _chosen(screens, key, config)
    for batch in screens.batches(columns, batch_size=16):
        for row in batch.to_pylist():
            if row[key] not in chosen:
                continue
            held = uniform(config.mixture.seed, row[key], "held-out") < config.held_out
            found = {
                "image_id": row[key],
                "template": row.get("template", ""),
                "split": row.get("split", "held-out" if held else "train"),
            }
            if images:
                yield {**found, "image": row["image"]}
            else:
                schema = grammar.render(true_schema(row)) if truth else row["screen"]
                yield {**found, "screen": schema}


def _chosen(screens: Dataset, key: str, config: ExamplesConfig) -> set[str]:
    """Ids of the screens that are taken."""
    ids = [
        row[key]
        for batch in screens.batches([key, "status"])
        for row in batch.to_pylist()
        if row["status"] == "ok"
    ]
    order = sorted(ids, key=lambda one: (uniform(config.mixture.seed, one, "limit"), one))
    return set(order[: config.limit or None])


def tasks_of(job: Job, config: ExamplesConfig, screens: Dataset) -> Dataset:
    """The `screen_tasks` that are given, or those written for the screens' schemas."""
    if config.tasks:
        return open_dataset(config.tasks)
    found = [{name: row[name] for name in READS} for row in rows(screens, config, images=False)]
    table = pa.Table.from_pylist(found, pa.schema([(name, pa.string()) for name in READS]))
    writing = ScreenTasksConfig(config.screens, job.out, writer=config.writer, tasks=config.writing)
    load, identity = writer_at(writing)
    return write_tasks(job, writing, table, load, identity, [screens])


def examples(
    job: Job,
    folder: str,
    screens: Dataset,
    tasks: Dataset,
    config: ExamplesConfig,
    split: Split,
) -> Dataset:
    """The dataset `screen_examples` of one split in the job's `folder`.

    Dropped, by reason: screens without tasks and schema, and those that cannot be decoded.
    """
    mix = config.mixture if split == "train" else replace(config.mixture, masks=0.0)

    def write(path: str, update: Update) -> Mapping[str, int]:
        dropped: Counter[str] = Counter()
        kept: list[dict[str, Any]] = []
        shards = 0
        of = {
            row["image_id"]: row
            for batch in tasks.batches(["image_id", "screen", "tasks"])
            for row in batch.to_pylist()
        }
        for done, row in enumerate(rows(screens, config, images=True), 1):
            if row["split"] == split:
                made, reason = example_row(row, of.get(row["image_id"]), mix)
                dropped.update([reason] if reason else [])
                kept += [made] if made else []
            if len(kept) == SHARD_ROWS:
                _shard(path, shards, kept)
                kept, shards = [], shards + 1
            update(done, screens.manifest.rows, f"{shards * SHARD_ROWS + len(kept):,} kept")
        if kept:
            _shard(path, shards, kept)
        return dropped

    return job.build(
        f"examples {folder}",
        "screen_examples",
        write,
        folder=folder,
        config={
            "split": split,
            "limit": config.limit,
            "held_out": config.held_out,
            "mixture": mix,
        },
        seed=mix.seed,
        parents=[screens, tasks],
    )


def _shard(folder: str, number: int, kept: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(kept, SCREEN_EXAMPLES)
    write_shard(posixpath.join(folder, f"{number:05d}.parquet"), table)


def example_row(
    row: Mapping[str, Any], task_row: Mapping[str, Any] | None, config: MixtureConfig
) -> tuple[dict[str, Any] | None, str]:
    """A row of `screen_examples`, or None and why there is none."""
    if task_row is None:
        return None, "no tasks"
    weights = config.weights()
    found = [one for one in mixture.rows(task_row, config) if weights[one["task"]]]
    if not found:
        return None, "no examples"
    try:
        whole(row["image"])
    except Exception:  # whatever a decoder makes of broken bytes
        return None, "undecodable"
    counts = Counter(one["task"] for one in found)
    made = [
        {
            "example_id": record_id(one["image_id"], one["task"], one["prompt"], one["target"]),
            "task": one["task"],
            "prompt": one["prompt"],
            "target": one["target"],
            "weight": weights[one["task"]] / counts[one["task"]],
        }
        for one in found
    ]
    kept = {name: row[name] for name in ("image_id", "template", "image")}
    return {**kept, "screen": task_row["screen"], "examples": made}, ""


def told(made: Dataset) -> str:
    """How many examples of each task a dataset has, in words."""
    counts = Counter(
        one["task"]
        for batch in made.batches(["examples"])
        for of_screen in batch.column(0).to_pylist()
        for one in of_screen
    )
    listed = ", ".join(f"{counts[task]:,} {task}" for task in mixture.TASKS if counts[task])
    return f"{made.manifest.rows:,} screens, {listed or 'no examples'}"
