"""The report of `sightmill screens-demo`, out of its datasets."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from annotators.screen import grammar
from annotators.screen.schema import Box
from annotators.screen.tasks.items import ANSWERED, KEPT, KINDS, PROGRAM
from evaluators.report.inputs import Run
from evaluators.report.lineage import ancestry
from evaluators.report.screens_inputs import (
    Asked,
    AskedScreen,
    Drawn,
    Screen,
    Tasks,
    Worst,
)
from models.training.curve import read_curve
from pipelines.datasets import Dataset, open_dataset
from pipelines.hashing import config_dict
from pipelines.records import uniform
from workflows.job import Job
from workflows.screens.compare import Beside, beside, read_counts, worst
from workflows.screens.detector import WORK, curve
from workflows.screens.report import annotated, drawn, write_page

if TYPE_CHECKING:
    from workflows.screens.demo import Made, ScreensDemoConfig

SHOWN, WORST, ITEMS = 24, 20, 50
"""Screens with their schemas, worst screens, and kept tasks that are shown."""
A_SCREEN = 5
"""Most tasks shown of one screen."""
WORDS = 24
"""Words of a kind listed of a bad screen, at most."""
MISSED, MADE_UP = "#d6333a", "#1971c2"
GOALS = {("reading", "1280 x 800, English", "word f1"): 0.85}
INTRODUCTION = (
    "Pages of packaged interface templates were rendered with the DOM's truth, whole templates "
    "held out. A detector and a classifier of icons were trained here from random weights; with "
    "an OCR engine they annotated the held-out screens, and a small language model worded tasks "
    "for some of them. Everything is measured on templates and icon families that were in no "
    "training."
)


def write_demo_report(
    job: Job,
    config: ScreensDemoConfig,
    made: Made,
    stages: Mapping[str, float],
) -> str:
    """Write report/index.html and what it links to; returns its path.

    Args:
        stages: seconds by stage.
    """
    folder = job.at("report")
    compared = list(beside(made.screens, made.schemas))
    names = {one.image_id: one.name for one in compared}
    found = annotated(folder, made.schemas, SHOWN)
    inputs = replace(
        found,
        title="Screens, from templates to tasks",
        introduction=INTRODUCTION,
        scores=[row for one in made.scores for row in one.table().to_pylist()],
        goals=GOALS,
        worst=[_worst(one) for one in worst(compared, WORST)],
        overlays=[
            replace(one, name=_named(one.name, made.schemas, names)) for one in found.overlays
        ],
        tasks=tasks_of(made.tasks, made.schemas, names),
        stages=stages,
        runs=list(_runs(made)),
        manifests=ancestry([*made.scores, made.mixture], root=job.out),
        config=config_dict(config),
        commands=[
            f"sightmill screens-demo --out {job.out}",
            f"sightmill verify {made.schemas.path}",
            f"sightmill screens --input FOLDER --out OUT --detector {made.detector.path} "
            f"--icons {made.icons.path}",
        ],
        left_out=made.left_out,
    )
    return write_page(folder, inputs)


def _named(origin: str, schemas: Dataset, names: Mapping[str, str]) -> str:
    """A screen's name for a person, by its origin."""
    rows = schemas.table(["image_id", "origin"]).to_pylist()
    return next((names[r["image_id"]] for r in rows if r["origin"] == origin), origin)


def _worst(one: Beside) -> Worst:
    """A screen with what was missed and made up."""
    found, missed, made_up = one.elements()
    true = Counter(element.kind for element in one.truth)
    lost = Counter(element.kind for element in missed)
    read, written = one.words()
    boxes: list[Drawn] = [drawn(element, MADE_UP, dashed=True) for element in made_up]
    boxes += [drawn(element, MISSED) for element in missed]
    return Worst(
        Screen(one.image, one.name, boxes),
        found.f1,
        found.precision if found.predicted else 0.0,
        found.recall if found.true else 0.0,
        [(kind, n, true[kind]) for kind, n in lost.most_common()],
        Counter(element.kind for element in made_up).most_common(),
        read_counts(one).f1,
        _listed(written - read),
        _listed(read - written),
    )


