"""The order of rows, and rows taken from memory and from shards alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.pixels import decode_many
from models.training.rows import InMemory, RowGroups, Streamed, hashed_order
from pipelines.datasets import open_dataset

Maker = Callable[..., str]


def test_order_is_a_uniform_permutation() -> None:
    keys = [str(i) for i in range(500)]
    order = hashed_order(0, 0, keys)
    assert sorted(order.tolist()) == list(range(500))
    places = np.array([hashed_order(seed, 0, keys).tolist().index(7) for seed in range(60)])
    assert places.min() < 100 and places.max() > 400


def test_both_kinds_take_the_same_rows(make_data: Maker) -> None:
    groups = RowGroups(open_dataset(make_data(11, "labelled", per_shard=4)), ["image", "label"])
    assert groups.starts.tolist() == [0, 4, 8, 11]
    decoded: list[int] = []

    def decode(images: object) -> object:
        decoded.append(len(images))  # type: ignore[arg-type]
        return decode_many(images, (8, 8))  # type: ignore[arg-type]

    held, streamed = InMemory(groups, decode), Streamed(groups, decode, 1)  # type: ignore[arg-type]
    assert decoded == [4, 4, 3]
    wanted = [groups.ids.tolist()[i] for i in (9, 0, 5, 10)]
    found = []
    for rows in (held, streamed):
        numbers = np.array([rows.ids.tolist().index(key) for key in wanted])
        found.append(rows.take(numbers))
    assert (found[0][0] == found[1][0]).all()
    assert found[0][1] == found[1][1] == [4, 0, 0, 0]
    assert decoded == [4, 4, 3, 4]
    assert len(streamed.held) == 2
