"""What was seen on a screen, put together: detections, lines of text and names to a schema.

    detections + lines + icon names + captions -> elements -> `layout.arrange`

A line of text goes to the smallest detected element that says text (a button, a label, a text) and
has seven tenths of the line in it; the lines of one element are its text, in reading order. Lines
that no element takes become TEXT elements by blocks; a block that lies in another is part of it.
What an OCR engine reads in an icon that has a name ("Q" for a magnifying glass) is left out.
Detected TEXT that nothing was read in keeps its place, without a text: on an Arabic screen, under
an English recogniser, the layout is still right.

A detector of other weights may have one class for all that can be pressed: of its boxes those with
a text on them are BUTTONs, the rest PICTOGRAMs.

Letters: N lines, M boxes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotators.screen.classes import CLASSES
from annotators.screen.layout import INSIDE, Edges, arrange, quantise, reading_order
from annotators.screen.ocr import Block, Line, blocks
from annotators.screen.schema import Element, Schema

SHORT = 2
"""Most letters of a line that may be an icon misread, in a box that may be a button."""
Detection = Mapping[str, Any]
"""A value of `records.DETECTION`."""


@dataclass(frozen=True)
class Merging:
    """What is believed of what was seen."""

    legible: float = 0.2
    """Least confidence of a line's text; below it the text is left out and its place stays. Of
    an Arabic page's eleven lines, read by an English network, seven are below."""
    most: int = 5000
    """Most elements of a screen, the surest of the detections and then the texts."""


@dataclass(frozen=True)
class Seen:
    """Everything that the models say of one screen."""

    width: int
    height: int
    boxes: Sequence[Detection] = ()
    lines: Sequence[Line] = ()
    icons: Sequence[str] = ()
    """A name for each of `boxes`, "" for none."""
    captions: Sequence[str] = ()
    """A caption for each of `boxes`, "" for none."""


@dataclass(frozen=True)
class Merged:
    """The schema, and what was left out."""

    schema: Schema
    illegible: int = 0
    """Lines whose text was not believed."""
    over: int = 0
    """Elements above `Merging.most`."""


def merge(seen: Seen, config: Merging | None = None) -> Merged:
    """The schema of a screen."""
    config = config or Merging()
    boxes = list(seen.boxes)
    taken, free = _assign(seen, boxes)
    illegible = sum(line.confidence < config.legible for line in seen.lines)
    elements = []
    for place in range(len(boxes)):
        lines = [seen.lines[n] for n in taken[place]]
        elements.append(_element(seen, place, _text(lines, config), bool(lines)))
    loose = [seen.lines[n] for n in free]
    read = [line for line in loose if line.confidence >= config.legible]
    texts = [(_text(lines, config), edges) for lines, edges in _whole(blocks(read))]
    texts += [("", line.edges) for line in loose if line.confidence < config.legible]
    elements += [_placed("TEXT", text, edges, seen) for text, edges in texts]
    kept = elements[: config.most]
    return Merged(arrange(kept), illegible, len(elements) - len(kept))


def _whole(found: Sequence[Block]) -> list[tuple[list[Line], Edges]]:
    """Lines and edges of blocks, those that lie in a larger one put into it."""
    groups: list[tuple[list[Line], Edges]] = []
    edges_N4 = np.empty((len(found), 4))
    for block in sorted(found, key=lambda one: -_area(one.edges)):
        inside = np.flatnonzero(_share(block.edges, edges_N4[: len(groups)]) >= INSIDE)
        if len(inside):
            groups[int(inside[-1])][0].extend(block.lines)
        else:
            edges_N4[len(groups)] = block.edges
            groups.append((list(block.lines), block.edges))
    return groups


def _area(edges: Edges) -> float:
    return (edges[1] - edges[0]) * (edges[3] - edges[2])


def _assign(seen: Seen, boxes: Sequence[Detection]) -> tuple[dict[int, list[int]], list[int]]:
    """Places of lines by the place of the box that takes them, and of those that none takes."""
    taken: dict[int, list[int]] = defaultdict(list)
    free: list[int] = []
    if not boxes:
        return taken, list(range(len(seen.lines)))
    edges_M4 = np.array([_edges(box) for box in boxes], np.float64)
    area_M = np.array([_area(_edges(box)) for box in boxes])
    speaks_M = np.array([_speaks(box["kind"]) for box in boxes])
    icon_M = np.array([box["kind"] == "PICTOGRAM" for box in boxes])
    other_M = np.array([box["kind"] not in CLASSES for box in boxes])
    named_M = np.array([bool(name) for name in seen.icons] or [False] * len(boxes))
    for n, line in enumerate(seen.lines):
        inside_M = _share(line.edges, edges_M4) >= INSIDE
        misread_M = named_M & (icon_M | (other_M & (len(line.text) <= SHORT)))
        if (inside_M & misread_M).any():
            continue
        holders = np.flatnonzero(inside_M & speaks_M)
        if len(holders):
            taken[int(holders[area_M[holders].argmin()])].append(n)
        else:
            free.append(n)
    return taken, free


def _speaks(kind: str) -> bool:
    """Whether an element of this class takes what stands on it for its text; so does one of a class
    that is none of ours, which is something to press.
    """
    return kind not in CLASSES or CLASSES[kind].says == "text"


def _share(edges: Edges, edges_M4: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of a line in each box."""
    left, right, top, bottom = edges
    wide_M = np.minimum(right, edges_M4[:, 1]) - np.maximum(left, edges_M4[:, 0])
    high_M = np.minimum(bottom, edges_M4[:, 3]) - np.maximum(top, edges_M4[:, 2])
    area = max((right - left) * (bottom - top), 1e-9)
    share_M: npt.NDArray[np.float64] = wide_M.clip(0) * high_M.clip(0) / area
    return share_M


def _text(lines: Sequence[Line], config: Merging) -> str:
    """The legible ones in reading order, a space between two."""
    read = [line for line in lines if line.confidence >= config.legible]
    return " ".join(read[place].text for place in reading_order([line.edges for line in read]))


def _element(seen: Seen, place: int, text: str, holds_lines: bool) -> Element:
    """A detection with what it says."""
    box = seen.boxes[place]
    kind = box["kind"]
    if kind not in CLASSES:  # a detector that only tells that something can be pressed
        kind = "BUTTON" if holds_lines else "PICTOGRAM"
    if box["kind"] not in CLASSES and not text and seen.icons and seen.icons[place]:
        kind = "PICTOGRAM"
    if CLASSES[kind].says == "text":
        return _placed(kind, text, _edges(box), seen)
    says = seen.icons[place] if kind == "PICTOGRAM" and seen.icons else ""
    if not says and seen.captions:
        says = seen.captions[place]
    return _placed(kind, says, _edges(box), seen)


def _placed(kind: str, text: str, edges: Edges, seen: Seen) -> Element:
    return Element(kind, " ".join(text.split()), quantise(*edges, seen.width, seen.height))


def _edges(box: Detection) -> Edges:
    return float(box["x0"]), float(box["x1"]), float(box["y0"]), float(box["y1"])
