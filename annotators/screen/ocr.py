"""Text lines of screenshots: what any engine gives, and how lines become blocks.

Two engines fit: `annotators.screen.easy.EasyOcr`, EasyOCR's networks run in batches across
screens, and `annotators.screen.rapid.RapidOcr`. A line is one row of words at one place; lines of
like height that follow each other closely, such as a paragraph's, make a block. Blocks come in
reading order.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annotators.screen.layout import Edges, quantise, reading_order
from annotators.screen.schema import Element

Pixels = npt.NDArray[np.uint8]
"""A screenshot (H, W, 3), RGB."""
PITCH = 1.35
"""Most from the middle of a line to the middle of the next in its block, in heights of the higher
one. Boxes fit the letters closely, so that this is a line height of some 1.5; a list's is more."""
ALIKE = 1.5
"""Most that the heights, or the mean widths of a letter, of two such lines differ, as a ratio."""


@dataclass(frozen=True)
class Line:
    """A line of text."""

    text: str
    edges: Edges
    """left, right, top, bottom in pixels."""
    confidence: float
    """In [0, 1], by the engine's own measure."""

    @property
    def height(self) -> float:
        """In pixels."""
        return self.edges[3] - self.edges[2]

    @property
    def letter_width(self) -> float:
        """In pixels, the mean one."""
        return (self.edges[1] - self.edges[0]) / max(1, len(self.text))


@dataclass(frozen=True)
class Block:
    """Lines that are read together."""

    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The lines, a space between two."""
        return " ".join(line.text for line in self.lines)

    @property
    def edges(self) -> Edges:
        """left, right, top, bottom in pixels, around all lines."""
        left, right, top, bottom = zip(*(line.edges for line in self.lines), strict=True)
        return min(left), max(right), min(top), max(bottom)


class Engine(Protocol):
    """Reads screenshots."""

    def read(self, screens: Sequence[Pixels]) -> list[list[Line]]:
        """The lines of each screenshot, (H, W, 3) RGB each; sizes may differ."""


def decode(image: bytes) -> Pixels:
    """An encoded screenshot as (H, W, 3) RGB, what is transparent on white.

    Raises OSError for what is no picture.
    """
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        picture = opened.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def blocks(lines: Iterable[Line]) -> list[Block]:
    """All of `lines` in blocks, in reading order; within a block from top to bottom."""
    groups: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.edges[2], line.edges[0])):
        above = [group for group in groups if _follows(line, group[-1])]
        if above:
            nearest = max(above, key=lambda group: group[-1].edges[3])
            nearest.append(line)
        else:
            groups.append([line])
    found = [Block(tuple(group)) for group in groups]
    return [found[place] for place in reading_order([block.edges for block in found])]


def _follows(line: Line, above: Line) -> bool:
    """Whether `line` is the next one of the block that ends with `above`."""
    pitch = (sum(line.edges[2:]) - sum(above.edges[2:])) / 2
    low, high = sorted([line.height, above.height])
    thin, broad = sorted([line.letter_width, above.letter_width])
    common = min(line.edges[1], above.edges[1]) - max(line.edges[0], above.edges[0])
    narrower = min(line.edges[1] - line.edges[0], above.edges[1] - above.edges[0])
    alike = high <= ALIKE * low and broad <= ALIKE * thin
    return high / 2 < pitch <= PITCH * high and alike and 2 * common >= narrower


def text_elements(found: Iterable[Block], screen: Pixels) -> list[Element]:
    """The blocks as TEXT elements of a schema of `screen`."""
    height, width = screen.shape[:2]
    return [Element("TEXT", block.text, quantise(*block.edges, width, height)) for block in found]
