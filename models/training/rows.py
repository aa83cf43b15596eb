"""A dataset's images and targets by row number, decoded once in memory or read as they are needed.

Both kinds give an epoch's order as a function of (seed, epoch, record id). In memory that is one
permutation of all rows. Streamed, it takes the Parquet row groups in hashed order, a window of them
at a time, and permutes the rows inside the window, so that few groups are held at once.

Shapes: B rows taken, C channels (3, or 4 with alpha), H height, W width.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.datasets import Dataset
from pipelines.storage import filesystem

Decoded = NDArray[Any]
"""uint8 (n, C, H, W), or objects (n,) where images have no common shape."""
Decode = Callable[[Sequence[bytes]], Decoded]
Order = NDArray[np.int64]


def hashed_order(seed: int, epoch: int, keys: Sequence[Any]) -> Order:
    """A permutation of `keys` that depends on (seed, epoch, key) alone."""
    prefix = hashlib.blake2b(f"{seed}\0{epoch}\0order\0".encode(), digest_size=8)

    def value(key: Any) -> bytes:
        digest = prefix.copy()
        digest.update(str(key).encode())
        return digest.digest()

    hashes = np.frombuffer(b"".join(map(value, keys)), dtype=">u8")
    return np.argsort(hashes, kind="stable")


class RowGroups:
    """The Parquet row groups of a dataset, in shard order.

    `ids` are the image ids of all rows; group g holds rows `starts[g]` to `starts[g + 1]`.
    """

    def __init__(self, dataset: Dataset, columns: list[str]) -> None:
        self.columns = columns
        self.groups: list[tuple[str, int]] = []
        ids: list[str] = []
        starts = [0]
        for shard in dataset.shards:
            fs, inner = filesystem(shard)
            with fs.open_input_file(inner) as source, pq.ParquetFile(source) as file:
                for group in range(file.num_row_groups):
                    ids += file.read_row_group(group, ["image_id"]).column(0).to_pylist()
                    self.groups.append((shard, group))
                    starts.append(len(ids))
        self.ids, self.starts = np.array(ids, dtype="U32"), np.array(starts)

    def read(self, number: int) -> pa.Table:
        """The columns of one group."""
        shard, group = self.groups[number]
        fs, inner = filesystem(shard)
        with fs.open_input_file(inner) as source, pq.ParquetFile(source) as file:
            return file.read_row_group(group, self.columns)


class InMemory:
    """Every decoded image and every target; row numbers follow the image ids.

    So how rows lie in shards changes nothing.
    """

    def __init__(self, groups: RowGroups, decode: Decode) -> None:
        image, target = groups.columns
        self.pixels: Decoded = np.empty(0, dtype=np.uint8)
        self.targets: list[Any] = []
        for number in range(len(groups.groups)):
            for batch in groups.read(number).to_batches(max_chunksize=256):
                part = decode(batch.column(image).to_pylist())
                if not self.targets:
                    self.pixels = np.empty((len(groups.ids), *part.shape[1:]), part.dtype)
                self.pixels[len(self.targets) : len(self.targets) + len(part)] = part
                self.targets += batch.column(target).to_pylist()
        self.places = np.argsort(groups.ids, kind="stable")
        self.ids = groups.ids[self.places]

    def order(self, seed: int, epoch: int) -> Order:
        """Row numbers in the epoch's order."""
        return hashed_order(seed, epoch, self.ids.tolist())

    def take(self, rows: Order) -> tuple[Decoded, list[Any]]:
        """Decoded images (B, ...) and targets."""
        places = self.places[rows]
        return self.pixels[places], [self.targets[place] for place in places]


class Streamed:
    """Images decoded as they are taken; `window` row groups are shuffled together and held."""

    def __init__(self, groups: RowGroups, decode: Decode, window: int) -> None:
        self.groups, self.decode, self.window = groups, decode, window
        self.ids = groups.ids
        self.held: OrderedDict[int, pa.Table] = OrderedDict()

    def order(self, seed: int, epoch: int) -> Order:
        """Row numbers in the epoch's order."""
        starts, parts = self.groups.starts, []
        numbers = hashed_order(seed, epoch, range(len(self.groups.groups)))
        for first in range(0, len(numbers), self.window):
            chosen = numbers[first : first + self.window]
            rows = np.concatenate([np.arange(starts[g], starts[g + 1]) for g in chosen])
            parts.append(rows[hashed_order(seed, epoch, self.ids[rows].tolist())])
        return np.concatenate(parts)

    def take(self, rows: Order) -> tuple[Decoded, list[Any]]:
        """Decoded images (B, ...) and targets."""
        image, target = self.groups.columns
        owners = np.searchsorted(self.groups.starts, rows, side="right") - 1
        found: list[dict[str, Any]] = [{}] * len(rows)
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            inside = rows[places] - self.groups.starts[owner]
            part = self._table(int(owner)).take(inside).to_pylist()
            for place, row in zip(places, part, strict=True):
                found[place] = row
        return self.decode([row[image] for row in found]), [row[target] for row in found]

    def _table(self, number: int) -> pa.Table:
        """One row group, from memory if it was used lately; a batch may span two windows."""
        if number not in self.held:
            self.held[number] = self.groups.read(number)
            while len(self.held) > 2 * self.window:
                self.held.popitem(last=False)
        self.held.move_to_end(number)
        return self.held[number]
