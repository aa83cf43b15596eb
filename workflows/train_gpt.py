"""Texts to a GPT checkpoint, on this machine's cores or a cluster's GPUs.

sightmill train-gpt --texts 'corpus/*.jsonl' --out checkpoints/gpt --model GPT-2
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from models import gpt
from models.gpt import GPTConfig
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.loop import TrainConfig
from models.training.on_ray import Workers, train_on_ray
from models.training.optimizer import OptimizerConfig
from models.training.texts import TextLoaderConfig, documents, texts_hash
from models.weights import content_hash
from pipelines.datasets import Dataset
from pipelines.engines import Engines, ray_session
from workflows.console import Update
from workflows.flags import EngineFlags
from workflows.job import Job

MODELS: dict[str, GPTConfig] = {
    "small": gpt.GPT_SMALL,
    "GPT-2": gpt.GPT2,
    "GPT-2-medium": gpt.GPT2_MEDIUM,
    "GPT-2-large": gpt.GPT2_LARGE,
    "GPT-2-XL": gpt.GPT2_XL,
    "GPT-3-125M": gpt.GPT3_125M,
    "GPT-3-350M": gpt.GPT3_350M,
    "GPT-3-760M": gpt.GPT3_760M,
    "GPT-3-1.3B": gpt.GPT3_1_3B,
    "GPT-3-2.7B": gpt.GPT3_2_7B,
    "GPT-3-6.7B": gpt.GPT3_6_7B,
    "GPT-3-13B": gpt.GPT3_13B,
    "GPT-3-175B": gpt.GPT3_175B,
    "WikiText-103": gpt.WIKITEXT_103,
}
Name = Literal[
    "small",
    "GPT-2",
    "GPT-2-medium",
    "GPT-2-large",
    "GPT-2-XL",
    "GPT-3-125M",
    "GPT-3-350M",
    "GPT-3-760M",
    "GPT-3-1.3B",
    "GPT-3-2.7B",
    "GPT-3-6.7B",
    "GPT-3-13B",
    "GPT-3-175B",
    "WikiText-103",
]
# GPT-3's Adam and weight decay; its 125M model's rate, reached in the first steps.
TRAIN = TrainConfig(
    batch_size=32,
    optimizer=OptimizerConfig(
        rate=6e-4, last_rate=0.1, weight_decay=0.1, beta_2=0.95, epsilon=1e-8
    ),
)


@dataclass(frozen=True)
class TrainGPTConfig:
    """Train a GPT on texts; a killed run goes on from its latest checkpoint."""

    texts: str
    """Files of plain text, JSON lines or Parquet, by a path with wildcards."""
    out: str
    """Folder of the checkpoint."""
    model: Name = "small"
    """Size; the named ones have the dimensions of the papers."""
    tokenizer: str = ""
    """Folder of a published vocabulary (GPT-2's vocab.json and merges.txt, or tokenizer.json);
    empty: one is learned from the texts, at most as large as the model's."""
    loading: TextLoaderConfig = field(default_factory=TextLoaderConfig)
    """How files become texts."""
    train: TrainConfig = TRAIN
    """How long, how large, and from which seed."""
    workers: Workers = field(default_factory=Workers)
    """Processes; by default one on CPU, one a GPU where there are any."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        out, folder = posixpath.split(self.out.rstrip("/"))
        job = Job(out, self.engines)
        train_gpt(job, folder, self)
        job.console.summary(self.out)


def train_gpt(job: Job, folder: str, config: TrainGPTConfig) -> Dataset:
    """The checkpoint in the job's `folder` of a GPT trained on texts."""

    def write(path: str, update: Update) -> Mapping[str, int]:
        tokenizer = vocabulary(config)
        with ray_session(job.engines):
            train_on_ray(
                path,
                replace(MODELS[config.model], vocab_size=tokenizer.vocab_size),
                config.texts,
                config=config.train,
                loading=config.loading,
                tokenizer=tokenizer,
                workers=config.workers,
                report=lambda line: update(
                    int(line["step"]),
                    config.train.steps,
                    f"loss {line['loss']:.3f}, {line['examples_per_second']:.1f} sequences/s",
                ),
            )
        return {}

    return job.build(
        f"train {folder}",
        "checkpoint",
        write,
        folder=folder,
        config={
            "model": MODELS[config.model],
            "texts": texts_hash(config.texts),
            "tokenizer": config.tokenizer,
            "loading": config.loading,
            "train": config.train,
        },
        seed=config.train.seed,
        content_hash=content_hash,
    )


def vocabulary(config: TrainGPTConfig) -> ByteTokenizer:
    """The published vocabulary, or one learned from the texts; for an adaptive model numbered by
    frequency in them.
    """
    model, field = MODELS[config.model], config.loading.field
    if config.tokenizer:
        tokenizer = ByteTokenizer.from_folder(config.tokenizer)
    else:
        tokenizer = ByteTokenizer.learn(documents(config.texts, field), model.vocab_size)
    if model.adaptive is not None:
        tokenizer = tokenizer.by_frequency(documents(config.texts, field))
    return tokenizer
