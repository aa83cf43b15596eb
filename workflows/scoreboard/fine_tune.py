"""Full fine-tuning of a checkpoint's image tower on an evaluation set, scored under its shifts.

The tower and a new linear head are trained on the set's split `train` (and `val` where there is
one) by the one training loop; the classifier then answers in distribution and under every shift of
that set, beside the same checkpoint zero-shot. Only for checkpoints of ours: their manifest is the
start of the classifier's lineage.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.checkpoints import supervised_contender
from evaluators.contenders import Contender
from evaluators.fine_tuned import fine_tuned_rows, in_distribution_row
from evaluators.score import ScoreConfig, score
from evaluators.suites.kinds import Classification, Source, Suite, class_names
from pipelines import datasets
from pipelines.datasets import Dataset, open_dataset
from pipelines.pictures import flaw
from pipelines.records import LABELLED

if TYPE_CHECKING:
    from models.pixels import Fit
    from workflows.job import Job

TRAINED_ON = ("train", "val")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class FineTune:
    """Which sets the image tower is fine-tuned on, and how."""

    sets: tuple[str, ...] = ()
    """Names of sets with a train split; empty: none, since each is a training run."""
    epochs: float = 3.0
    """Passes over the train split."""
    batch_size: int = 64
    """Pictures of a step; all of them where there are fewer."""
    rate: float = 3e-5
    """Learning rate at its height; the head starts at zero."""
    seed: int = 0
    """Of the order and the augmentation."""


INSIDE, SHIFTED = "fine-tuned: on the set itself", "fine-tuned: under shift"
"""Titles of the tables."""


def fine_tuned(
    job: Job,
    config: FineTune,
    checkpoint: str,
    zero_shot: Contender,
    suites: Sequence[Suite],
    scoring: ScoreConfig,
    fit: Fit,
) -> dict[str, Rows]:
    """Train and score one classifier a set of `config.sets`; tables by title.

    Raises:
        ValueError: a set that was not found or has no train split.
        DatasetError: the checkpoint has no manifest.
    """
    found: dict[str, Rows] = {INSIDE: [], SHIFTED: []}
    start = open_dataset(checkpoint)
    for name in config.sets:
        source, classes = _source(suites, name)
        data = training_split(source, classes, job.at(f"fine-tune/{name}/train"))
        trained = _trained(job, config, name, classes, data, start, fit)
        label = f"{zero_shot.name}, fine-tuned on {name}"
        model = supervised_contender(label, trained.path, trained, classes, fit)
        model = replace(model, standard=False)  # it draws no line, it is what is measured
        asked = _suites(suites, name, source)
        answers = score([zero_shot, model], asked, job.at(f"fine-tune/{name}"), scoring).answers()
        own = answers.filter(pc.equal(answers["suite"], asked[0].name))
        found[INSIDE].append(in_distribution_row(own, name, zero_shot.name, label))
        for suite in asked[1:]:
            found[SHIFTED] += fine_tuned_rows(answers, suite, zero_shot.name, label, scoring.seed)
    return found


def _source(suites: Sequence[Suite], name: str) -> tuple[Source, tuple[str, ...]]:
    """The set's test split with its own classes."""
    legal = []
    for suite in suites:
        for known, source in suite.sets.items():
            groups = set(source.dataset.table(["group"])["group"].unique().to_pylist())
            if not isinstance(suite, Classification) or "train" not in groups:
                continue
            legal.append(known)
            if known == name and suite.in_distribution in (None, name):
                return source, source.classes or tuple(class_names(suite))
    raise ValueError(f"fine_tune.sets {name!r}; legal: {', '.join(sorted(set(legal))) or 'none'}")


def _suites(suites: Sequence[Suite], name: str, source: Source) -> list[Classification]:
    """The set alone, then every suite of its shifts."""
    shifts = [s for s in suites if isinstance(s, Classification) and s.in_distribution == name]
    return [Classification(f"fine-tune {name}", {name: source}, ("{}",)), *shifts]


def training_split(source: Source, classes: Sequence[str], out: str) -> Dataset:
    """The rows that are trained on, labels in the order of `classes`; drops are counted."""
    label = {name: index for index, name in enumerate(classes)}

    def write(folder: str) -> Mapping[str, int]:
        dropped = 0
        for number, batch in enumerate(source.dataset.batches(LABELLED.names)):
            rows = [
                {**row, "label": label[row["class_name"]]}
                for row in batch.to_pylist()
                if row["group"] in TRAINED_ON and row["class_name"] in label
            ]
            good = [row for row in rows if not flaw(row["image"])]
            dropped += len(rows) - len(good)
            if good:
                table = pa.Table.from_pylist(good, LABELLED)
                datasets.write_shard(posixpath.join(folder, f"{number:05d}.parquet"), table)
        return {"undecodable": dropped} if dropped else {}

    settings = {"splits": list(TRAINED_ON), "classes": list(classes)}
    return datasets.build(
        out, name="labelled", config=settings, seed=0, parents=[source.dataset], write=write
    )


def _trained(
    job: Job,
    config: FineTune,
    name: str,
    classes: Sequence[str],
    data: Dataset,
    start: Dataset,
    fit: Fit,
) -> Dataset:
    from models.classifier import ClassifierConfig
    from models.clip import CLIPConfig
    from models.training.loaders import LoaderConfig
    from models.training.loop import TrainConfig
    from models.training.optimizer import OptimizerConfig
    from models.weights import read_config
    from workflows.train import Schedule, train_model

    there = read_config(start.path)
    if not isinstance(there, CLIPConfig):
        raise ValueError(f"{start.path} is a {type(there).__name__}; legal: a CLIP")
    batch = min(config.batch_size, data.manifest.rows)
    steps = max(1, round(config.epochs * data.manifest.rows / batch))
    optimizer = OptimizerConfig(rate=config.rate, warm_up=min(100, steps // 10))
    schedule = Schedule(
        LoaderConfig(fit=fit),
        TrainConfig(steps=steps, batch_size=batch, seed=config.seed, optimizer=optimizer),
    )
    network = ClassifierConfig(there.vision, len(classes))
    return train_model(job, f"fine-tune/{name}/network", network, data, schedule, start)
