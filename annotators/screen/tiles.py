"""Screens that are far longer than wide, or wider than long, in parts that a network can read.

A detector sees a picture at 640 pixels or so, an OCR network at 2,560 at most: of a screen of 8,000
by 300, or of a whole page of 1,280 by 12,000, nothing would be left. Such a screen is looked at in
tiles that overlap, and each tile is believed about what has its middle in the tile's own part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from annotators.screen.ocr import Pixels

LONGEST = 3.0
"""Longer side over shorter one up to which a screen is looked at in one piece."""
LENGTH, LEAST = 1.6, 640
"""Of a tile: in shorter sides, and in pixels at least."""
OVERLAP = 0.25
"""Share of a tile that it looks beyond its own part, to either side."""


@dataclass(frozen=True)
class Tile:
    """A part of a screen."""

    pixels: Pixels
    left: int
    top: int
    own: tuple[float, float]
    """From where to where, in the screen's pixels along its longer side, it is believed."""
    across: bool
    """Whether the longer side is the horizontal one."""

    def owns(self, left: float, right: float, top: float, bottom: float) -> bool:
        """Whether a box, in the screen's pixels, has its middle in the tile's own part."""
        middle = (left + right) / 2 if self.across else (top + bottom) / 2
        return self.own[0] <= middle < self.own[1]


def tiles(screen: Pixels) -> Iterator[Tile]:
    """The whole of `screen` (H, W, 3) as one tile, or its tiles if it is long."""
    height, width = screen.shape[:2]
    longer, shorter, across = max(height, width), min(height, width), width >= height
    if longer <= LONGEST * shorter or longer <= LEAST:
        yield Tile(screen, 0, 0, (0.0, float("inf")), across)
        return
    length = max(LEAST, round(LENGTH * shorter))
    count = -(-longer // length)
    for number in range(count):
        low, high = number * longer / count, (number + 1) * longer / count
        extra = OVERLAP * length
        start, end = max(0, int(low - extra)), min(longer, int(high + extra))
        part = screen[:, start:end] if across else screen[start:end]
        last = number == count - 1
        own = (low if number else 0.0, float("inf") if last else high)
        yield Tile(part, start if across else 0, 0 if across else start, own, across)
