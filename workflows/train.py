"""Training as a stage: a dataset in, a checkpoint folder with a manifest out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from models.classifier import ClassifierConfig
from models.clip import CLIPConfig
from models.tokenizer import Tokenizer
from models.training.curve import Line
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig
from models.training.on_ray import Workers, train_on_ray
from models.weights import content_hash
from pipelines.datasets import Dataset
from pipelines.engines import ray_session
from workflows.console import Update
from workflows.job import Job


@dataclass(frozen=True)
class Schedule:
    """How a model is trained, whichever it is."""

    loading: LoaderConfig = field(default_factory=LoaderConfig)
    """How images become batches."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long, how large, and from which seed."""
    workers: Workers = field(default_factory=Workers)
    """Processes; by default one on CPU, one a GPU where there are any."""


def train_model(
    job: Job,
    folder: str,
    model: CLIPConfig | ClassifierConfig,
    data: Dataset,
    schedule: Schedule,
) -> Dataset:
    """The checkpoint in the job's `folder` of `model` trained on `data`.

    A CLIP takes `samples` and learns its vocabulary from their texts, at most as large as its
    config says; a classifier takes `labelled` images. A killed run goes on from its latest
    checkpoint.
    """

    def write(path: str, update: Update) -> Mapping[str, int]:
        network, tokenizer = _with_vocabulary(model, data)
        with ray_session(job.engines):
            train_on_ray(
                path,
                network,
                data.path,
                config=schedule.train,
                loading=schedule.loading,
                tokenizer=tokenizer,
                workers=schedule.workers,
                report=lambda line: update(int(line["step"]), schedule.train.steps, _note(line)),
            )
        return {}

    return job.build(
        f"train {folder}",
        "checkpoint",
        write,
        folder=folder,
        config={"model": model, "loading": schedule.loading, "train": schedule.train},
        seed=schedule.train.seed,
        parents=[data],
        content_hash=content_hash,
    )


def _with_vocabulary(
    model: CLIPConfig | ClassifierConfig, data: Dataset
) -> tuple[CLIPConfig | ClassifierConfig, Tokenizer | None]:
    if not isinstance(model, CLIPConfig):
        return model, None
    tokenizer = Tokenizer.learn(texts(data), model.text.vocab_size)
    return replace(model, text=replace(model.text, vocab_size=tokenizer.vocab_size)), tokenizer


def texts(samples: Dataset) -> Iterator[str]:
    """Every text of a samples dataset."""
    for batch in samples.batches(["texts"]):
        for row in batch.column(0).to_pylist():
            yield from (text["text"] for text in row)


def _note(line: Line) -> str:
    return f"loss {line['loss']:.3f}, {line['examples_per_second']:.0f} images/s"
