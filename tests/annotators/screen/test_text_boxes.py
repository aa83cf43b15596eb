"""Boxes from score maps beside EasyOCR's, on maps like CRAFT's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from annotators.screen.text_boxes import Thresholds, word_boxes


def maps(seed: int, height: int, width: int, words: int) -> tuple[np.ndarray, np.ndarray]:
    """Blurred blobs for letters and for the gaps between them, some words turned, some weak."""
    draw = np.random.default_rng(seed)
    letters, gaps = np.zeros((2, height, width), np.float32)
    for _ in range(words):
        x, y = draw.integers(0, width), draw.integers(0, height)
        turn, strength = draw.choice([0, 0, 0, 0.4, 1.57]), draw.uniform(0.5, 1.4)
        step = draw.integers(4, 9)
        for n in range(draw.integers(1, 8)):
            at = int(x + n * step * np.cos(turn)), int(y + n * step * np.sin(turn))
            cv2.circle(letters, at, int(step // 2), strength, -1)
            between = (int(at[0] + step / 2), int(at[1]))
            cv2.circle(gaps, between, 2, strength, -1)
    noise = draw.uniform(0, 0.15, (2, height, width)).astype(np.float32)
    return cv2.blur(letters, (3, 3)) + noise[0], cv2.blur(gaps, (3, 3)) + noise[1]


@pytest.mark.parametrize("seed", range(6))
def test_boxes_equal_easyocrs(seed: int) -> None:
    from easyocr.craft_utils import getDetBoxes_core

    letters, gaps = maps(seed, 60 + 37 * seed, 300 - 31 * seed, 5 + 6 * seed)
    ours = word_boxes(letters, gaps, Thresholds())
    theirs, _, _ = getDetBoxes_core(letters, gaps, 0.7, 0.4, 0.4)
    assert len(ours) == len(theirs) > 2
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_thresholds_decide() -> None:
    letters, gaps = maps(1, 100, 200, 12)
    every = word_boxes(letters, gaps, Thresholds(certain=0.3))
    few = word_boxes(letters, gaps, Thresholds(certain=1.2))
    assert len(few) < len(every)
    assert (
        word_boxes(np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32), Thresholds()) == []
    )
