"""A schema drawn over its screenshot, to be looked at.

Every element's box is drawn in its class's colour and carries a number; beside the screenshot the
numbers are spelt out, indented by what holds what. So the labels stay legible however densely the
boxes lie. `annotators.screen.browse` is the same for several screens, on a page.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotators.screen.classes import CLASSES
from annotators.screen.layout import pixels
from annotators.screen.schema import Schema

if TYPE_CHECKING:
    from PIL import Image

COLOURS = {
    "TEXT": "#1c7ed6",
    "PICTOGRAM": "#d6336c",
    "IMAGE": "#9c36b5",
    "BUTTON": "#e8590c",
    "LABEL": "#4263eb",
    "TEXT_INPUT": "#2b8a3e",
    "CHECKBOX": "#74b816",
    "RADIO_BUTTON": "#a3a400",
    "SWITCH": "#12b886",
    "LIST_ITEM": "#7b8794",
    "TOOLBAR": "#343a40",
    "NAVIGATION_BAR": "#5c4b8a",
    "PAGER_INDICATOR": "#e64980",
    "MAP": "#0b7285",
    "KEYBOARD": "#a0522d",
    "SLIDER": "#087f5b",
    "TAB": "#f08c00",
    "CARD": "#6c80d8",
    "DIALOG": "#c92a2a",
    "TABLE": "#795548",
    "LINK": "#0ca5c4",
    "DROPDOWN": "#4caf50",
    "PROGRESS_BAR": "#b08900",
}
"""By class."""
TALLEST = 12_000
"""Most pixels of height; what has no room in the list is counted."""
TAKEN = 1e4
"""What covering a pixel of another number counts; the sharpest edge of a picture counts 510."""
PANEL, LINE, STEP, FONT = 460, 20, 16, 14
"""Pixels of the list's width, a line's height, an indent, and of the letters."""


def overlay(
    screenshot: bytes, schema: Schema, *, longer_side: int = 1280, font: str = "DejaVuSans.ttf"
) -> bytes:
    """A PNG of the encoded `screenshot` with `schema` drawn over it and written beside it.

    Args:
        longer_side: pixels of the screenshot as drawn.
        font: name or path of a TrueType font; where it is missing, Pillow's own, of Latin letters.
    """
    from PIL import Image

    with Image.open(io.BytesIO(screenshot)) as opened:
        picture = opened.convert("RGB")
    scale = longer_side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    drawn = _boxes(picture.resize(size, Image.Resampling.LANCZOS), schema, font)
    listed = _list(schema, drawn.height, font)
    both = Image.new("RGB", (drawn.width + PANEL, listed.height), "#dee2e6")
    both.paste(drawn, (0, 0))
    both.paste(listed, (drawn.width, 0))
    out = io.BytesIO()
    both.save(out, "png")
    return out.getvalue()


def blank(width: int, height: int) -> bytes:
    """A white PNG, for a schema whose screenshot is not at hand."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(out, "png")
    return out.getvalue()


def _boxes(picture: Image.Image, schema: Schema, font: str) -> Image.Image:
    """The boxes with their numbers, smaller ones above larger ones."""
    from PIL import Image, ImageDraw

    last = picture.width - 1, picture.height - 1
    placed = [
        (number, element, [round(edge) for edge in pixels(element.box, *last)])
        for number, element in enumerate(schema, 1)
    ]
    placed.sort(key=lambda one: -(one[2][1] - one[2][0]) * (one[2][3] - one[2][2]))
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    brush = ImageDraw.Draw(layer)
    for _, element, (left, right, top, bottom) in placed:
        shade = "10" if CLASSES[element.kind].container else "2c"
        brush.rectangle((left, top, right, bottom), COLOURS[element.kind] + shade)
    for _, element, (left, right, top, bottom) in placed:
        thick = 3 if element.depth == 0 else 2
        brush.rectangle((left, top, right, bottom), None, COLOURS[element.kind], thick)
    whole = Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
    brush, letters = ImageDraw.Draw(whole), _font(font, FONT - 2)
    covered_HW = _edges(picture)
    for number, element, edges in placed:
        size = (round(brush.textlength(str(number), letters)) + 6, FONT)
        x, y = _place(edges, size, covered_HW)
        covered_HW[y : y + size[1], x : x + size[0]] += TAKEN
        _tag(brush, (x, y), size, str(number), element.kind, letters)
    return whole


