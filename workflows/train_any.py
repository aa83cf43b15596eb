"""A samples dataset to a checkpoint of any model, started from those of its frozen parts.

    sightmill train --model clip-small --data samples --out clip
    sightmill train --model blip2-small --data samples --start clip --out blip2
    sightmill train --model blip2-language-small --data samples --start blip2 --beside gpt --out b2
    sightmill train --model pic2word --data samples --start clip --out pic2word
    sightmill train --model dalle2-small --data samples --start clip --out dalle2 \
        --schedule.train.average 0.9999
    sightmill train --model flamingo-small --data samples --start gpt --beside clip --out flamingo
    sightmill train --model screenai-small --data examples/train --out screenai
    sightmill train --model screenai-small-frozen --data examples/train --start screenai --out tuned

`--start` brings weights to go on from, those of a frozen part among them; `--beside` a frozen
network that the model works with and does not hold. Both are ours (`sightmill train-clip`,
`train-gpt`) or published. The vocabulary is that of the language model or CLIP among them, or for
CLIP, BLIP-2 and ScreenAI learned from the texts. ScreenAI trains in two stages: all of it, then
from that checkpoint all but its ViT.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass, field
from typing import Any

from models.blip2.language import BLIP2LanguageConfig
from models.classifier import ClassifierConfig
from models.screenai import ScreenAIConfig
from models.tokenizers.clip import Tokenizer
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.needs import checked
from models.training.screens import ScreenLoaderConfig
from models.weights import (
    CONFIG,
    TOKENIZER,
    ModelConfig,
    content_hash,
    load_tokenizer,
    parse_config,
    read_bytes,
    read_config,
)
from pipelines.datasets import MANIFEST, Dataset, open_dataset
from pipelines.engines import Engines
from pipelines.hashing import hash_json
from pipelines.storage import filesystem
from workflows.fitted import MODELS, Name, fitted, words_wanted
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.train import Schedule, example_texts, texts, train_network


@dataclass(frozen=True)
class TrainRecipe:
    """Train a model; a killed run goes on from its latest checkpoint."""

    data: str
    """Folder of the samples dataset (for a classifier labelled, for a ScreenAI screen_examples)."""
    out: str
    """Folder of the checkpoint."""
    model: Name = "clip-small"
    """Which model, and the size of what trains; what is frozen has the sizes of its checkpoint."""
    model_file: str = ""
    """A config.json of ours instead of a name; it is taken as it stands."""
    start: str = ""
    """Checkpoint to go on from: of the same model or of its frozen part; ours or published."""
    beside: str = ""
    """Checkpoint of the frozen network beside the model: a language model for blip2-language, a
    vision encoder for flamingo."""
    tokenizer: str = ""
    """Folder with a tokenizer, or CLIP's bpe_simple_vocab_16e6.txt.gz; empty: that of the frozen
    part, or one learned from the texts."""
    schedule: Schedule = field(default_factory=Schedule)
    """How it is trained."""
    screens: ScreenLoaderConfig = field(default_factory=ScreenLoaderConfig)
    """How screens become batches, in place of schedule.loading, for a ScreenAI."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        out, folder = posixpath.split(self.out.rstrip("/"))
        job = Job(out, self.engines)
        train_any(job, folder, self)
        job.console.summary(self.out)


def train_any(job: Job, folder: str, recipe: TrainRecipe) -> Dataset:
    """The checkpoint in the job's `folder` of the recipe's model, trained on its data."""
    data = open_dataset(recipe.data)
    given = [path for path in (recipe.start, recipe.beside) if path]
    config: dict[str, Any] = {"model": named(recipe)}
    config |= {f"checkpoint {place}": content_hash(path) for place, path in enumerate(given)}
    if recipe.tokenizer:
        tokenizer = read_tokenizer(recipe.tokenizer)
        config["tokenizer"] = None if tokenizer is None else hash_json(tokenizer.to_json())
    return train_network(
        job,
        folder,
        lambda: network(recipe, data),
        data,
        recipe.schedule,
        config=config,
        parents=[data, *(open_dataset(path) for path in given if _is_file(path, MANIFEST))],
        start=recipe.start,
        beside=recipe.beside,
        loading=recipe.screens if isinstance(config["model"], ScreenAIConfig) else None,
    )


def named(recipe: TrainRecipe) -> ModelConfig:
    """The model that the recipe names, or that its file holds."""
    if not recipe.model_file:
        return MODELS[recipe.model]
    return parse_config(json.loads(read_bytes(recipe.model_file)))


def network(recipe: TrainRecipe, data: Dataset) -> tuple[ModelConfig, Tokenizer | None]:
    """The model as it is trained, and its vocabulary."""
    config = named(recipe)
    start, beside = (read_config(p) if p else None for p in (recipe.start, recipe.beside))
    tokenizer = vocabulary(recipe, config, data)
    if not recipe.model_file:
        config = fitted(config, tokenizer, start, beside)
    checked(config, tokenizer, recipe.start, beside)  # here, before workers start
    return config, tokenizer


def vocabulary(recipe: TrainRecipe, config: ModelConfig, data: Dataset) -> Tokenizer | None:
    """The tokenizer that the recipe names, else that of the frozen part, else one learned from the
    texts; None for a classifier. Raises ValueError where there is none of these.
    """
    if isinstance(config, ClassifierConfig):
        return None
    of_part = recipe.beside if isinstance(config, BLIP2LanguageConfig) else recipe.start
    for path in (recipe.tokenizer, of_part):
        if path and (found := read_tokenizer(path)) is not None:
            return found
    count = words_wanted(config)
    if count is None:
        raise ValueError(f"no tokenizer in {of_part or 'a start'!r}; name one by --tokenizer")
    if isinstance(config, ScreenAIConfig):
        return ByteTokenizer.learn(example_texts(data), count)
    return Tokenizer.learn(texts(data), count)


def read_tokenizer(path: str) -> Tokenizer | None:
    """The tokenizer at `path`, ours, CLIP's published file, or a byte-level published folder (such
    as GPT-2's or OPT's); None where there is no file of one.
    """
    if path.endswith(".gz"):
        return Tokenizer.from_clip(path)
    if _is_file(path, TOKENIZER):
        if "merges" in json.loads(read_bytes(posixpath.join(path, TOKENIZER))):
            return load_tokenizer(path)
    elif not _is_file(path, "merges.txt"):
        return None
    kind = None
    if _is_file(path, CONFIG):
        kind = json.loads(read_bytes(posixpath.join(path, CONFIG))).get("model_type")
    if kind not in (None, "gpt2", "opt"):
        raise ValueError(
            f"{path}: the tokenizer of a published {kind!r} is not read for training; give another"
            " by --tokenizer, for a CLIP its bpe_simple_vocab_16e6.txt.gz"
        )
    return ByteTokenizer.from_folder(path, *(["</s>"] if kind == "opt" else []))


def _is_file(folder: str, name: str) -> bool:
    fs, inner = filesystem(posixpath.join(folder, name))
    return bool(fs.get_file_info(inner).is_file)
