"""Packaged icon families to a classifier of icons, scored on families never seen.

    sightmill train-icons --out icons

Drawings of nine families are put on made-up pieces of screens (`workflows.screens.drawings`), a
small ResNet learns their types and one class for what is none of them, and the least probability of
a name is chosen on a tenth family, so that of its icons without a type so many per cent get a name.
`OUT/names` is then what `sightmill screens --icons` takes; the dataset OUT/scores has, for each of
three families that were never looked at, the top-1 accuracy, the shares named right, wrong and not
at all, and how many icons without a type got a name all the same.

With its defaults (1.4 million weights, 50,345 crops, 21 minutes on one busy core) the top-1
accuracy, with its standard error, is 93.2 ± 1.3 % on Ionicons, 90.2 ± 3.3 % on Octicons and
94.6 ± 1.7 % on Heroicons. At the threshold 84.9 ± 1.4 % of their icons are named rightly, 1.3 ± 0.5
wrongly, and 4.9 ± 0.7 % of those without a type get a name. On rendered templates that the detector
never saw (Font Awesome's icons, mostly) 268 of 535 icons are named, by eye some ten wrongly.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.table import Table

from annotators.screen.icon_names import types
from annotators.screen.icons import CONFIG, NONE, IconNames, chosen
from annotators.screen.ocr import Pixels, decode
from evaluators.statistics import Rate, rate
from evaluators.suites.labelled import Picture, build_labelled
from models import weights
from models.classifier import ClassifierConfig
from models.training.augment import AugmentConfig
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig
from models.training.optimizer import OptimizerConfig
from models.vision.resnet import ResNetConfig
from pipelines.datasets import Dataset
from pipelines.engines import Engines, ray_session
from pipelines.hashing import hash_json
from pipelines.records import record_id
from pipelines.storage import file_sha256, write_bytes, write_json
from workflows.console import Update
from workflows.demo_web import packages
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.screens.drawings import FAMILIES, Crops, Part, counts, crops, drawings
from workflows.screens.scored import figure, write_scores
from workflows.train import Schedule, train_model

CLASSES = (*types(), NONE)
SUITE = "icons"
UNSEEN = "unseen families"
METRICS = ("top_1", "right", "wrong", "false_names")
"""Of the scores: the fields of `Score`."""
NETWORK = ResNetConfig((64, 64), layers=(1, 2, 2, 1), width=16, head_width=32)
SCHEDULE = Schedule(
    LoaderConfig(
        augment=AugmentConfig(least_area=0.8, aspect=1.1, brightness=0.15, contrast=0.15),
        memory_mb=2048,
    ),
    TrainConfig(
        steps=1600,
        batch_size=128,
        checkpoint_every=200,
        optimizer=OptimizerConfig(rate=2e-3, weight_decay=0.05),
    ),
)


@dataclass(frozen=True)
class TrainIconsConfig:
    """Train a classifier of icons on packaged families and score it on unseen ones."""

    out: str
    """Folder of everything that is made; `names` in it is the classifier."""
    crops: Crops = field(default_factory=Crops)
    """How drawings become pieces of screens."""
    network: ResNetConfig = NETWORK
    """Size of the network."""
    schedule: Schedule = SCHEDULE
    """How it is trained: by default some 205,000 crops, ten minutes on one core."""
    false_names: float = 0.05
    """Share of the calibrating family's icons without a type that get a name."""
    cache: str = str(packages.CACHE)
    """Folder of the unpacked packages."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where the training runs."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out, self.engines)
        with job.console.task("packages"):
            folders = gather(job, Path(self.cache))
        with ray_session(job.engines):
            train_icons(job, self, folders)
        job.console.summary(self.out)


def gather(job: Job, cache: Path) -> dict[str, Path]:
    """The families that could be had. Raises ValueError if a part has none."""
    found = packages.fetch_all(cache, [family.package for family in FAMILIES.values()])
    for name, why in found.missing.items():
        job.console.say(f"without {name}: {why}")
    folders = {
        name: found.paths[family.package.name]
        for name, family in FAMILIES.items()
        if family.package.name in found.paths
    }
    for part in ("train", "calibrate", "held-out"):
        if not any(FAMILIES[name].part == part for name in folders):
            raise ValueError(f"no icon family to {part}: {dict(found.missing)}")
    return folders


def train_icons(
    job: Job, config: TrainIconsConfig, folders: Mapping[str, Path]
) -> tuple[Dataset, Dataset]:
    """The classifier in the job's folder `names`, and its scores in `scores`."""
    sets = {
        part: pictures(job, part, config.crops, folders)
        for part in ("train", "calibrate", "held-out")
    }
    model = ClassifierConfig(config.network, len(CLASSES), smoothing=0.05)
    network = train_model(job, "network", model, sets["train"], config.schedule)
    names = calibrate(job, network, sets["calibrate"], config.false_names)
    scores = score_icons(job, names, sets["held-out"])
    show(job, scores)
    return names, scores


