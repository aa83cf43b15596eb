"""Rendered screens to a detector of interface elements, scored on templates never seen.

    sightmill train-detector --screens screens --out detector

YOLO is trained from the DOM's truth of the screens of training templates; no label is drawn by
hand, no weights are fetched. The detector is then run over the screens of the held-out templates,
and what it finds is scored as COCO does: average precision by class, as the dataset `scores` in the
folder OUT-scores. With `--compare FILE.pt` any other weights of ultralytics are scored beside it,
without classes.
"""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.table import Table

from annotators.screen.classes import CLASSES
from annotators.screen.detector import CONFIG, WEIGHTS, Detect, Detecting
from annotators.screen.detector_training import DetectorConfig, export_yolo, train
from evaluators.detection import Predicted, True_, detection_score
from pipelines.datasets import Dataset, open_dataset
from pipelines.hashing import hash_json
from pipelines.storage import file_sha256
from workflows.console import Console, Update
from workflows.job import Job
from workflows.screens.scored import OURS, figure, write_scores

LEAST = 50
"""True boxes on the held-out screens that a class must have for the mean to count it."""
SCORING = Detecting(confidence=0.001)
"""A score takes all confidences in; a pipeline that annotates, only what is likely."""
WORK = "_work"
SUITE = "detection"
ALL, ELEMENTS, PRESSED = "all classes", "one class", "what can be pressed"
"""Splits of the scores beside the classes' own."""
Screen = tuple[Sequence[Predicted], Sequence[True_]]


@dataclass(frozen=True)
class TrainDetectorConfig:
    """Train a detector on rendered screens and score it on held-out templates."""

    screens: str
    """Folder of a `screens` dataset with truth."""
    out: str
    """Folder of the detector."""
    train: DetectorConfig = field(default_factory=DetectorConfig)
    """How it is trained."""
    work: str = ""
    """Local folder for the pictures laid out and for ultralytics' files; kept, so that a killed run
    goes on from its last epoch. Empty: beside the detector's weights, hidden."""
    compare: tuple[str, ...] = ()
    """Other weights of ultralytics to score beside it, without classes."""

    def run(self) -> None:
        """Run the recipe."""
        out, folder = posixpath.split(self.out.rstrip("/"))
        job = Job(out)
        screens = open_dataset(self.screens)
        detector = train_detector(job, folder, screens, self)
        others = {path: path for path in self.compare}
        show(job.console, score_detectors(job, f"{folder}-scores", detector, screens, others))
        job.console.summary(self.out)


def train_detector(job: Job, folder: str, screens: Dataset, config: TrainDetectorConfig) -> Dataset:
    """The detector in the job's `folder`, trained on the screens of training templates."""

    def write(path: str, update: Update) -> Mapping[str, int]:
        work = config.work or posixpath.join(path, WORK)
        data = export_yolo(screens, posixpath.join(work, "data"), config.train)
        train(data, path, work, config.train, update)
        return {}

    return job.build(
        f"train {folder}",
        "detector",
        write,
        folder=folder,
        config=config.train,
        seed=config.train.seed,
        parents=[screens],
        content_hash=detector_hash,
    )


def detector_hash(folder: str) -> str:
    """Of the weights and of what they are."""
    return hash_json([file_sha256(posixpath.join(folder, name)) for name in (CONFIG, WEIGHTS)])


def curve(work: str) -> list[dict[str, float]]:
    """Step (an epoch), loss and learning rate of a training whose files are in `work`."""
    path = Path(work, "run", "results.csv")
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    parts = ("box", "cls", "dfl")
    return [
        {
            "step": float(row["epoch"]),
            "loss": sum(float(row[f"train/{part}_loss"]) for part in parts),
            "rate": float(row["lr/pg0"]),
            "seconds": float(row["time"]),
        }
        for row in rows
    ]


