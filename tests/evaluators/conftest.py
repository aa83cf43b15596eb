"""Small evaluation sets of coloured squares, and models that answer about them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluators.contenders import Contender
from evaluators.suites.labelled import Picture, build_labelled
from pipelines.datasets import Dataset

COLOURS = {
    "red": (230, 20, 20),
    "green": (20, 200, 40),
    "blue": (20, 40, 220),
    "yellow": (230, 220, 20),
    "violet": (150, 20, 200),
    "grey": (120, 120, 120),
}


def square(name: str, shift: int = 0, side: int = 20) -> bytes:
    """A PNG of one colour, moved towards black by `shift`."""
    colour = np.clip(np.array(COLOURS[name]) - shift, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.tile(colour, (side, side, 1))).save(out, "png")
    return out.getvalue()


class ColourEncoder:
    """An encoder that sees mean colours and reads colour words: right about clean squares."""

    logit_scale = 20.0

    def encode_image(self, images: Sequence[bytes]) -> np.ndarray:
        rows = np.full((len(images), 3), np.nan, np.float32)
        for i, image in enumerate(images):
            if image.startswith(b"\x89PNG"):
                array = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), np.float32)
                rows[i] = array.mean(axis=(0, 1)) + 0.5 - 100
        return rows

    def encode_text(self, texts: list[str]) -> np.ndarray:
        found = [next(c for n, c in COLOURS.items() if n in text) for text in texts]
        return np.array(found, np.float32) - 100


class AlwaysFirst:
    """A classifier that knows three classes and likes the first."""

    classes = ("blue", "red", "green")

    def class_logits(self, images: Sequence[bytes]) -> np.ndarray:
        rows = np.tile(np.array([3, 2, 1], np.float32), (len(images), 1))
        rows[[not image.startswith(b"\x89PNG") for image in images]] = np.nan
        return rows


def picture(name: str, group: str, shift: int = 0) -> Picture:
    """One square of a hand."""
    return Picture(f"{group}/{name}/{shift}", square(name, shift), name, group)


LabelledMaker = Callable[[str, Iterable[Picture]], Dataset]


@pytest.fixture
def make_labelled(tmp_path: Path) -> LabelledMaker:
    def make(name: str, pictures: Iterable[Picture]) -> Dataset:
        pictures = list(pictures)
        classes = sorted({p.class_name for p in pictures})
        path = str(tmp_path / "sets" / name)
        return build_labelled(path, lambda: pictures, classes, config={"set": name})

    return make


@pytest.fixture(name="square")
def square_fixture() -> Callable[..., bytes]:
    """`square`, for tests in folders below this one."""
    return square


@pytest.fixture
def colour_eye() -> Contender:
    """`ColourEncoder` as a contender."""
    return Contender("eye", ColourEncoder, settings="colours")
