"""A ScreenAI checkpoint on held-out screens: every answer, and the scores by task.

    sightmill score-screens --checkpoint run/screenai --data run/examples/held-out --out run/scored

The answers are a dataset, a row a screen, made in parallel and resumed at the row. What could not
be read counts as wrong and is counted by reason.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from rich.table import Table

from annotators.screen.answer import EMPTY, OK, Answering, annotated, answers_step, clicked
from annotators.screen.tasks import mixture
from evaluators.screen_answers import Answer, Figure, figures
from models.weights import content_hash
from pipelines.datasets import MANIFEST, Dataset, open_dataset, write_shard
from pipelines.engines import Engines
from pipelines.records import SCORES, SCREEN_ANSWERS
from pipelines.stages import write_mapped
from pipelines.storage import filesystem
from workflows.flags import EngineFlags
from workflows.job import Job

SUITE = "screenai"


@dataclass(frozen=True)
class ScoreScreensConfig:
    """Score a ScreenAI on held-out screens."""

    checkpoint: str
    """Folder of the model."""
    data: str
    """Folder of a `screen_examples` dataset that the model was not trained on."""
    out: str
    """Folder of the answers and scores."""
    answering: Answering = field(default_factory=Answering)
    """How it answers."""
    batch_rows: int = 16
    """Screens that are answered together."""
    workers: int = 1
    """Models at a time."""
    seed: int = 0
    """Of the intervals."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out, self.engines)
        answers = answer(job, "answers", self.checkpoint, open_dataset(self.data), self)
        found = read_figures(answers, self.seed)
        score(job, "scores", answers, found, self.checkpoint)
        job.console.summary(self.out)
        job.console.terminal.print(table(found))
        job.console.terminal.print(by_status(answers))


def answer(
    job: Job, folder: str, checkpoint: str, data: Dataset, config: ScoreScreensConfig
) -> Dataset:
    """The dataset `screen_answers` in the job's `folder`; a killed run goes on where it stopped."""
    if data.manifest.name != "screen_examples":
        raise ValueError(f"{data.path} holds {data.manifest.name}; legal: screen_examples")
    steps = [answers_step(checkpoint, config.answering, config.batch_rows, config.workers)]

    def write(path: str, _: object) -> Mapping[str, int]:
        write_mapped(
            data,
            path,
            steps,
            SCREEN_ANSWERS,
            job.engines,
            columns=["image_id", "template", "screen", "image", "examples"],
            label=f"answer {folder}",
        )
        return {}

    return job.build(
        f"answer {folder}",
        "screen_answers",
        write,
        folder=folder,
        config={"checkpoint": content_hash(checkpoint), "answering": config.answering},
        parents=[data, *_dataset(checkpoint)],
    )


def _dataset(checkpoint: str) -> Iterator[Dataset]:
    """The checkpoint as a parent, if it is one of ours with a manifest."""
    fs, inner = filesystem(posixpath.join(checkpoint, MANIFEST))
    if fs.get_file_info(inner).is_file:
        yield open_dataset(checkpoint)


def readings(answers: Dataset) -> Iterator[Answer]:
    """Every answer, with what could be read of it."""
    for batch in answers.batches(["image_id", "screen", "answers"]):
        for row in batch.to_pylist():
            for one in row["answers"]:
                yield reading(row, one)


def reading(row: Mapping[str, Any], one: Mapping[str, Any]) -> Answer:
    """An answer of a screen as it is scored."""
    key, task, target = row["image_id"], one["task"], one["target"]
    if task == "annotation":
        schema = mixture.parsed(row["screen"])
        true = [(element.kind, element.box) for element in schema or ()]
        predicted = [(element.kind, element.box) for element in annotated(one)]
        return Answer(key, task, target, true=true, predicted=predicted)
    if task == "navigation":
        return Answer(key, task, target, true_box=clicked(target)[0], box=clicked(one["said"])[0])
    return Answer(key, task, target, said=one["said"] or None)


def read_figures(answers: Dataset, seed: int = 0) -> list[Figure]:
    """Every metric of every task of the answers."""
    return figures(readings(answers), seed=seed)


def score(job: Job, folder: str, answers: Dataset, found: Sequence[Figure], model: str) -> Dataset:
    """The figures as the dataset `scores` in the job's `folder`."""

    def write(path: str, _: object) -> Mapping[str, int]:
        rows = [
            {
                "suite": SUITE,
                "dataset": "held-out",
                "split": one.task,
                "metric": one.metric,
                "model": posixpath.basename(model.rstrip("/")),
                "value": one.interval.value,
                "n": one.n,
                "standard_error": one.interval.standard_error,
            }
            for one in found
        ]
        write_shard(posixpath.join(path, "00000.parquet"), pa.Table.from_pylist(rows, SCORES))
        return {}

    return job.build("score", "scores", write, folder=folder, parents=[answers])


def table(found: Sequence[Figure]) -> Table:
    """The figures for a person."""
    out = Table(title="held-out screens, 95 % intervals over screens", title_justify="left")
    for name in ("task", "metric", "value", "from", "to", "answers"):
        out.add_column(name, justify="left" if name in ("task", "metric") else "right")
    for one in found:
        edges = (one.interval.value, one.interval.low, one.interval.high)
        out.add_row(one.task, one.metric, *(f"{edge:.3f}" for edge in edges), f"{one.n:,}")
    return out


def statuses(answers: Dataset) -> Counter[tuple[str, str]]:
    """Answers by task and status."""
    return Counter(
        (one["task"], one["status"])
        for batch in answers.batches(["answers"])
        for of_screen in batch.column(0).to_pylist()
        for one in of_screen
    )


def by_status(answers: Dataset) -> Table:
    """What could be read, by task."""
    counts = statuses(answers)
    names = sorted({status for _, status in counts}, key=lambda name: (name != OK, name))
    out = Table(title="answers that could be read, and not", title_justify="left")
    out.add_column("task")
    for name in names:
        out.add_column("no text" if name == EMPTY else name, justify="right")
    for task in mixture.TASKS:
        if any(counts[task, name] for name in names):
            out.add_row(task, *(f"{counts[task, name]:,}" for name in names))
    return out
