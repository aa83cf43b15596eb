"""Screens as training batches, and a ScreenAI through the loop: it learns, a killed run ends where
an uninterrupted one does, and in the second stage the ViT stays bit for bit.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.layers.block import BlockConfig
from models.screenai import ScreenAIConfig
from models.t5 import IGNORED, T5Config
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.curve import Line, read_curve
from models.training.loaders import LoaderConfig, Share
from models.training.loop import TrainConfig, train
from models.training.optimizer import OptimizerConfig
from models.training.rows import InMemory, Streamed
from models.training.screens import ScreenLoader, ScreenLoaderConfig, drawn, labels, prompts
from models.vision.patching import PatchingConfig, batch_patches
from models.weights import read_tensors
from pipelines import datasets, storage
from pipelines.datasets import open_dataset
from pipelines.records import SCREEN_EXAMPLES, record_id

BYTES = ByteTokenizer([])
PATCHING = PatchingConfig(4, 12)
TINY = ScreenAIConfig(
    PATCHING,
    BlockConfig(16, 2, 24, epsilon=1e-6),
    vision_depth=2,
    places=13,
    language=T5Config(
        BYTES.vocab_size, 20, 2, heads=2, head_width=8, hidden=24, pad=BYTES.end, end=BYTES.end
    ),
)
CONFIG = TrainConfig(
    steps=4,
    batch_size=6,
    optimizer=OptimizerConfig(rate=3e-3, warm_up=1, weight_decay=0.0),
    log_every=1,
    checkpoint_every=2,
)
LOADING = ScreenLoaderConfig(prompt_tokens=12, answer_tokens=8, threads=1)
WEIGHTS = (3.0, 1.0)


class KilledError(Exception):
    pass


def png(number: int) -> bytes:
    shape = (12 + number, 30 - number, 3)
    pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def screen(number: int) -> dict[str, Any]:
    examples = [
        {
            "example_id": record_id(str(number), task),
            "task": task,
            "prompt": f"{task} of {number}?",
            "target": f"{task[0]} {number}",
            "weight": weight,
        }
        for task, weight in zip(("question", "summary"), WEIGHTS, strict=True)
    ]
    own = {"image_id": record_id(str(number)), "template": "", "screen": "TEXT 0 9 0 9"}
    return {**own, "image": png(number), "examples": examples}


@pytest.fixture
def data(tmp_path: Path) -> str:
    folder, shards = str(tmp_path / "data"), []
    for first in range(0, 14, 5):
        rows = [screen(number) for number in range(first, min(first + 5, 14))]
        file = f"{first:05d}.parquet"
        datasets.write_shard(f"{folder}/{file}", pa.Table.from_pylist(rows, SCREEN_EXAMPLES))
        shards.append(datasets.Shard(file, len(rows), ""))
    manifest = datasets.Manifest(
        "screen_examples", [], 14, shards, "hash", {}, "", 0, "", [], {}, {}
    )
    storage.write_json(f"{folder}/manifest.json", dataclasses.asdict(manifest))
    return folder


def loader(data: str, config: ScreenLoaderConfig = LOADING, **more: Any) -> ScreenLoader:
    settings: dict[str, Any] = {"batch_size": 6, "seed": 3, "tokenizer": BYTES, **more}
    return ScreenLoader(open_dataset(data), patching=PATCHING, config=config, **settings)


def run(folder: Path, data: str, **changes: Any) -> dict[str, Tensor]:
    settings: dict[str, Any] = {"config": CONFIG, "loading": LOADING, "tokenizer": BYTES}
    path = train(str(folder), changes.pop("model", TINY), data, **{**settings, **changes})
    return read_tensors(f"{path}/model.safetensors")


def test_a_batch_is_the_screens_patches_and_texts(data: str) -> None:
    made = loader(data)
    epoch, rows = made.chosen(1)
    batch = made.batch(1)
    numbers = [[record_id(str(n)) for n in range(14)].index(i) for i in made.rows.ids[rows]]
    pictures = [np.array(Image.open(io.BytesIO(png(n)))).transpose(2, 0, 1) for n in numbers]
    expected = batch_patches([torch.from_numpy(p) for p in pictures], PATCHING)
    assert epoch == 0 and all(torch.equal(batch[key], expected[key]) for key in expected)
    for row, number in enumerate(numbers):
        prompt = BYTES.decode(batch["tokens"][row][batch["valid"][row] > 0].tolist())
        answer = batch["labels"][row][batch["labels"][row] != IGNORED].tolist()
        task = prompt.split()[0]
        assert prompt == f"{task} of {number}?"[:12]
        assert answer == [*BYTES.encode(f"{task[0]} {number}"), BYTES.end]


def test_streamed_screens_and_shares_of_ranks_are_the_same_batch(data: str) -> None:
    held, streamed = loader(data), loader(data, replace(LOADING, memory_mb=0))
    assert isinstance(held.rows, InMemory) and isinstance(streamed.rows, Streamed)
    seen = [
        {row for s in (0, 1) for row in made.rows.ids[made.chosen(s)[1]]}
        for made in (held, streamed)
    ]
    assert [len(ids) for ids in seen] == [12, 12]
    whole = held.batch(0)
    halves = [loader(data, share=Share(rank, 2)).batch(0) for rank in (0, 1)]
    length = [half["labels"].shape[1] for half in halves]
    for rank, half in enumerate(halves):
        same = whole["labels"][3 * rank : 3 * rank + 3, : length[rank]]
        assert torch.equal(half["labels"], same)


def test_examples_are_drawn_by_their_weights(data: str) -> None:
    examples = screen(0)["examples"]
    counts = Counter(drawn(examples, (n + 0.5) / 400)["task"] for n in range(400))
    assert counts == {"question": 300, "summary": 100}
    made = loader(data)
    said = Counter(
        int(valid) for step in range(60) for valid in made.batch(step)["valid"].sum(dim=1)
    )
    assert set(said) == {12}  # prompts of 13 to 15 bytes lose their tails


def test_long_answers_lose_their_end_and_prompts_are_padded() -> None:
    made = labels(["abc", "abcdef"], BYTES, 4)
    assert made.tolist() == [[*BYTES.encode("abc"), BYTES.end], BYTES.encode("abcd")]
    asked = prompts(["ab", "abcdef", ""], BYTES, 4)
    assert asked["valid"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert asked["tokens"][0, :2].tolist() == BYTES.encode("ab")


def test_a_killed_run_ends_alike_and_the_second_stage_leaves_the_vit(
    data: str, tmp_path: Path
) -> None:
    def kill(line: Line) -> None:
        if line["step"] == 3:
            raise KilledError

    first = run(tmp_path / "whole", data)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", data, report=kill)
    killed = run(tmp_path / "killed", data)
    assert all(torch.equal(killed[key], tensor) for key, tensor in first.items())
    frozen = {"model": replace(TINY, frozen_vision=True), "start": str(tmp_path / "whole")}
    second = run(tmp_path / "second", data, **frozen)
    with pytest.raises(KilledError):
        run(tmp_path / "cut", data, report=kill, **frozen)
    again = run(tmp_path / "cut", data, **frozen)
    for key, tensor in second.items():
        assert torch.equal(again[key], tensor)
        assert torch.equal(first[key], tensor) == key.startswith("vision."), key


def test_it_learns_its_answers(data: str, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(rate=1e-2, warm_up=3, weight_decay=0.0)
    run(tmp_path / "run", data, config=replace(CONFIG, steps=40, optimizer=optimizer))
    losses = [line["loss"] for line in read_curve(str(tmp_path / "run"))]
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_what_does_not_fit_is_named(data: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="loading is LoaderConfig, should be ScreenLoaderConfig"):
        run(tmp_path / "run", data, loading=LoaderConfig())
    with pytest.raises(ValueError, match=r"language.vocab_size=200, the tokenizer has 257 ids"):
        small = replace(TINY, language=replace(TINY.language, vocab_size=200))
        run(tmp_path / "run", data, model=small)
    with pytest.raises(ValueError, match=r"batch_size=20 exceeds .*: 14 rows"):
        run(tmp_path / "run", data, config=replace(CONFIG, batch_size=20))
