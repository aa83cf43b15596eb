"""Training as a stage: a dataset in, a checkpoint folder with a manifest out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from models.blip.blip import BLIPConfig
from models.blip.med import with_words
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig
from models.tokenizers.clip import Tokenizer
from models.training.curve import Line
from models.training.loaders import LoaderConfig
from models.training.loop import Loading, TrainConfig
from models.training.on_ray import Workers, train_on_ray
from models.weights import ModelConfig, content_hash, load_tokenizer
from pipelines.datasets import Dataset
from pipelines.engines import ray_session
from workflows.console import Update
from workflows.job import Job

Model = CLIPConfig | BLIPConfig | ClassifierConfig


@dataclass(frozen=True)
class Schedule:
    """How a model is trained, whichever it is."""

    loading: LoaderConfig = field(default_factory=LoaderConfig)
    """How images of one size become batches."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long, how large, and from which seed."""
    workers: Workers = field(default_factory=Workers)
    """Processes; by default one on CPU, one a GPU where there are any."""


def seeded(schedule: Schedule, seed: int) -> Schedule:
    """The same schedule with another seed."""
    return replace(schedule, train=replace(schedule.train, seed=seed))


def train_model(
    job: Job,
    folder: str,
    model: Model,
    data: Dataset,
    schedule: Schedule,
    start: Dataset | None = None,
) -> Dataset:
    """The checkpoint in the job's `folder` of `model` trained on `data`.

    A CLIP or a BLIP takes `samples` and learns its vocabulary from their texts, at most as large as
    its config says, or has that of the checkpoint `start` that it goes on from; a classifier takes
    `labelled` images. A killed run goes on from its latest checkpoint.
    """
    return train_network(
        job,
        folder,
        lambda: _with_vocabulary(model, data, start),
        data,
        schedule,
        config={"model": model},
        parents=[data, *([start] if start is not None else [])],
        start=start.path if start is not None else "",
    )


def train_network(
    job: Job,
    folder: str,
    network: Callable[[], tuple[ModelConfig, Tokenizer | None]],
    data: Dataset,
    schedule: Schedule,
    *,
    config: Mapping[str, object],
    parents: Sequence[Dataset],
    start: str = "",
    beside: str = "",
    loading: Loading | None = None,
) -> Dataset:
    """The checkpoint in the job's `folder` of what `network` gives, trained on `data`.

    Args:
        config: what that depends on beside data and schedule, for the manifest.
        parents: datasets that the checkpoint comes from.
        start, beside: checkpoints, as `models.training.loop.train` takes them.
        loading: instead of the schedule's, for what is not made of images of one size.
    """
    loading = loading or schedule.loading

    def write(path: str, update: Update) -> Mapping[str, int]:
        model, tokenizer = network()
        with ray_session(job.engines):
            train_on_ray(
                path,
                model,
                data.path,
                config=schedule.train,
                loading=loading,
                tokenizer=tokenizer,
                start=start,
                beside=beside,
                workers=schedule.workers,
                report=lambda line: update(int(line["step"]), schedule.train.steps, _note(line)),
            )
        return {}

    return job.build(
        f"train {folder}",
        "checkpoint",
        write,
        folder=folder,
        config={**config, "loading": loading, "train": schedule.train},
        seed=schedule.train.seed,
        parents=parents,
        content_hash=content_hash,
    )


def _with_vocabulary(
    model: Model, data: Dataset, start: Dataset | None
) -> tuple[Model, Tokenizer | None]:
    if isinstance(model, ClassifierConfig):
        return model, None
    added = 2 if isinstance(model, BLIPConfig) else 0  # the words that begin BLIP's readings
    if start is not None:
        tokenizer = load_tokenizer(start.path)
    else:
        tokenizer = Tokenizer.learn(texts(data), model.text.vocab_size - added)
    if isinstance(model, BLIPConfig):
        return replace(model, text=with_words(model.text, tokenizer.vocab_size)), tokenizer
    return replace(model, text=replace(model.text, vocab_size=tokenizer.vocab_size)), tokenizer


def texts(samples: Dataset) -> Iterator[str]:
    """Every text of a samples dataset."""
    for batch in samples.batches(["texts"]):
        for row in batch.column(0).to_pylist():
            yield from (text["text"] for text in row)


def example_texts(screens: Dataset) -> Iterator[str]:
    """Every prompt and every answer of a `screen_examples` dataset."""
    for batch in screens.batches(["examples"]):
        for examples in batch.column(0).to_pylist():
            for example in examples:
                yield from (example["prompt"], example["target"])


def _note(line: Line) -> str:
    return f"loss {line['loss']:.3f}, {line['examples_per_second']:.0f} images/s"
