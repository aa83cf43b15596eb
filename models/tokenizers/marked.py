"""What every tokenizer that marks a text's start and end shares: texts to padded rows of ids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class MarkedTokenizer(Protocol):
    """Ids of a text between a start and an end."""

    start: int
    end: int
    pad: int

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end."""

    def __call__(self, texts: Sequence[str], context_length: int = 77, cut: bool = False) -> Tensor:
        """Token ids (B, L) int64, start and end included, padded with `pad`.

        A text too long loses its tail and keeps its end. L is `context_length`, or with `cut` that
        of the longest text.
        """
        if context_length < 3:
            raise ValueError(f"context_length={context_length} must be at least 3")
        rows = [[self.start, *self.encode(t)[: context_length - 2], self.end] for t in texts]
        length = max(map(len, rows), default=0) if cut else context_length
        out_BL = np.full((len(rows), length), self.pad, dtype=np.int64)
        for index, row in enumerate(rows):
            out_BL[index, : len(row)] = row
        return torch.from_numpy(out_BL)
