"""The screen schema: what is on a screenshot, where, and what holds what.

After ScreenAI (Baechler et al. 2024, arXiv 2402.04615): every element has a class, a text (what
stands on it, a caption or an icon's name; may be empty) and a box of integers 0-999, whatever the
screen's size, in the order x0 x1 y0 y1. Of the released validation split all 56,987 boxes are in
that order.

A schema is the elements in reading order, each container before what it holds, and `depth` says
what holds what: an element's parent is the last one before it that is one less deep. So a screen of
5,000 elements nested a thousand deep needs no recursion, and a schema is rows of plain columns, of
which Parquet has no recursive type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from annotators.screen.classes import CLASSES

LAST = 999
"""The right and the bottom edge of every screen."""


class Box(NamedTuple):
    """Edges in thousandths of the screen, 0-999."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y)."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True, slots=True)
class Element:
    """One thing on a screen.

    Raises ValueError for an unknown class, edges that are no integers in 0-999 or in the wrong
    order, or a negative depth.
    """

    kind: str
    """A key of `annotators.screen.classes.CLASSES`."""
    text: str
    """What it says; "" where it says nothing."""
    box: Box
    depth: int = 0
    """How many elements hold it."""

    def __post_init__(self) -> None:
        if self.kind not in CLASSES:
            raise ValueError(f"class {self.kind!r}; legal: {', '.join(CLASSES)}")
        object.__setattr__(self, "box", Box(*self.box))
        if not all(type(edge) is int and 0 <= edge <= LAST for edge in self.box):
            raise ValueError(f"{self.kind} at {tuple(self.box)}; legal: integers in 0-{LAST}")
        if self.box.x0 > self.box.x1 or self.box.y0 > self.box.y1:
            raise ValueError(f"{self.kind} at {tuple(self.box)}; legal: x0 <= x1 and y0 <= y1")
        if self.depth < 0:
            raise ValueError(f"{self.kind} has depth {self.depth}; legal: 0 or more")


@dataclass(frozen=True)
class Schema:
    """A screen's elements in reading order.

    Raises ValueError if the first element is not at depth 0, or one is more than one deeper than
    the element before it.
    """

    elements: tuple[Element, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(self.elements))
        legal = 0
        for place, element in enumerate(self.elements):
            if element.depth > legal:
                raise ValueError(
                    f"element {place} ({element.kind}) has depth {element.depth}; legal: 0-{legal}"
                )
            legal = element.depth + 1

    def __iter__(self) -> Iterator[Element]:
        return iter(self.elements)

    def __len__(self) -> int:
        return len(self.elements)

    def parents(self) -> list[int | None]:
        """Of each element the place of the one that holds it, None at the top."""
        holders: list[int] = []
        found: list[int | None] = []
        for place, element in enumerate(self.elements):
            del holders[element.depth :]
            found.append(holders[-1] if holders else None)
            holders.append(place)
        return found

    def children(self) -> list[list[int]]:
        """Of each element the places of those directly in it, in reading order."""
        found: list[list[int]] = [[] for _ in self.elements]
        for place, parent in enumerate(self.parents()):
            if parent is not None:
                found[parent].append(place)
        return found
