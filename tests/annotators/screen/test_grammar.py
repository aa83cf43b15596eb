"""The text form is a bijection: every schema reads back, and nothing else reads at all."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotators.screen.grammar import parse, render
from annotators.screen.schema import Box, Element, Schema

BOX = Box(1, 2, 3, 4)


@given(st.from_type(Schema))
def test_every_schema_reads_back_from_one_line(schema: Schema) -> None:
    text = render(schema)
    assert parse(text) == schema
    assert "\n" not in text and "\r" not in text


@given(st.text(max_size=200), st.from_type(Box))
def test_any_text_reads_back(text: str, box: Box) -> None:
    schema = Schema((Element("TEXT", text, box),))
    assert parse(render(schema)) == schema


@given(st.data(), st.from_type(Schema).filter(len))
def test_a_changed_text_is_refused_or_is_another_schemas_only_text(
    data: st.DataObject, schema: Schema
) -> None:
    text = render(schema)
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.text("\\(), \n0129TEX_", max_size=3))
    changed = text[:at] + put + text[at + data.draw(st.integers(0, 3)) :]
    try:
        found = parse(changed)
    except ValueError:
        return
    assert render(found) == changed


@pytest.mark.parametrize(
    "text", ["", " ", "  ", "5", "1 2 3 4", "007", "\\", "\\n", "),(", "\n", '"']
)
def test_texts_that_look_like_structure(text: str) -> None:
    inner = Schema((Element("CARD", text, BOX), Element("TEXT", text, BOX, 1)))
    assert parse(render(inner)) == inner


def test_written_out() -> None:
    schema = Schema(
        (
            Element("TOOLBAR", "", Box(0, 999, 31, 109)),
            Element("PICTOGRAM", "three bars", Box(0, 132, 31, 109), 1),
            Element("TEXT", "Hello, world\n(1)", Box(147, 491, 54, 85), 1),
            Element("TEXT", "7 8", Box(1, 2, 3, 4)),
        )
    )
    assert render(schema) == (
        "TOOLBAR 0 999 31 109 (PICTOGRAM three bars 0 132 31 109, "
        r"TEXT Hello\, world\n\(1\) 147 491 54 85), TEXT 7 8 1 2 3 4"
    )
    assert render(Schema()) == "" and parse("") == Schema()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("TEXT 1 2 3", "character 0, 'TEXT 1 2 3': legal: CLASS text x0 x1 y0 y1"),
        ("TEXT  1 2 3 4", "legal: CLASS"),
        ("TEXT 1 2 3 04", "legal: CLASS"),
        ("TEXT 1 2 3 1000", "legal: CLASS"),
        (r"TEXT a\b 1 2 3 4", "legal: CLASS"),
        ("TEXT a\\", "legal: CLASS"),
        ("TEXT 1 2 3 4, ", "character 14"),
        ("TEXT 1 2 3 4,", "legal: a comma and a space, or 0 ) and the end"),
        ("TEXT 1 2 3 4\n", "legal: a comma"),
        ("TEXT 1 2 3 4 ", "legal: CLASS"),
        ("TEXT 1 2 3 4)", "legal: 1 ) fewer"),
        ("TEXT 1 2 3 4 (", "character 14"),
        ("TEXT 1 2 3 4 ()", "legal: CLASS"),
        ("TEXT 1 2 3 4(TEXT 1 2 3 4)", "legal: a space before ("),
        ("TEXT 1 2 3 4 (TEXT 1 2 3 4", "or 1 ) and the end"),
        ("WINDOW 1 2 3 4", "class 'WINDOW'; legal: TEXT"),
        ("TEXT 3 2 3 4", "legal: x0 <= x1"),
    ],
)
def test_what_is_refused_says_where_and_what_is_legal(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        parse(text)


@pytest.mark.parametrize("step", [0, 1])
def test_5000_elements_side_by_side_or_in_each_other(step: int) -> None:
    elements = [Element("CARD", f"no {n}, of 5,000", BOX, n * step) for n in range(5000)]
    schema = Schema(tuple(elements))
    start = time.process_time()
    assert parse(render(schema)) == schema
    assert time.process_time() - start < 5


def test_a_megabyte_of_text_in_one_element() -> None:
    schema = Schema((Element("TEXT", "1 2 3 4, (a) " * 80_000, BOX),))
    start = time.process_time()
    assert parse(render(schema)) == schema
    assert time.process_time() - start < 5
