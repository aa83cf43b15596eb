"""Training batches from a dataset of images, as a pure function of the step.

`Loader.batch(step)` depends on the data, the seed and the step alone: the order of an epoch, each
image's augmentation and the text chosen for it come from hashes of (seed, epoch, record id). So a
resumed run sees what the uninterrupted one saw, and the global batch is the same on any number of
ranks, each of which takes its slice of it.

Shapes: B batch of this rank, H height, W width, L tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.pixels import Fit, decode_many
from models.tokenizers.clip import Tokenizer
from models.training.augment import AugmentConfig, augment, draws
from models.training.rows import Decode, InMemory, Order, RowGroups, Streamed
from pipelines.datasets import Dataset

Target = Literal["texts", "label", "image_id", "examples"]
"""The column beside the image: what is read or told apart, nothing of either (the id), or a
screen's prompts and answers.
"""


@dataclass(frozen=True)
class LoaderConfig:
    """How images become a batch."""

    augment: AugmentConfig = field(default_factory=AugmentConfig)  # of each image, each epoch anew
    zoom: float = 1.0  # side of the decoded image over the side that the network takes, at least 1
    fit: Fit = "crop"  # how an image that is not of the frame's shape gets into it
    memory_mb: int = 4096  # decoded images above this are not held in memory, mebibytes a rank
    window: int = 8  # row groups shuffled together (and held) where they are not
    threads: int = 0  # that decode; 0 is one a core


@dataclass(frozen=True)
class Share:
    """The part of each global batch that a rank takes."""

    rank: int = 0
    ranks: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))  # where it is made


class Batches(Protocol):
    """What a run takes its batches from."""

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the data."""

    @property
    def streamed(self) -> bool:
        """Whether making a batch is work worth doing ahead."""

    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of a step."""


class ImageLoader:
    """Which images a step takes, and where they are kept.

    Args:
        image_bytes: of a decoded image; all of them are held where `memory_mb` has room.
        batch_size: global; the ranks share it evenly.
        window: row groups shuffled together, and held, where there is no room.

    Raises ValueError where the data cannot fill one batch or the ranks do not divide it.
    """

    def __init__(
        self,
        dataset: Dataset,
        target: Target,
        decode: Decode,
        image_bytes: int,
        *,
        batch_size: int,
        seed: int,
        share: Share | None,
        memory_mb: int,
        window: int,
    ) -> None:
        self.target, self.batch_size, self.seed = target, batch_size, seed
        self.share = share or Share()
        if batch_size % self.share.ranks:
            raise ValueError(f"{self.share.ranks} ranks must divide batch_size={batch_size}")
        groups = RowGroups(dataset, ["image", target])
        rows = len(groups.ids)
        self.steps_per_epoch = rows // batch_size
        if not self.steps_per_epoch:
            raise ValueError(f"batch_size={batch_size} exceeds {dataset.path}: {rows} rows")
        self.ordered: tuple[int, Order] = (-1, np.empty(0, dtype=np.int64))
        self.rows: InMemory | Streamed
        if rows * image_bytes <= memory_mb << 20:
            self.rows = InMemory(groups, decode)
        else:
            self.rows = Streamed(groups, decode, window)

    @property
    def streamed(self) -> bool:
        """Whether images are decoded while the network works."""
        return isinstance(self.rows, Streamed)

    def chosen(self, step: int) -> tuple[int, Order]:
        """The step's epoch, and the row numbers of this rank's share of its batch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self.ordered[0] != epoch:
            self.ordered = (epoch, self.rows.order(self.seed, epoch))
        size = self.batch_size // self.share.ranks
        first = place * self.batch_size + self.share.rank * size
        return epoch, self.ordered[1][first : first + size]


class Loader(ImageLoader):
    """Batches of pixels and tokens, of pixels and labels, or of pixels alone.

    Args:
        dataset: of `samples` or, for labels, of `labelled`; either for pixels alone.
        batch_size: global; the ranks share it evenly.
        context_length: most tokens of a text.
        target: by default texts with a tokenizer, labels without one.

    Raises ValueError where the data cannot fill one batch or the ranks do not divide it.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        image_size: tuple[int, int],
        batch_size: int,
        config: LoaderConfig,
        seed: int,
        tokenizer: Tokenizer | None = None,
        context_length: int = 77,
        target: Target | None = None,
        share: Share | None = None,
    ) -> None:
        self.image_size, self.config = image_size, config
        self.tokenizer, self.context_length = tokenizer, context_length
        target = target or ("label" if tokenizer is None else "texts")
        if target == "texts" and tokenizer is None:
            raise ValueError("texts need a tokenizer, got None")
        self.pool = ThreadPoolExecutor(config.threads or os.cpu_count() or 1)
        self.frame = (round(config.zoom * image_size[0]), round(config.zoom * image_size[1]))
        self.alpha = config.augment.background > 0
        super().__init__(
            dataset,
            target,
            self._decode,
            (4 if self.alpha else 3) * self.frame[0] * self.frame[1],
            batch_size=batch_size,
            seed=seed,
            share=share,
            memory_mb=config.memory_mb,
            window=config.window,
        )

    def _decode(self, images: Sequence[bytes]) -> NDArray[np.uint8]:
        return decode_many(images, self.frame, self.config.fit, self.alpha, self.pool)

    def batch(self, step: int) -> dict[str, Tensor]:
        """`pixels` (B, 3, H, W) float32 and, by target, `tokens` (B, L) or `labels` (B,) int64 of
        this rank.
        """
        epoch, rows = self.chosen(step)
        found, targets = self.rows.take(rows)
        device = self.share.device
        u_BD = draws(self.seed, epoch, self.rows.ids[rows].tolist())
        pixels = torch.from_numpy(found).to(device)
        out = {"pixels": augment(pixels, self.config.augment, u_BD.to(device), self.image_size)}
        if self.target == "image_id":
            return out
        if self.target == "label":
            return {**out, "labels": torch.tensor(targets, dtype=torch.int64, device=device)}
        assert self.tokenizer is not None
        texts = [
            texts[int(u * len(texts))]["text"]
            for texts, u in zip(targets, u_BD[:, -1].tolist(), strict=True)
        ]
        return {**out, "tokens": self.tokenizer(texts, self.context_length, cut=True).to(device)}


def batches(loader: Batches, first: int, last: int, ahead: int) -> Iterator[dict[str, Tensor]]:
    """Batches of steps [first, last); a thread makes `ahead` of them while the network works."""
    if not ahead:
        for step in range(first, last):
            yield loader.batch(step)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(loader.batch, s) for s in range(first, min(last, first + ahead))]
        for step in range(first, last):
            ready = waiting.pop(0).result()
            if step + ahead < last:
                waiting.append(pool.submit(loader.batch, step + ahead))
            yield ready
