"""Training batches of screens: a screenshot, what is asked of it, and what a model should write.

A row of the data is a screen with all its examples, each with a weight. An epoch shows every screen
once, with one of its examples, drawn by the weights: so the tasks are mixed as the weights say,
whatever number of questions a screen has. Which screens a step takes and which examples are drawn
are hashes of (seed, epoch, image id), as in `models.training.loaders`. A screenshot is cut into
patches as the model's config says and not augmented: a mirrored or cropped screen would contradict
the boxes of its answers.

Shapes: B batch of this rank, N patches, X numbers of a patch, L tokens of a prompt, T of an answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.pixels import whole
from models.t5 import IGNORED
from models.tokenizers.clip import Tokenizer
from models.training.augment import draws
from models.training.loaders import ImageLoader, Share
from models.vision.patching import PatchingConfig, patches, stacked
from pipelines.datasets import Dataset


@dataclass(frozen=True)
class ScreenLoaderConfig:
    """How screens become a batch."""

    prompt_tokens: int = 512  # most of a prompt; what is longer loses its tail
    answer_tokens: int = 512  # most of an answer, its end included; a longer one has no end
    memory_mb: int = 4096  # cut screens above this are not held in memory, mebibytes a rank
    window: int = 8  # row groups shuffled together (and held) where they are not
    threads: int = 0  # that decode; 0 is one a core


class ScreenLoader(ImageLoader):
    """Batches of patches, prompts and answers.

    Args:
        dataset: of `screen_examples`.
        batch_size: global; the ranks share it evenly.

    Raises ValueError where the data cannot fill one batch or the ranks do not divide it.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        patching: PatchingConfig,
        batch_size: int,
        config: ScreenLoaderConfig,
        seed: int,
        tokenizer: Tokenizer,
        share: Share | None = None,
    ) -> None:
        self.patching, self.config, self.tokenizer = patching, config, tokenizer
        self.pool = ThreadPoolExecutor(config.threads or os.cpu_count() or 1)
        super().__init__(
            dataset,
            "examples",
            self._decode,
            patching.budget * (4 * patching.numbers + 16),
            batch_size=batch_size,
            seed=seed,
            share=share,
            memory_mb=config.memory_mb,
            window=config.window,
        )

    def _decode(self, images: Sequence[bytes]) -> NDArray[Any]:
        out = np.empty(len(images), dtype=object)
        for place, cut in enumerate(self.pool.map(self._cut, images)):
            out[place] = cut
        return out

    def _cut(self, image: bytes) -> tuple[Tensor, Tensor]:
        return patches(torch.from_numpy(whole(image)), self.patching)

    def batch(self, step: int) -> dict[str, Tensor]:
        """`patches` (B, N, X), `places` (B, N, 2), `tokens` (B, L), `valid` (B, L) and `labels`
        (B, T) of this rank.
        """
        epoch, rows = self.chosen(step)
        cut, targets = self.rows.take(rows)
        u_B = draws(self.seed, epoch, self.rows.ids[rows].tolist())[:, -1].tolist()
        taken = [drawn(examples, u) for examples, u in zip(targets, u_B, strict=True)]
        config = self.config
        out = stacked(list(cut)) | prompts(
            [one["prompt"] for one in taken], self.tokenizer, config.prompt_tokens
        )
        out["labels"] = labels(
            [one["target"] for one in taken], self.tokenizer, config.answer_tokens
        )
        return {key: value.to(self.share.device) for key, value in out.items()}


def drawn(examples: Sequence[Mapping[str, Any]], u: float) -> Mapping[str, Any]:
    """The example at the quantile `u` in [0, 1) of the weights, which are above 0."""
    edges = list(accumulate(example["weight"] for example in examples))
    wanted = u * edges[-1]
    place = next((place for place, edge in enumerate(edges) if edge > wanted), len(edges) - 1)
    return examples[place]


def prompts(texts: Sequence[str], tokenizer: Tokenizer, most: int) -> dict[str, Tensor]:
    """`tokens` (B, L) and `valid` (B, L) int64, padded on the right."""
    rows = [tokenizer.encode(text)[:most] for text in texts]
    tokens_BL = _filled(rows, tokenizer.end)
    real_B1 = torch.tensor([[len(row)] for row in rows])
    return {"tokens": tokens_BL, "valid": (torch.arange(tokens_BL.shape[1]) < real_B1).long()}


def labels(texts: Sequence[str], tokenizer: Tokenizer, most: int) -> Tensor:
    """Ids (B, T) int64 with an end, IGNORED after it; a text that is cut to `most` has no end."""
    rows = [[*tokenizer.encode(text), tokenizer.end][:most] for text in texts]
    return _filled(rows, IGNORED)


def _filled(rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    out_BL = torch.full((len(rows), max(map(len, rows))), padding, dtype=torch.int64)
    for index, row in enumerate(rows):
        out_BL[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return out_BL