def _listed(words: Counter[str]) -> list[str]:
    """The commonest words, how often each if more than once, and how many others there are."""
    said = [f"{word} ({n})" if n > 1 else word for word, n in words.most_common(WORDS)]
    others = len(words) - len(said)
    return [*said, f"and {others} others"] if others > 0 else said


def tasks_of(tasks: Dataset, schemas: Dataset, names: Mapping[str, str]) -> Tasks:
    """What became of the items, and some kept ones beside their screens.

    Args:
        names: of screens, for a person, by their ids.
    """
    rows = tasks.table(["image_id", "tasks"]).to_pylist()
    items = [item for row in rows for item in row["tasks"]]
    authors = Counter(item["author"] for item in items if item["author"] != PROGRAM)
    writer = authors.most_common(1)[0][0] if authors else "the model"
    counted: Counter[tuple[str, bool]] = Counter()
    for item in items:
        counted[item["status"], item["author"] == PROGRAM] += 1
    statuses = sorted(
        {status for status, _ in counted}, key=lambda s: (s != KEPT, -counted[s, False], s)
    )
    return Tasks(
        writer,
        len(rows),
        [(status, counted[status, False], counted[status, True]) for status in statuses],
        [_kind(kind, items) for kind in KINDS if any(item["kind"] == kind for item in items)],
        list(_examples(rows, schemas, names)),
    )


def _kind(kind: str, items: Sequence[Mapping[str, Any]]) -> tuple[str, int, int, int, int, int]:
    """Of the model's words how many, kept; its answers, right ones; plain ones kept."""
    of = [item for item in items if item["kind"] == kind]
    ours = [item for item in of if item["author"] != PROGRAM]
    kept = [item for item in ours if item["status"] == KEPT]
    plain = [item for item in of if item["author"] == PROGRAM and item["status"] == KEPT]
    answered = [item for item in of if kind in ANSWERED and item["said"]]
    right = [item for item in answered if item["status"] != "self_answer"]
    return kind, len(ours), len(kept), len(answered), len(right), len(plain)


def _examples(
    rows: Sequence[Mapping[str, Any]], schemas: Dataset, names: Mapping[str, str]
) -> Iterator[AskedScreen]:
    """Up to ITEMS kept tasks, the model's words before plain ones, by their screens."""
    left = ITEMS
    wanted: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda one: uniform(0, "asked", one["image_id"])):
        kept = [item for item in row["tasks"] if item["status"] == KEPT]
        kept.sort(key=lambda item: (item["author"] == PROGRAM, item["task_id"]))
        if chosen := kept[: min(A_SCREEN, left)]:
            wanted[row["image_id"]] = chosen
            left -= len(chosen)
    for batch in schemas.batches(["image_id", "origin", "image", "screen"], batch_size=16):
        for screen in batch.to_pylist():
            if screen["image_id"] in wanted:
                name = names.get(screen["image_id"], screen["origin"])
                yield _asked(screen, name, wanted[screen["image_id"]])


def _asked(screen: Mapping[str, Any], name: str, items: Sequence[Mapping[str, Any]]) -> AskedScreen:
    """A screen with the place of each task's answer, or of the element that it rests on."""
    schema = grammar.parse(screen["screen"])
    boxes: list[Drawn] = []
    tasks = []
    for item in items:
        place = 0
        if item["kind"] != "summary" and item["elements"]:
            element = schema.elements[item["elements"][0]]
            if item["box"]:
                element = replace(element, box=Box(*item["box"]), text=item["answer"])
            boxes.append(drawn(element))
            place = len(boxes)
        said = item["target"] if item["kind"] == "navigate" else item["answer"]
        tasks.append(Asked(item["kind"], item["text"], said, item["author"], place))
    return AskedScreen(Screen(screen["image"], name, boxes), tasks)


def _runs(made: Made) -> Iterator[Run]:
    """The trainings' curves."""
    epochs = curve(posixpath.join(made.detector.path, WORK))
    yield Run("Detector of elements, a step an epoch", epochs)
    network = next(one for one in made.icons.manifest.parents if one.name == "checkpoint")
    path = posixpath.normpath(posixpath.join(made.icons.path, network.path))
    train = open_dataset(path).manifest.config["train"]
    facts = {"steps": f"{train['steps']:,}", "batch": str(train["batch_size"])}
    yield Run("Classifier of icons", read_curve(path), facts)
