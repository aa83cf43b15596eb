"""Only the parts of a screen on which something is drawn, packed onto one smaller canvas.

Most of an interface is one colour. A pixel is drawn on if it differs from its neighbour; straight
edges longer than any letter's (frames, rules, panels) do not count. What lies closer than twice
MARGIN is one part, an upright rectangle, and keeps MARGIN pixels of what is around it, so that a
text detector sees words as they were. The parts are then put onto a canvas, the highest first, each
where it can sit lowest (a skyline). On rendered pages the canvas has half the screen's area.

Letters: H, W of the screen, P parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
DIFFERENT = 12
"""Least difference, of 255 in any colour, between two neighbouring pixels that counts as drawn."""
LONGEST_STROKE = 96
"""Pixels; a longer straight edge is no letter's."""
SPECK = 5
"""Pixels of the longer side; less is noise or a frame's corner."""
MARGIN = 16
CELL = 4
"""Parts start and end at multiples of it."""
WORTH = 0.9
"""A canvas of more than this share of the screen's area is not worth it."""


@dataclass(frozen=True)
class Part:
    """A rectangle of a screen, in its pixels, and where it is on the canvas."""

    x: int
    y: int
    width: int
    height: int
    canvas_x: int = 0
    canvas_y: int = 0

    def holds(self, x: float, y: float) -> bool:
        """Whether the point (x, y) of the canvas is in it."""
        return (
            self.canvas_x <= x < self.canvas_x + self.width
            and self.canvas_y <= y < self.canvas_y + self.height
        )


@dataclass(frozen=True)
class Packed:
    """A canvas and what is on it."""

    pixels: Image
    parts: tuple[Part, ...]

    def on_screen(self, corners_42: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Corners of a box on the canvas as they are on the screen, by the part of its middle."""
        x, y = corners_42.mean(axis=0).tolist()
        for part in self.parts:
            if part.holds(x, y):
                moved = (part.x - part.canvas_x, part.y - part.canvas_y)
                return corners_42 + np.array(moved, np.float32)
        return corners_42  # between the parts, where nothing is


def pack(screen_HW3: Image) -> Packed:
    """The drawn parts of a screen, or all of it if that is hardly more.

    The canvas is of whole multiples of 32 pixels, black where nothing was put.
    """
    parts, size = arrange(drawn_parts(screen_HW3))
    if size[0] * size[1] > WORTH * screen_HW3.shape[0] * screen_HW3.shape[1]:
        return whole(screen_HW3)
    return _put(screen_HW3, parts, size)


def whole(screen_HW3: Image) -> Packed:
    """All of a screen, at the upper left of its canvas."""
    height, width = screen_HW3.shape[:2]
    return _put(
        screen_HW3, [Part(0, 0, width, height)], (_multiple(width, 32), _multiple(height, 32))
    )


def _put(screen_HW3: Image, parts: Sequence[Part], size: tuple[int, int]) -> Packed:
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    for part in parts:
        cut = screen_HW3[part.y : part.y + part.height, part.x : part.x + part.width]
        down, right = part.canvas_y + cut.shape[0], part.canvas_x + cut.shape[1]
        canvas[part.canvas_y : down, part.canvas_x : right] = cut
    return Packed(canvas, tuple(parts))


def drawn_parts(screen_HW3: Image) -> list[Part]:
    """Rectangles, none of which overlap, that hold all that is drawn but for long straight edges.

    They may reach over the screen's right and lower edge by less than CELL.
    """
    import cv2

    ink_HW = _ink(screen_HW3)
    _, labels_HW, stats, _ = cv2.connectedComponentsWithStats(ink_HW, connectivity=8)
    counts = stats[:, 2:4].max(axis=1) >= SPECK
    counts[0] = False  # the rest
    around = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    near_HW = cv2.dilate(counts[labels_HW].astype(np.uint8), around)
    _, _, stats, _ = cv2.connectedComponentsWithStats(near_HW, connectivity=8)
    boxes = [
        (
            x // CELL * CELL,
            y // CELL * CELL,
            _multiple(x + wide, CELL),
            _multiple(y + high, CELL),
        )
        for x, y, wide, high, _ in stats[1:].tolist()
    ]
    return [Part(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in _apart(boxes)]


def _ink(screen_HW3: Image) -> Image:
    """(H, W) 1 where a pixel differs from the one to its left or above, long edges left out."""
    import cv2

    ink_HW = np.zeros(screen_HW3.shape[:2], np.uint8)
    for axis in (0, 1):
        steps = np.abs(np.diff(screen_HW3.astype(np.int16), axis=axis)).max(axis=2) > DIFFERENT
        edges_HW = np.zeros_like(ink_HW)
        edges_HW[1 - axis :, axis:] = steps
        line = np.ones((1, LONGEST_STROKE) if axis == 0 else (LONGEST_STROKE, 1), np.uint8)
        ink_HW |= edges_HW & ~cv2.morphologyEx(edges_HW, cv2.MORPH_OPEN, line)
    return ink_HW


def _apart(boxes: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """`boxes`, x0 y0 x1 y1, with those that overlap joined until none do."""
    waiting, apart = list(boxes), list[tuple[int, int, int, int]]()
    while waiting:
        x0, y0, x1, y1 = waiting.pop()
        over = next((b for b in apart if b[0] < x1 and x0 < b[2] and b[1] < y1 and y0 < b[3]), None)
        if over is None:
            apart.append((x0, y0, x1, y1))
        else:
            apart.remove(over)
            joined = min(x0, over[0]), min(y0, over[1]), max(x1, over[2]), max(y1, over[3])
            waiting.append(joined)
    return sorted(apart)


def arrange(parts: Sequence[Part]) -> tuple[list[Part], tuple[int, int]]:
    """The parts with their places on a canvas, none over another, and its (width, height)."""
    area = sum(part.width * part.height for part in parts)
    widest = max((part.width for part in parts), default=0)
    width = _multiple(max(widest, math.ceil(1.1 * math.sqrt(area)), 32), 32)
    skyline = np.zeros(width // CELL, int)
    placed = []
    for part in sorted(parts, key=lambda p: (-p.height, -p.width, p.y, p.x)):
        cells = part.width // CELL
        tops = np.lib.stride_tricks.sliding_window_view(skyline, cells).max(axis=1)
        at = int(tops.argmin())
        top = int(tops[at])
        skyline[at : at + cells] = top + part.height // CELL
        place = (at * CELL, top * CELL)
        placed.append(Part(part.x, part.y, part.width, part.height, *place))
    return placed, (width, _multiple(max(1, int(skyline.max()) * CELL), 32))


def _multiple(value: int, of: int) -> int:
    return -(-value // of) * of