def _edges(picture: Image.Image) -> npt.NDArray[np.float32]:
    """How much a number would cover at every pixel: the picture's changes of brightness."""
    grey_HW = np.asarray(picture.convert("L"), np.float32)
    across = np.abs(np.diff(grey_HW, axis=1, prepend=grey_HW[:, :1]))
    return across + np.abs(np.diff(grey_HW, axis=0, prepend=grey_HW[:1]))


def _place(edges: Sequence[int], size: tuple[int, int], covered_HW: Any) -> tuple[int, int]:
    """Where a number of `size` goes: at the corner of its box where it covers least."""
    left, right, top, bottom = edges
    wide, high = size
    corners = [
        *((left, top - high), (left - wide, top), (left, top), (right - wide + 1, top)),
        *((right - wide + 1, top - high), (right + 1, top), (left - wide, bottom - high + 1)),
        *((left, bottom + 1), (left, bottom - high + 1), (right - wide + 1, bottom - high + 1)),
    ]
    rows, columns = covered_HW.shape
    inside = [(max(0, min(x, columns - wide)), max(0, min(y, rows - high))) for x, y in corners]
    return min(inside, key=lambda at: covered_HW[at[1] : at[1] + high, at[0] : at[0] + wide].sum())


def _tag(
    brush: Any, at: tuple[float, float], size: tuple[int, int], text: str, kind: str, letters: Any
) -> None:
    """A number on its class's colour."""
    x, y = at
    brush.rectangle((x, y, x + size[0] - 1, y + size[1] - 1), COLOURS[kind])
    middle = (x + size[0] / 2, y + size[1] / 2)
    brush.text(middle, text, on_colour(kind), letters, anchor="mm")


def on_colour(kind: str) -> str:
    """Black or white, whichever is easier to read on the class's colour."""
    red, green, blue = (int(COLOURS[kind][place : place + 2], 16) for place in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else "white"


def _list(schema: Schema, height: int, font: str) -> Image.Image:
    """Every element's number, class and text, at least as high as the screenshot."""
    from PIL import Image, ImageDraw

    room = TALLEST // LINE - 1
    lines = min(len(schema), room)
    panel = Image.new("RGB", (PANEL, max(height, (lines + 2) * LINE)), "#f8f9fa")
    brush, letters, small = ImageDraw.Draw(panel), _font(font, FONT), _font(font, FONT - 2)
    wide = round(brush.textlength(str(len(schema)), small)) + 8
    for number, element in enumerate(schema.elements[:lines]):
        x, y = 10 + STEP * min(element.depth, 10), 10 + LINE * number
        _tag(brush, (x, y), (wide, LINE - 4), str(number + 1), element.kind, small)
        x += wide + 6
        brush.text((x, y + LINE / 2 - 2), element.kind, COLOURS[element.kind], small, anchor="lm")
        x += round(brush.textlength(element.kind, small)) + 8
        says = _fitting(element.text, PANEL - x - 8, lambda text: brush.textlength(text, letters))
        brush.text((x, y + LINE / 2 - 2), says, "#212529", letters, anchor="lm")
    if len(schema) > lines:
        brush.text((10, 10 + LINE * lines), f"and {len(schema) - lines} more", "#212529", letters)
    return panel


def _fitting(text: str, room: float, length: Callable[[str], float]) -> str:
    """`text` on one line, its end left out where there is no room for it."""
    text = " ".join(text.split())[:200]
    if length(text) <= room:
        return text
    while text and length(text + "…") > room:
        text = text[:-1]
    return text + "…"


def _font(name: str, size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size)
    except OSError:  # no such font here
        return ImageFont.load_default(size)
