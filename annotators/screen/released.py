"""The text form of Google's released Screen Annotation set, read and written.

    TOOLBAR 0 999 31 109 (TEXT Account 171 352 54 84), TEXT Grace (Chan), at home 0 9 20 30

It is the form of `annotators.screen.grammar` without escapes, so a comma or a parenthesis may be
text or structure. The reader's rule: an element ends at the first four numbers that are followed by
a joint, which is a parenthesis or a comma before a class's name, or closing parentheses before
either, or the end. An element whose text holds such a place (`10 20 30 40, TEXT`) cannot be written
so that it reads back; `reads_back` tells. A schema none of whose texts holds a comma or a
parenthesis always reads back.

Of the validation split (2,311 screens, 56,987 elements) the rule reads every screen and writes
every one back letter by letter. In 30 screens the parentheses do not balance. In each it is a text
that has one too many (an emoticon, "1)", a title cut off), and the nesting can be read
all the same; they are named with the reason, for who would rather leave them out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from annotators.screen.classes import CLASSES
from annotators.screen.grammar import assemble
from annotators.screen.schema import Box, Element, Schema

COLUMNS = ("screen_id", "screen_annotation")
_NAME = rf"(?:{'|'.join(CLASSES)})"
_NUMBER = r"(0|[1-9][0-9]{0,2})"
_ELEMENT = re.compile(
    rf"({_NAME})(?: (.*?))?? {_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER}"
    rf"(?= \({_NAME} |\)*, {_NAME} |\)*\Z)",
    re.DOTALL,
)
_TWO_MORE = re.compile(rf"(?: \(|, ){_NAME} .*?(?: \(|, ){_NAME} ", re.DOTALL)
_JOINT = re.compile(r" \(|(\)*)(?:, |\Z)")


@dataclass(frozen=True)
class Screen:
    """A row of the released file."""

    screen_id: str
    schema: Schema | None
    """None if it could not be read."""
    reason: str = ""
    """Why it could not be read, or what is odd about it; "" for most."""


def read(text: str) -> Schema:
    """The schema that a released text stands for, by the rule above.

    Raises ValueError naming the place where no element can be read.
    """
    return Schema(tuple(element for element, _ in _elements(text)))


def read_start(text: str) -> tuple[list[Element], str, bool]:
    """The elements before the first place where none can be read, what is wrong there ("" if all
    of the text reads), and whether it may just lack its tail: no other element begins after it.
    """
    found: list[tuple[Element, int]] = []
    wrong = ""
    try:
        for each in _elements(text):
            found.append(each)  # one by one: those before the fault are kept
    except ValueError as error:
        wrong = str(error)
    end = found[-1][1] if found else 0
    tailless = bool(wrong) and _TWO_MORE.search(text, end) is None
    return [element for element, _ in found], wrong, tailless


def _elements(text: str) -> Iterator[tuple[Element, int]]:
    """Elements and where each ends."""
    at = depth = 0
    while at < len(text) or not at:
        found = _ELEMENT.match(text, at)
        if found is None:
            raise ValueError(f"no element at character {at}: {text[at : at + 60]!r}")
        kind, says, *edges = found.groups()
        yield Element(kind, says or "", Box(*map(int, edges)), depth), found.end()
        joint = _JOINT.match(text, found.end())
        assert joint is not None  # the element's pattern ends before one
        depth += 1 if joint[1] is None else -len(joint[1])
        if depth < 0:
            raise ValueError(
                f"a ) too many at character {found.end()}, after {kind} {says or ''!r}"
            )
        at = joint.end()
    if depth:
        raise ValueError(f"{depth} ( stay open")


def write(schema: Schema) -> str:
    """`schema` in the released form, texts as they are."""
    return assemble(schema, str)


def reads_back(schema: Schema) -> bool:
    """Whether the released form of `schema` reads back as `schema`."""
    try:
        return read(write(schema)) == schema
    except ValueError:
        return False


def read_file(path: str) -> Iterator[Screen]:
    """Every row of a released CSV file, in order.

    Raises ValueError for a file of other columns.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if tuple(header) != COLUMNS:
            raise ValueError(f"{path} has columns {header}; legal: {list(COLUMNS)}")
        for screen_id, text in rows:
            yield _screen(screen_id, text)


def _screen(screen_id: str, text: str) -> Screen:
    try:
        schema = read(text)
    except ValueError as error:
        return Screen(screen_id, None, str(error))
    if text.count("(") == text.count(")"):
        return Screen(screen_id, schema)
    odd = [e for e in schema if e.text.count("(") != e.text.count(")")]
    named = ", ".join(f"{e.kind} {e.text[:60]!r}" for e in odd)
    return Screen(screen_id, schema, f"parentheses do not balance: {named}")