def pictures(job: Job, part: Part, config: Crops, folders: Mapping[str, Path]) -> Dataset:
    """The `labelled` dataset of crops of a part's families; for scores one crop a drawing."""
    families = {name: path for name, path in folders.items() if FAMILIES[name].part == part}

    def rows() -> Iterator[Picture]:
        found = [one for name, path in families.items() for one in drawings(name, path, config)]
        many = counts(found, config) if part == "train" else [1] * len(found)
        order = sorted(zip(found, many, strict=True), key=lambda one: record_id(one[0].origin))
        for drawing, count in order:
            for number, image in enumerate(crops(drawing, count, config)):
                origin = f"{drawing.origin}#{number}"
                yield Picture(origin, image, drawing.kind, drawing.family)

    settings = {
        "part": part,
        "crops": config,
        "families": {name: FAMILIES[name].package.version for name in families},
        "types": hash_json({name: list(names) for name, names in types().items()}),
    }
    return job.console.stage(
        f"draw {part}",
        lambda _: build_labelled(job.at(part), rows, CLASSES, config=settings, seed=config.seed),
    )


def calibrate(job: Job, network: Dataset, labelled: Dataset, false_names: float) -> Dataset:
    """The network with the least probability that a name must have."""

    def write(path: str, update: Update) -> Mapping[str, int]:
        for name in (weights.WEIGHTS, weights.CONFIG):
            data = weights.read_bytes(posixpath.join(network.path, name))
            write_bytes(posixpath.join(path, name), data)
        kept: dict[str, Any] = {"classes": CLASSES, "threshold": 0.0}
        write_json(posixpath.join(path, CONFIG), kept)
        guessed = guess(IconNames(path), labelled)
        kept["threshold"] = threshold(guessed.chances[guessed.none], false_names)
        write_json(posixpath.join(path, CONFIG), kept)
        return {}

    return job.build(
        "calibrate",
        "icon-names",
        write,
        folder="names",
        config={"false_names": false_names, "classes": CLASSES},
        parents=[network, labelled],
        content_hash=names_hash,
    )


def names_hash(folder: str) -> str:
    """Of the weights, the classes and the threshold."""
    files = (weights.WEIGHTS, weights.CONFIG, CONFIG)
    return hash_json([file_sha256(posixpath.join(folder, name)) for name in files])


def threshold(chances_NK: npt.NDArray[np.float32], false_names: float) -> float:
    """The least probability at which at most a share `false_names` of icons without a type get a
    name; those taken for none of the types never do.
    """
    best_N = chances_NK[:, :-1].max(axis=1)
    best_N = np.where(best_N > chances_NK[:, -1], best_N, 0.0)
    allowed = int(false_names * len(best_N))
    falling = np.sort(best_N)[::-1]
    if allowed >= len(falling):
        return 0.0
    return float(np.nextafter(falling[allowed], np.float32(2)))


