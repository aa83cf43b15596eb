"""The recipe from text files to a GPT that writes, as the command line runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch

from models.generation import GenerationConfig
from models.gpt import GPT
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.curve import read_curve
from models.weights import load, load_tokenizer
from pipelines.datasets import open_dataset
from workflows import cli
from workflows.train_gpt import MODELS, TrainGPTConfig, vocabulary

LINES = [f"the {colour} {animal} sleeps" for colour in ("red", "blue") for animal in ("cat", "ox")]


@pytest.fixture
def texts(tmp_path: Path) -> str:
    rows = (json.dumps({"text": "\n".join(LINES * 25)}) for _ in range(3))
    (tmp_path / "corpus.jsonl").write_text("\n".join(rows))
    return str(tmp_path / "*.jsonl")


def test_texts_to_a_gpt(texts: str, tmp_path: Path, ray_session: None) -> None:
    out = str(tmp_path / "checkpoints" / "gpt")
    arguments = ["--texts", texts, "--out", out, "--train.steps", "4", "--train.batch-size", "2"]
    arguments += ["--train.log-every", "1", "--train.optimizer.warm-up", "1", "--workers.cpus", "1"]
    assert cli.run("sightmill train-gpt", TrainGPTConfig, arguments) == 0
    assert [line["step"] for line in read_curve(out)] == [1, 2, 3, 4]
    model, tokenizer = load(out), load_tokenizer(out)
    assert isinstance(model, GPT) and isinstance(tokenizer, ByteTokenizer)
    assert model.config.vocab_size == tokenizer.vocab_size < MODELS["small"].vocab_size
    prompt = torch.tensor([tokenizer.encode(LINES[0])])
    config = GenerationConfig(most=5)
    (written,) = model.generate(prompt, end=tokenizer.end, config=config)
    assert isinstance(tokenizer.decode(written), str)
    manifest = open_dataset(out).manifest
    assert manifest.name == "checkpoint" and len(manifest.config["texts"]) == 32
    assert cli.run("sightmill train-gpt", TrainGPTConfig, arguments) == 0
    assert open_dataset(out).manifest == manifest


def test_the_vocabulary_is_learned_or_read(texts: str, tmp_path: Path) -> None:
    learned = vocabulary(TrainGPTConfig(texts, "out"))
    assert len(learned.encode(" sleeps")) == 1 and learned.end == learned.vocab_size - 1
    names = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256))]
    names += [chr(256 + n) for n in range(256 - len(names))]
    ids = {name: i for i, name in enumerate([*names, "th", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\n")
    read = vocabulary(TrainGPTConfig(texts, "out", tokenizer=str(tmp_path)))
    assert (read.vocab_size, read.end, read.merges) == (258, 257, [(83, 71)])
    ranked = vocabulary(TrainGPTConfig(texts, "out", "WikiText-103", str(tmp_path)))
    assert ranked.end == 0 and ranked.encode("s") in ([1], [2], [3])


def test_every_named_size_is_one_of_ours() -> None:
    assert set(get_args(get_type_hints(TrainGPTConfig)["model"])) == set(MODELS)
