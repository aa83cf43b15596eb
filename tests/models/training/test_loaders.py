"""Batches are functions of (data, seed, step): of no rank count, shard layout, or memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.pixels import decode, normalise
from models.tokenizers.clip import Tokenizer
from models.training.augment import NONE, AugmentConfig
from models.training.loaders import Loader, LoaderConfig, Share, batches
from models.training.rows import InMemory, Streamed
from pipelines.datasets import open_dataset

TOKENIZER = Tokenizer([])
PLAIN = LoaderConfig(augment=NONE, threads=1)
STREAMED = replace(PLAIN, memory_mb=0, window=2)
Maker = Callable[..., str]


def load(path: str, config: LoaderConfig = PLAIN, **changes: Any) -> Loader:
    settings = {"image_size": (16, 16), "batch_size": 4, "seed": 0, "tokenizer": TOKENIZER}
    return Loader(open_dataset(path), config=config, **{**settings, **changes})


def words(loader: Loader, step: int) -> list[str]:
    """The texts of a batch."""
    tokens = loader.batch(step)["tokens"].tolist()
    return [TOKENIZER.decode(row[1 : row.index(TOKENIZER.end)]) for row in tokens]


def numbers(loader: Loader, step: int) -> list[int]:
    """Which pictures a batch holds, read from their texts; CLIP cuts numbers into digits."""
    found = (text.split("said")[0].removeprefix("picture") for text in words(loader, step))
    return [int("".join(text.split())) for text in found]


@pytest.mark.parametrize("config", [PLAIN, STREAMED])
def test_an_epoch_holds_each_row_once_in_another_order_each_time(
    make_data: Maker, config: LoaderConfig
) -> None:
    loader = load(make_data(22, per_shard=5), config)
    assert loader.steps_per_epoch == 5
    epochs = [[n for s in range(5) for n in numbers(loader, 5 * e + s)] for e in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == 20
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != sorted(epochs[0])
    other = load(make_data(22, per_shard=5), config, seed=1)
    assert [n for s in range(5) for n in numbers(other, s)] != epochs[0]


@pytest.mark.parametrize("config", [PLAIN, STREAMED])
def test_pictures_belong_to_their_texts(
    make_data: Maker, picture_of: Callable[[int], bytes], config: LoaderConfig
) -> None:
    loader = load(make_data(12, per_shard=5), config)
    for step in (0, 2):
        pixels = loader.batch(step)["pixels"]
        for row, number in enumerate(numbers(loader, step)):
            wanted = normalise(torch.from_numpy(decode(picture_of(number), (16, 16)))[None])
            torch.testing.assert_close(pixels[row : row + 1], wanted)


def test_shard_layout_changes_nothing_in_memory(make_data: Maker) -> None:
    config = replace(PLAIN, augment=AugmentConfig(rotation=10, brightness=0.2))
    one = load(make_data(12, folder="a"), config)
    many = load(make_data(12, folder="b", per_shard=5, backwards=True), config)
    for step in range(7):
        a, b = one.batch(step), many.batch(step)
        assert torch.equal(a["pixels"], b["pixels"]) and torch.equal(a["tokens"], b["tokens"])


@pytest.mark.parametrize("config", [PLAIN, STREAMED])
def test_ranks_share_the_batch_of_one(make_data: Maker, config: LoaderConfig) -> None:
    path = make_data(22, per_shard=5)
    whole = load(path, config)
    ranks = [load(path, config, share=Share(rank, 2)) for rank in range(2)]
    for step in range(8):
        assert numbers(whole, step) == numbers(ranks[0], step) + numbers(ranks[1], step)


def test_augmentation_belongs_to_record_and_epoch(make_data: Maker) -> None:
    path = make_data(8)
    config = replace(PLAIN, augment=AugmentConfig())
    loader, streamed = load(path, config), load(path, replace(config, memory_mb=0))
    seen: dict[tuple[int, int], torch.Tensor] = {}
    for step in range(4):
        for row, n in enumerate(numbers(loader, step)):
            seen[step // 2, n] = loader.batch(step)["pixels"][row]
    assert not torch.equal(seen[0, 3], seen[1, 3])
    for step in range(4):  # another order, the same pictures
        for row, n in enumerate(numbers(streamed, step)):
            assert torch.equal(streamed.batch(step)["pixels"][row], seen[step // 2, n])


def test_texts_of_a_picture_take_turns(make_data: Maker) -> None:
    loader = load(make_data(4, texts=3), batch_size=4)
    chosen = [tuple(sorted(words(loader, epoch))) for epoch in range(12)]
    kinds = {text.split("said")[1] for texts in chosen for text in texts}
    assert len(kinds) == 3 and len(set(chosen)) > 3
    assert chosen == [tuple(sorted(words(loader, epoch))) for epoch in range(12)]


def test_windows_keep_neighbouring_row_groups_together(make_data: Maker) -> None:
    loader = load(make_data(40, per_shard=5), STREAMED, batch_size=10)
    for step in range(4):
        groups = {number // 5 for number in numbers(loader, step)}
        assert len(groups) == 2
    assert isinstance(loader.rows, Streamed) and len(loader.rows.held) <= 4


def test_labels(make_data: Maker) -> None:
    loader = load(make_data(10, "labelled"), tokenizer=None, batch_size=10)
    batch = loader.batch(0)
    assert batch["labels"].dtype == torch.int64 and "tokens" not in batch
    assert sorted(batch["labels"].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_transparency_is_kept_for_random_backgrounds(make_data: Maker) -> None:
    config = replace(PLAIN, augment=replace(NONE, background=1.0))
    loader = load(make_data(4, alpha=True), config)
    assert isinstance(loader.rows, InMemory) and loader.rows.pixels.shape == (4, 4, 16, 16)
    a, b = loader.batch(0)["pixels"], loader.batch(1)["pixels"]
    assert a.shape == (4, 3, 16, 16) and not torch.equal(a, b)


def test_zoom_decodes_larger_than_the_network_takes(make_data: Maker) -> None:
    loader = load(make_data(4), replace(PLAIN, zoom=1.25))
    assert isinstance(loader.rows, InMemory) and loader.rows.pixels.shape[2:] == (20, 20)
    assert loader.batch(0)["pixels"].shape == (4, 3, 16, 16)


@pytest.mark.parametrize("ahead", [0, 3])
def test_batches_come_in_order_made_ahead_or_not(make_data: Maker, ahead: int) -> None:
    loader = load(make_data(22))
    found = list(batches(loader, 3, 11, ahead))
    assert len(found) == 8
    for step, batch in enumerate(found, 3):
        assert torch.equal(batch["tokens"], loader.batch(step)["tokens"])


def test_what_cannot_be_loaded_is_named(make_data: Maker) -> None:
    path = make_data(3)
    with pytest.raises(ValueError, match=r"batch_size=4 exceeds .*data: 3 rows"):
        load(path)
    with pytest.raises(ValueError, match="2 ranks must divide batch_size=3"):
        load(path, batch_size=3, share=Share(0, 2))