@dataclass(frozen=True)
class Guesses:
    """What a classifier says of labelled crops."""

    chances: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    families: list[str]

    @property
    def none(self) -> npt.NDArray[np.bool_]:
        """Which crops have no type."""
        found: npt.NDArray[np.bool_] = self.labels == len(CLASSES) - 1
        return found


def guess(names: IconNames, labelled: Dataset) -> Guesses:
    """Probabilities of every row of a `labelled` dataset."""
    chances, labels, families = [], [], []
    for batch in labelled.batches(["image", "label", "group"], batch_size=512):
        table = pa.Table.from_batches([batch])
        squares: list[Pixels] = [decode(image) for image in table["image"].to_pylist()]
        chances.append(names.chances(squares))
        labels += table["label"].to_pylist()
        families += table["group"].to_pylist()
    return Guesses(np.concatenate(chances), np.array(labels, np.int64), families)


@dataclass(frozen=True)
class Score:
    """How a classifier does on one family that it never saw."""

    top_1: Rate
    """Of icons that have a type, the type alone asked for."""
    right: Rate
    """Of them, those named rightly at the threshold."""
    wrong: Rate
    """Of them, those named wrongly; the rest is unknown."""
    false_names: Rate
    """Of icons without a type, those that got a name."""


def score(names: IconNames, labelled: Dataset) -> dict[str, Score]:
    """By family, and "all"."""
    guessed = guess(names, labelled)
    family_N = np.array(guessed.families)
    said = [one.name for one in chosen(guessed.chances, names.classes, names.threshold)]
    truth = [names.classes[label] for label in guessed.labels]
    named_N = np.array([name != "" for name in said])
    right_N = np.array([name == true for name, true in zip(said, truth, strict=True)])
    best_N = guessed.chances[:, :-1].argmax(axis=1) == guessed.labels
    scores = {}
    for family in (*sorted(set(guessed.families)), "all"):
        of = np.ones(len(family_N), bool) if family == "all" else family_N == family
        has = of & ~guessed.none
        scores[family] = Score(
            rate(best_N[has]),
            rate(right_N[has]),
            rate((named_N & ~right_N)[has]),
            rate(named_N[of & guessed.none]),
        )
    return scores


def score_icons(job: Job, names: Dataset, labelled: Dataset) -> Dataset:
    """The dataset `scores` of a classifier on families that it never saw."""

    def write(path: str, update: Update) -> Mapping[str, int]:
        scores = score(IconNames(names.path), labelled)
        rows = [
            figure(SUITE, family, metric, one.value, one.n, one.standard_error, dataset=UNSEEN)
            for family, of in scores.items()
            for metric, one in vars(of).items()
        ]
        write_scores(path, rows)
        return {}

    return job.build("score icons", "scores", write, parents=[names, labelled])


def show(job: Job, scores: Dataset) -> None:
    """A table by family, per cent with standard errors."""
    table = Table(title="icon families never seen", title_justify="left")
    for name in ("family", "icons", "top-1", "named right", "named wrong", "others", "false names"):
        table.add_column(name, justify="left" if name == "family" else "right")
    rows = {(one["split"], one["metric"]): one for one in scores.table().to_pylist()}
    for family in dict.fromkeys(split for split, _ in rows):
        top_1, right, wrong, false = (rows.get((family, metric)) for metric in METRICS)
        named = (_many(top_1), *map(_percent, (top_1, right, wrong)))
        table.add_row(family, *named, _many(false), _percent(false))
    job.console.terminal.print(table)


def _many(one: Mapping[str, Any] | None) -> str:
    return "0" if one is None else f"{one['n']:,}"


def _percent(one: Mapping[str, Any] | None) -> str:
    return "" if one is None else f"{100 * one['value']:.1f} ± {100 * one['standard_error']:.1f}"
