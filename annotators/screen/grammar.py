r"""Schemas as text that reads back exactly: ScreenAI's form, with a backslash where it needs one.

    schema  = [ element { ", " element } ]
    element = class [ " " text ] " " x0 " " x1 " " y0 " " y1 [ " (" element { ", " element } ")" ]
    text    = { any character but  \  (  )  ,  line feed  carriage return
              | "\\" | "\(" | "\)" | "\," | "\n" | "\r" }+
    x0, x1, y0, y1 = "0" | digit other than 0, then up to two digits

    TOOLBAR 0 999 31 109 (PICTOGRAM three bars 0 132 31 109, TEXT Hello\, world 147 491 54 85)

An unescaped parenthesis or comma is therefore always structure, and the four numbers before it are
always the box, whatever digits the text ends in. An empty text is no text at all, so that one
space stands between class and box. A schema has one text, and a text that is not what `render`
gives is refused: the two are a bijection. A schema is one line. A text without the six special
characters is written as Google's released set has it, so that a model may learn from both.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from annotators.screen.schema import Box, Element, Schema

_ESCAPES = {"\\": r"\\", "(": r"\(", ")": r"\)", ",": r"\,", "\n": r"\n", "\r": r"\r"}
_UNESCAPES = {escape: plain for plain, escape in _ESCAPES.items()}
_SPECIAL = re.compile(r"[\\(),\n\r]")
_ESCAPED = re.compile(r"\\[\\(),nr]")
_SEGMENT = re.compile(r"(?:[^\\(),\n\r]|\\[\\(),nr])*")
_CLOSED = re.compile(r"\)+")
_NUMBER = r"(0|[1-9][0-9]{0,2})"
_ELEMENT = re.compile(rf"([A-Z_]+)(?: (.+))? {_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER}", re.DOTALL)


def render(schema: Schema) -> str:
    """`schema` as text; "" for an empty one."""
    return assemble(schema, lambda text: _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text))


def assemble(schema: Schema, written: Callable[[str], str]) -> str:
    """Classes, texts as `written` makes them, boxes and what stands between the elements."""
    parts: list[str] = []
    depth = -1
    for element in schema:
        parts.append(_joint(depth, element.depth))
        text = [written(element.text)] if element.text else []
        parts.append(" ".join([element.kind, *text, *map(str, element.box)]))
        depth = element.depth
    return "".join(parts) + ")" * max(depth, 0)


def _joint(before: int, depth: int) -> str:
    """What stands between an element and the next."""
    if depth > before:
        return " (" if depth else ""
    return ")" * (before - depth) + ", "


def parse(text: str) -> Schema:
    """The schema that `render` writes as `text`.

    Raises ValueError naming the place and what could stand there.
    """
    elements: list[Element] = []
    at = depth = 0
    while text:
        element, end = _element(text, at, depth)
        elements.append(element)
        if text.startswith("(", end):
            at, depth = end + 1, depth + 1
            continue
        closed = _CLOSED.match(text, end)
        at = closed.end() if closed else end
        depth -= at - end
        if at == len(text) and depth == 0:
            break
        if depth < 0:
            raise _wrong(text, end, f"legal: {-depth} ) fewer")
        if not text.startswith(", ", at):
            raise _wrong(text, at, f"legal: a comma and a space, or {depth} ) and the end")
        at += 2
    return Schema(tuple(elements))


def _element(text: str, at: int, depth: int) -> tuple[Element, int]:
    """The element that starts at `at`, and where what follows it starts."""
    segment = _SEGMENT.match(text, at)
    assert segment is not None  # it matches the empty string
    inside, end = segment[0], segment.end()
    opens = text.startswith("(", end)
    if opens and inside.endswith(" "):
        inside = inside[:-1]
    elif opens:
        raise _wrong(text, end, "legal: a space before (")
    found = _ELEMENT.fullmatch(inside)
    if found is None:
        raise _wrong(text, at, "legal: CLASS text x0 x1 y0 y1")
    says = _ESCAPED.sub(lambda escape: _UNESCAPES[escape[0]], found[2] or "")
    box = Box(*(int(number) for number in found.groups()[2:]))
    try:
        return Element(found[1], says, box, depth), end
    except ValueError as error:
        raise _wrong(text, at, str(error)) from None


def _wrong(text: str, at: int, why: str) -> ValueError:
    return ValueError(f"no schema at character {at}, {text[at : at + 40]!r}: {why}")
