"""Open-ended sets: pictures, what is asked of each, and what people answered.

A set becomes one `questions` dataset: its split `test`, or `test/DOMAIN`, is asked; its split
`train`, where the root holds one, gives the examples of few-shot prompts. Of either at most so many
are kept as the config says, those of the least hash of the key. A picture that is missing or cannot
be decoded stays a row, so that it is unanswered and counted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from evaluators.open_ended.layouts import READERS, Question
from evaluators.suites.found import Audit
from evaluators.suites.kinds import Source
from evaluators.suites.open_sets import OpenSet, Tally, absent, listing
from pipelines import datasets, storage
from pipelines.datasets import Dataset
from pipelines.records import QUESTIONS, record_id, uniform

TEST, TRAIN = "test", "train"
AUDIT = "audit.json"
ROWS_A_SHARD = 1024
Task = Literal["captioning", "vqa", "vqa-stems", "exact", "naming"]
"""What answers are compared by; see `evaluators.open_ended.figures`."""


@dataclass(frozen=True)
class Amounts:
    """How much of a set is used."""

    asked: int = 0
    """Most questions that are asked; 0: all."""
    examples: int = 2048
    """Most questions of `train` that examples are drawn from."""


@dataclass(frozen=True)
class QuestionSet:
    """One set that can be asked."""

    name: str
    dataset: Dataset
    task: Task


def find_questions(
    spec: OpenSet, root: Path, out: str, amounts: Amounts
) -> tuple[QuestionSet | None, Audit]:
    """The set below `root`, made under `out`, and what was found of it; None if nothing is."""
    gone = absent(spec, root)
    if gone is not None:
        return None, gone
    where, tally = posixpath.join(out, spec.name), Tally()
    questions = list(READERS[spec.layout["kind"]](root, spec.layout))
    tally.count = tested(questions, spec.protocol)
    kept = list(chosen(questions, amounts))
    config = {"set": spec.name, "files": listing(spec, root), "amounts": asdict(amounts)}
    dataset = build_questions(where, lambda: kept, config)
    for batch in dataset.batches(["image_id", "group", "image"]):
        for row in batch.to_pylist():
            tally.look(f"{row['group']}: {row['image_id']}", row["image"])
    audit = tally.audit(spec)
    storage.write_json(posixpath.join(where, AUDIT), asdict(audit))
    return QuestionSet(spec.name, dataset, task_of(spec)), audit


def task_of(spec: OpenSet) -> Task:
    """By what a set's answers are compared."""
    if spec.protocol == "captioning":
        return "captioning"
    if spec.layout["kind"] == "gqa":
        return "exact"
    return "vqa-stems" if spec.layout.get("stems") else "vqa"


def tested(questions: Iterable[Question], protocol: str) -> int:
    """Questions of the test split; of captions, pictures."""
    ours = [q for q in questions if split_of(q.group) == TEST]
    return len({q.origin for q in ours}) if protocol == "captioning" else len(ours)


def split_of(group: str) -> str:
    """The split in a group such as test/near-domain."""
    return group.partition("/")[0]


def chosen(questions: Iterable[Question], amounts: Amounts) -> Iterator[Question]:
    """Of each split those of the least hash of the key, as many as wanted; each key once."""
    known = {question.key: question for question in questions}
    for split, most in ((TEST, amounts.asked), (TRAIN, amounts.examples)):
        ours = [q for q in known.values() if split_of(q.group) == split]
        ours.sort(key=lambda q: uniform(0, "asked", q.key))
        kept = ours[:most] if most else ours
        yield from sorted(kept, key=lambda q: record_id(q.key))


def build_questions(
    where: str, questions: Callable[[], Iterable[Question]], config: dict[str, Any]
) -> Dataset:
    """The `questions` dataset at `where`; read a shard at a time."""

    def write(folder: str) -> dict[str, int]:
        rows, number = iter(questions()), 0
        while part := list(islice(rows, ROWS_A_SHARD)):
            table = pa.Table.from_pylist([_row(one) for one in part], schema=QUESTIONS)
            datasets.write_shard(posixpath.join(folder, f"{number:05d}.parquet"), table)
            number += 1
        return {}

    return datasets.build(where, name="questions", config=config, seed=0, parents=[], write=write)


def _row(one: Question) -> dict[str, Any]:
    return {
        "image_id": record_id(one.key),
        "image": one.load(),
        "class_name": one.shown,
        "group": one.group,
        "question": one.question,
        "references": list(one.references),
    }


def naming(name: str, source: Source, out: str, amounts: Amounts) -> QuestionSet:
    """A classification set as questions: what is the picture of? Its class is the one answer.

    Rows of the split that the source names are asked, those of `train` are the examples.
    """
    said = dict(zip(source.classes, source.said, strict=True)) if source.said else {}

    def rows() -> Iterator[Question]:
        wanted = {source.group: TEST, TRAIN: TRAIN}
        keys = source.dataset.table(["image_id", "class_name", "group"]).to_pylist()
        bare = [
            Question(row["image_id"], "", bytes, "", (row["class_name"],), wanted[row["group"]])
            for row in keys
            if row["group"] in wanted
        ]
        kept = {one.key: one for one in chosen(bare, amounts)}
        for batch in source.dataset.batches(["image_id", "image"]):
            for row in batch.to_pylist():
                if one := kept.get(row["image_id"]):
                    answer = said.get(one.references[0], one.references[0])
                    load = partial(bytes, row["image"])
                    yield Question(one.key, "", load, "", (answer,), one.group)

    of = {"set": name, "of": source.dataset.manifest.content_hash, "amounts": asdict(amounts)}
    dataset = build_questions(posixpath.join(out, f"naming-{name}"), rows, of)
    return QuestionSet(name, dataset, "naming")