def score_detectors(
    job: Job, folder: str, detector: Dataset, screens: Dataset, others: Mapping[str, str]
) -> Dataset:
    """The dataset `scores` in the job's `folder`: ours and `others` on the held-out templates.

    Ours is scored by class; each once more with all elements as one class, and with those alone
    that a person can press, since some detectors know nothing else.

    Args:
        others: weights of ultralytics by the name that the scores give them.
    """

    def write(path: str, update: Update) -> Mapping[str, int]:
        rows = list(_rows(OURS, held_out(screens, Detect(detector.path, SCORING)), classes=True))
        for number, (name, weights) in enumerate(others.items(), 1):
            update(number, len(others) + 1, name)
            other = Detect(weights, Detecting(confidence=SCORING.confidence, any_name=True))
            rows += _rows(name, held_out(screens, other), classes=False)
        write_scores(path, rows)
        return {}

    return job.build(
        "score detectors",
        "scores",
        write,
        folder=folder,
        config={
            "scoring": SCORING,
            "least": LEAST,
            "others": {name: file_sha256(path) for name, path in others.items()},
        },
        parents=[detector, screens],
    )


def _rows(model: str, found: Iterable[Screen], classes: bool) -> Iterator[dict[str, Any]]:
    """Rows of `records.SCORES`."""
    screens = list(found)
    views: dict[str, tuple[list[Screen], bool]] = {ALL: (screens, False)} if classes else {}
    views |= {ELEMENTS: (screens, True), PRESSED: ([_pressed(one) for one in screens], True)}
    for view, (kept, one_class) in views.items():
        score = detection_score(kept, least=LEAST, one_class=one_class)
        spread = score.map50.standard_error
        true = sum(one.true for one in score.by_class.values())
        yield figure(SUITE, view, "ap50", score.map50.value, true, spread, model=model)
        yield figure(SUITE, view, "ap50_95", score.map, true, model=model)
        for kind, one in score.by_class.items():
            name = kind if view == ALL else view
            yield figure(SUITE, name, "recall50", one.recall50, one.true, model=model)
            if view == ALL:
                yield figure(SUITE, name, "ap50", one.ap50, one.true, model=model)
                yield figure(SUITE, name, "ap50_95", one.ap, one.true, model=model)


def _pressed(screen: Screen) -> Screen:
    """What a person can press; detections of classes that are none of ours all stay."""
    predicted, true = screen
    return (
        [one for one in predicted if one[0] not in CLASSES or CLASSES[one[0]].interactive],
        [one for one in true if CLASSES[one[0]].interactive],
    )


def held_out(
    screens: Dataset, detect: Detect, split: str = "held-out"
) -> Iterator[tuple[list[Predicted], list[True_]]]:
    """What is found and what is true on each screen of the split, in the dataset's order."""
    for batch in screens.batches(["image", "split", "truth", "status"], batch_size=16):
        table = pa.Table.from_batches([batch])
        keep = [
            row == split and status == "ok"
            for row, status in zip(
                table["split"].to_pylist(), table["status"].to_pylist(), strict=True
            )
        ]
        for row in detect(table.filter(pa.array(keep, pa.bool_()))).to_pylist():
            predicted: list[Predicted] = [
                (b["kind"], b["confidence"], _box(b)) for b in row["boxes"]
            ]
            yield predicted, [(e["kind"], _box(e)) for e in row["truth"]]


def _box(of: Mapping[str, Any]) -> list[float]:
    return [of[edge] for edge in ("x0", "y0", "x1", "y1")]


def show(console: Console, scores: Dataset) -> None:
    """Tables: detectors without classes, then ours by class, those that are true most first."""
    rows = {(r["model"], r["split"], r["metric"]): r for r in scores.table().to_pylist()}
    for (model, split, metric), row in rows.items():
        if metric == "ap50" and split in (ALL, ELEMENTS, PRESSED):
            value = f"{row['value']:.3f} ± {row['standard_error']:.3f}"
            console.say(f"{model}, {split}: AP@50 {value} of {row['n']:,}")
    table = Table(title="held-out templates, ours", title_justify="left")
    for name in ("class", "AP@50", "AP@50-95", "recall@50", "true", "counted"):
        table.add_column(name, justify="left" if name == "class" else "right")
    kinds = {split: r["n"] for (_, split, _), r in rows.items() if split in CLASSES}
    for kind, true in sorted(kinds.items(), key=lambda item: -item[1]):
        metrics = ("ap50", "ap50_95", "recall50")
        figures = (f"{rows[OURS, kind, metric]['value']:.3f}" for metric in metrics)
        table.add_row(kind, *figures, f"{true:,}", "yes" if true >= LEAST else "")
    console.terminal.print(table)
