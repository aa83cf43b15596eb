"""From boxes on a picture to a schema: thousandths of the screen, what holds what, reading order.

A box is in another if seven tenths of its area are; the smallest such one holds it. Reading order
is by rows, top to bottom, and within a row by columns, left to right; a column of several boxes is
read by rows again, and so on (the recursive XY cut). A box belongs to a row if half of its height,
or of the row's, is common to both, so that a few pixels off the line change nothing.

Beside the released Screen Annotation set (56,987 elements): 98.1 % of the elements get the parent
that they have there (97.7 % if nine tenths had to be inside, 95.1 % if all). Of all pairs of
siblings 98.4 % come in the released order, and 87 % of the families entirely; sorting by top and
left edge gives 93.6 % and 54 %.

Letters: N boxes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from annotators.screen.classes import CLASSES
from annotators.screen.schema import LAST, Box, Element, Schema

Edges = tuple[float, float, float, float]
"""x0 x1 y0 y1 in any unit; a `Box` is one."""
INSIDE = 0.7
"""Least share of a box's area in its container."""


def quantise(left: float, right: float, top: float, bottom: float, width: int, height: int) -> Box:
    """A box in pixels of a picture `width` by `height`, clipped to it, in thousandths.

    The picture's own edges are 0 and 999; an edge moves by half a thousandth at most. Raises
    ValueError for an empty picture, or edges in the wrong order or not finite.
    """
    if width <= 0 or height <= 0:
        raise ValueError(f"picture of {width} x {height}; legal: 1 or more each")
    if not (left <= right and top <= bottom):
        raise ValueError(f"edges {left, right, top, bottom}; legal: left <= right, top <= bottom")
    return Box(
        _thousandths(left, width),
        _thousandths(right, width),
        _thousandths(top, height),
        _thousandths(bottom, height),
    )


def _thousandths(edge: float, extent: int) -> int:
    return math.floor(min(max(edge / extent, 0.0), 1.0) * LAST + 0.5)


def pixels(box: Box, width: int, height: int) -> Edges:
    """(left, right, top, bottom) of `box` on a picture `width` by `height`.

    `quantise` gives `box` again.
    """
    x, y = width / LAST, height / LAST
    return box.x0 * x, box.x1 * x, box.y0 * y, box.y1 * y


def arrange(found: Iterable[Element]) -> Schema:
    """The schema of elements found in any order; the depths that they have are not looked at.

    Of two with the same box a container holds the other one.
    """
    elements = sorted(found, key=_key)
    families: dict[int | None, list[int]] = defaultdict(list)
    for place, parent in enumerate(holders([element.box for element in elements])):
        families[parent].append(place)
    arranged: list[Element] = []
    waiting: list[tuple[int | None, int]] = [(None, -1)]
    while waiting:
        holder, depth = waiting.pop()
        if holder is not None:
            arranged.append(replace(elements[holder], depth=depth))
        family = families[holder]
        order = reading_order([elements[child].box for child in family])
        waiting += [(family[child], depth + 1) for child in reversed(order)]
    return Schema(tuple(arranged))


def _key(element: Element) -> tuple[bool, Box, str, str]:
    """Containers first; the rest makes the schema independent of the order of finding."""
    return not CLASSES[element.kind].container, element.box, element.kind, element.text


def holders(boxes: Sequence[Box]) -> list[int | None]:
    """For each of N boxes the smallest larger one that it is in, None if there is none.

    Of equal boxes the first one holds the next.
    """
    edges_N4 = np.asarray(boxes, float).reshape(-1, 4)
    lengths_N2 = edges_N4[:, 1::2] - edges_N4[:, 0::2]
    falling = np.argsort(-lengths_N2.prod(axis=1), kind="stable")
    lows_N2, highs_N2, lengths_N2 = (
        edges_N4[falling, 0::2],
        edges_N4[falling, 1::2],
        lengths_N2[falling],
    )
    found: list[int | None] = [None] * len(boxes)
    for n in range(1, len(boxes)):
        common = np.minimum(highs_N2[:n], highs_N2[n]) - np.maximum(lows_N2[:n], lows_N2[n])
        flat = lengths_N2[n] == 0  # a line or a point is in or out
        share = np.where(
            flat, common >= 0, np.maximum(common, 0) / np.where(flat, 1, lengths_N2[n])
        )
        larger = np.flatnonzero(share.prod(axis=1) >= INSIDE)
        if larger.size:
            found[int(falling[n])] = int(falling[larger[-1]])
    return found


def reading_order(boxes: Sequence[Edges]) -> list[int]:
    """Places of `boxes`, none of which holds another, in reading order."""
    order: list[int] = []
    waiting = [list(range(len(boxes)))] if boxes else []
    while waiting:
        group = waiting.pop()
        parts = _bands(boxes, group, "y")
        if len(parts) == 1:
            parts = _bands(boxes, group, "x")
        if len(parts) > 1:
            waiting += reversed(parts)
        else:  # they lie over each other
            order += sorted(group, key=lambda i: (sum(boxes[i][2:]), sum(boxes[i][:2]), i))
    return order


def _bands(boxes: Sequence[Edges], group: list[int], axis: Literal["x", "y"]) -> list[list[int]]:
    """Rows ("y") or columns ("x") of `group`, those of lower coordinates first."""
    first = 2 if axis == "y" else 0
    bands: list[list[int]] = []
    low = high = 0.0
    for place in sorted(group, key=lambda i: (boxes[i][first : first + 2], boxes[i], i)):
        start, end = boxes[place][first : first + 2]
        common = min(high, end) - start
        if bands and common >= 0 and 2 * common >= min(end - start, high - low):
            bands[-1].append(place)
            high = max(high, end)
        else:
            bands.append([place])
            low, high = start, end
    return bands
