"""Rendered screens to a detector of interface elements, scored on templates never seen.

    sightmill train-detector --screens screens --out detector

YOLO is trained from the DOM's truth of the screens of training templates; no label is drawn by
hand, no weights are fetched. The detector is then run over the screens of the held-out templates,
and what it finds is scored as COCO does: a table of average precision by class, also in the
checkpoint's folder as scores.json. With `--compare FILE.pt` any other weights of ultralytics are
scored beside it, without classes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
from rich.table import Table

from annotators.screen.detector import CONFIG, WEIGHTS, Detect, Detecting
from annotators.screen.detector_training import DetectorConfig, export_yolo, train
from evaluators.detection import Detected, Predicted, True_, detection_score
from pipelines.datasets import Dataset, open_dataset
from pipelines.hashing import hash_json
from pipelines.storage import file_sha256, write_json
from workflows.console import Console, Update
from workflows.job import Job

LEAST = 50
"""True boxes on the held-out screens that a class must have for the mean to count it."""
SCORING = Detecting(confidence=0.001)
"""A score takes all confidences in; a pipeline that annotates, only what is likely."""
SCORES = "_scores.json"


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
        score_detectors(job, detector, screens, self.compare)
        job.console.summary(self.out)


def train_detector(job: Job, folder: str, screens: Dataset, config: TrainDetectorConfig) -> Dataset:
    """The detector in the job's `folder`, trained on the screens of training templates."""

    def write(path: str, update: Update) -> Mapping[str, int]:
        work = config.work or posixpath.join(path, "_work")
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


def score_detectors(
    job: Job, detector: Dataset, screens: Dataset, others: tuple[str, ...] = ()
) -> dict[str, Detected]:
    """Scores on the held-out templates: ours by class, ours and the others without classes."""
    scores: dict[str, Detected] = {}
    with job.console.task("score on held-out templates"):
        found = list(held_out(screens, Detect(detector.path, SCORING)))
        scores["ours"] = detection_score(found, least=LEAST)
        scores["ours, classes apart"] = detection_score(found, one_class=True)
        for path in others:
            other = Detect(path, Detecting(confidence=0.001, any_name=True))
            scores[path] = detection_score(held_out(screens, other), one_class=True)
    show(job.console, scores["ours"])
    for name, score in scores.items():
        job.console.say(f"{name}: mAP@50 {_spread(score)}, mAP@50-95 {score.map:.3f}")
    write_json(
        posixpath.join(detector.path, SCORES), {k: asdict(score) for k, score in scores.items()}
    )
    return scores


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


def _spread(score: Detected) -> str:
    value = score.map50
    return f"{value.value:.3f} ({value.low:.3f}-{value.high:.3f}), {len(score.counted)} classes"


def show(console: Console, score: Detected) -> None:
    """A table by class; those that the mean counts first."""
    table = Table(title=f"held-out templates, {score.screens} screens", title_justify="left")
    for name in ("class", "AP@50", "AP@50-95", "recall@50", "true", "counted"):
        table.add_column(name, justify="left" if name == "class" else "right")
    order = sorted(score.by_class.items(), key=lambda item: -item[1].true)
    for kind, one in order:
        figures = (f"{value:.3f}" for value in (one.ap50, one.ap, one.recall50))
        table.add_row(kind, *figures, f"{one.true:,}", "yes" if kind in score.counted else "")
    console.terminal.print(table)
