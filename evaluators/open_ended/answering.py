"""Questions through a model that writes: a row a question, with its answer or why there is none.

    questions -> Answer (an actor pool that holds the model) -> answers, by Ray Data, or in here

A killed run goes on where it stopped. A picture that cannot be decoded never reaches the model; a
model's own failure (a prompt too long, a server that is away) is that question's status.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.embed import EmbedConfig
from evaluators.open_ended.questions import TEST
from pipelines import datasets
from pipelines.datasets import Dataset, open_dataset
from pipelines.engines import Engines
from pipelines.pictures import flaw
from pipelines.records import ANSWERS, QUESTIONS
from pipelines.stages import Step, write_mapped
from pipelines.storage import listed

OK, UNDECODABLE, NOT_ASKED = "ok", "undecodable", "not_asked"
COLUMNS = ["image_id", "image", "class_name", "group", "question", "references"]
SHARD_ROWS = 1024


@dataclass(frozen=True)
class Example:
    """A question with its answer; without a picture it only shows what an answer looks like."""

    image: bytes
    question: str
    answer: str


@dataclass(frozen=True)
class Asked:
    """One question to a model."""

    key: str
    """Its random numbers come from this."""
    image: bytes
    question: str = ""
    """Empty: describe the picture."""
    examples: tuple[Example, ...] = ()
    """In the order in which they stand before it."""


@dataclass(frozen=True)
class Said:
    """A model's answer, or a status and what was seen."""

    text: str = ""
    status: str = OK
    detail: str = ""


class Answerer(Protocol):
    """Anything that answers questions about pictures."""

    def answer(self, asked: Sequence[Asked]) -> list[Said]:
        """An answer to each, whatever else is in the batch."""


@dataclass(frozen=True)
class Writer:
    """A model under test that writes."""

    name: str
    load: Callable[[], Answerer]
    """Makes it where it is to run; picklable."""
    made_from: tuple[Dataset, ...] = ()
    settings: object = None
    """What else its answers depend on, as JSON values."""
    reads: tuple[str, ...] = ("captioning", "vqa")
    """Suites that it can answer: captioning, vqa, few-shot."""


@dataclass(frozen=True)
class Prompting:
    """Which examples each question gets."""

    shots: Mapping[str, tuple[str, ...]]
    """Keys of examples by key of the question."""
    pictures: bool = True
    """Whether the examples bring their pictures."""


class Answer:
    """Batch callable: reads questions, writes `shots`, `answer`, `status`, `detail`."""

    def __init__(self, load: Callable[[], Answerer], source: str, prompting: Prompting) -> None:
        self.model, self.prompting = load(), prompting
        wanted = sorted({key for keys in prompting.shots.values() for key in keys})
        self.examples = examples_of(open_dataset(source), wanted, prompting.pictures)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Rows of ANSWERS, in the table's order; those of other splits are not asked."""
        rows = table.select(COLUMNS).to_pylist()
        said: list[Said] = [self._refused(row) for row in rows]
        open_rows = [index for index, one in enumerate(said) if one.status == OK]
        answers = self.model.answer([self._asked(rows[i]) for i in open_rows]) if open_rows else []
        for index, one in zip(open_rows, answers, strict=True):
            said[index] = one
        out = [self._row(row, one) for row, one in zip(rows, said, strict=True)]
        return pa.Table.from_pylist(out, schema=ANSWERS)

    def _refused(self, row: dict[str, Any]) -> Said:
        if not row["group"].startswith(TEST):
            return Said(status=NOT_ASKED)
        wrong = flaw(row["image"])
        return Said(status=UNDECODABLE, detail=wrong) if wrong else Said()

    def _asked(self, row: dict[str, Any]) -> Asked:
        keys = self.prompting.shots.get(row["image_id"], ())
        shown = tuple(self.examples[key] for key in keys if key in self.examples)
        return Asked(row["image_id"], row["image"], row["question"], shown)

    def _row(self, row: dict[str, Any], said: Said) -> dict[str, Any]:
        keys = self.prompting.shots.get(row["image_id"], ())
        kept = {name: row[name] for name in ("image_id", "group", "question", "references")}
        shots = [key for key in keys if key in self.examples]
        answer = {"answer": said.text, "status": said.status, "detail": said.detail}
        return {**kept, "shots": shots, **answer}


def examples_of(source: Dataset, keys: Sequence[str], pictures: bool) -> dict[str, Example]:
    """Those examples whose pictures decode, by key."""
    wanted, found = pa.array(keys, pa.string()), {}
    columns = ["image_id", "class_name", "question", *(["image"] if pictures else [])]
    for batch in source.batches(columns) if keys else ():
        for row in batch.filter(pc.is_in(batch.column("image_id"), wanted)).to_pylist():
            image = row.get("image", b"")
            if not pictures or not flaw(image):
                found[row["image_id"]] = Example(image, row["question"], row["class_name"])
    return found


def answers(
    writer: Writer, questions: Dataset, prompting: Prompting, out: str, config: EmbedConfig,
    plan: Mapping[str, Any],
) -> Dataset:  # fmt: skip
    """The `answers` of one writer to all test questions of a set; `plan` tells the prompts."""
    arguments = (writer.load, questions.path, prompting)

    def write(folder: str) -> dict[str, int]:
        if config.workers:
            step = Step(
                Answer,
                reads=COLUMNS,
                writes=["shots", "answer", "status", "detail"],
                drops=["image", "class_name"],
                arguments=arguments,
                batch_rows=config.batch_size,
                workers=config.workers,
                gpus=config.gpus,
            )
            write_mapped(
                questions, folder, [step], ANSWERS, Engines(),
                columns=QUESTIONS.names, label="answers", shard_rows=SHARD_ROWS,
            )  # fmt: skip
        else:
            _here(Answer(*arguments), questions, folder, config.batch_size)
        return _statuses(folder)

    return datasets.build(
        out,
        name="answers",
        config={"model": writer.name, "settings": writer.settings, **plan},
        seed=0,
        parents=[*writer.made_from, questions],
        write=write,
    )


def _here(call: Answer, questions: Dataset, folder: str, size: int) -> None:
    """A shard at a time; those that stand from a killed run are not asked again."""
    standing = set(listed(folder))
    many = max(1, SHARD_ROWS // size) * size
    for number, batch in enumerate(questions.batches(COLUMNS, many)):
        name = f"{number:05d}.parquet"
        if name in standing:
            continue
        table = pa.Table.from_batches([batch])
        parts = [call(table.slice(start, size)) for start in range(0, len(table), size)]
        datasets.write_shard(posixpath.join(folder, name), pa.concat_tables(parts))


def _statuses(folder: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in sorted(listed(folder)):
        if name.endswith(".parquet"):
            for batch in datasets.shard_batches(posixpath.join(folder, name), ["status"]):
                for status in batch.column("status").to_pylist():
                    if status not in (OK, NOT_ASKED):
                        counts[status] = counts.get(status, 0) + 1
    return counts
