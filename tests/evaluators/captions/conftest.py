"""Captions by seed, and what the COCO caption evaluation was measured to say of some."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Captions = tuple[list[str], list[list[str]]]


@pytest.fixture(scope="session")
def coco_evaluation() -> dict[str, Any]:
    """Captions with the tokens and scores that pycocoevalcap 1.2 gives them under Java."""
    return json.loads((Path(__file__).parent / "coco_evaluation.json").read_text())


@pytest.fixture(scope="session")
def draw_captions() -> Callable[..., Captions]:
    """Tokenized captions drawn by seed: candidates, and 1 to `most` references of each."""

    def draw(
        seed: int, images: int, most: int = 5, words: int = 30, empty: float = 0.05
    ) -> Captions:
        rng = random.Random(seed)
        vocabulary = [
            *["的", "собака", "कुत्ता", "naïve", "'s", "n't", "-lrb-"],
            *(f"w{i}" for i in range(words)),
        ]

        def caption() -> str:
            if rng.random() < empty:
                return ""
            few = vocabulary[: rng.choice([4, len(vocabulary)])]
            return " ".join(rng.choice(few) for _ in range(rng.randint(1, 14)))

        references = [[caption() for _ in range(rng.randint(1, most))] for _ in range(images)]
        own = [rng.choice(refs) if rng.random() < 0.1 else caption() for refs in references]
        return own, references

    return draw
