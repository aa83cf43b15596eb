"""Pic2Word behind the protocols: its CLIP encodes, and its mapper makes words of pictures.

Shapes: Q queries, D embedding width.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from evaluators.networks import CLIPEncoder
from evaluators.zero_shot import Vectors
from models import weights
from models.pic2word import Pic2Word
from models.pixels import Fit

QUERIES_A_BATCH = 256


class Pic2WordEncoder(CLIPEncoder):
    """The Pic2Word in the folder `path` as an `Encoder` and a `Composer`."""

    def __init__(self, path: str, fit: Fit = "crop") -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.fit, self.precision = fit, "float32"
        self.whole = cast(Pic2Word, weights.load(path)).to(self.device)
        self.network, self.config = self.whole.clip, self.whole.config.clip
        self.tokenizer = weights.load_tokenizer(path)

    def compose(self, starred: list[str], images_QD: Vectors) -> Vectors:
        """(Q, D) of texts with a `*` each. Raises ValueError for one without."""
        length, parts = self.config.text.context_length, []
        for start in range(0, len(starred), QUERIES_A_BATCH):
            rows = slice(start, start + QUERIES_A_BATCH)
            tokens = self.tokenizer(starred[rows], length).to(self.device)
            images = torch.from_numpy(np.array(images_QD[rows], np.float32)).to(self.device)
            with torch.inference_mode():
                parts.append(self.whole.encode_text(tokens, images).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, self.config.embedding), np.float32)
