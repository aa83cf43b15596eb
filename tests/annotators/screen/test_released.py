"""The released text form, on schemas that read back and that do not, and on the released file."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotators.screen import grammar, released
from annotators.screen.classes import RELEASED
from annotators.screen.layout import arrange, holders
from annotators.screen.schema import Box, Element, Schema

BOX = Box(1, 2, 3, 4)


def one(text: str) -> Schema:
    return Schema((Element("LIST_ITEM", "", BOX), Element("TEXT", text, BOX, 1)))


@given(st.from_type(Schema))
def test_reads_back_without_commas_and_parentheses(schema: Schema) -> None:
    if not any(set(element.text) & set(",()") for element in schema):
        assert released.reads_back(schema) or not schema.elements


@given(st.from_type(Schema))
def test_what_reads_as_something_is_written_as_it_was(schema: Schema) -> None:
    text = released.write(schema)
    try:
        found = released.read(text)
    except ValueError:
        assert not released.reads_back(schema)
    else:
        assert released.write(found) == text
        assert released.reads_back(schema) == (found == schema)


@pytest.mark.parametrize(
    "text", ["", "a, b", "(1)", ":)", "1)", "5 6 7 8", "Replaced (", "x, TEXT"]
)
def test_texts_that_are_clear(text: str) -> None:
    assert released.reads_back(one(text))


@pytest.mark.parametrize("text", ["5 6 7 8, TEXT a", "5 6 7 8 (TEXT a"])
def test_texts_that_are_not(text: str) -> None:
    assert not released.reads_back(one(text))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no element at character 0"),
        ("WINDOW 1 2 3 4", "no element at character 0: 'WINDOW"),
        ("TEXT a 1 2 3 4, TEXT b", "no element at character 16: 'TEXT b'"),
        ("TEXT a 1 2 3 4), TEXT b 1 2 3 4", "a \\) too many at character 14, after TEXT 'a'"),
        ("CARD 1 2 3 4 (TEXT b 1 2 3 4", r"1 \( stay open"),
        ("TEXT a 4 2 3 4", "x0 <= x1"),
    ],
)
def test_what_cannot_be_read_says_where(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        released.read(text)


def test_a_file_names_the_rows_that_it_cannot_read_and_those_that_are_odd(tmp_path: Path) -> None:
    rows = [["1", "TEXT a 1 2 3 4"], ["2", "TEXT ends"], ["3", "TEXT :) 1 2 3 4"]]
    file = tmp_path / "some.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([released.COLUMNS, *rows])
    good, bad, odd = released.read_file(str(file))
    assert good == released.Screen("1", Schema((Element("TEXT", "a", BOX),)))
    assert bad.schema is None and bad.reason == "no element at character 0: 'TEXT ends'"
    assert odd.schema is not None and odd.reason == "parentheses do not balance: TEXT ':)'"
    file.write_text("image_id,label\n")
    with pytest.raises(ValueError, match="columns"):
        list(released.read_file(str(file)))


@pytest.fixture(scope="module")
def screens(released_file: str) -> list[released.Screen]:
    return list(released.read_file(released_file))


def schemas_of(screens: list[released.Screen]) -> list[Schema]:
    return [screen.schema for screen in screens if screen.schema is not None]


def test_every_released_screen_reads_and_is_written_as_it_was(
    released_file: str, screens: list[released.Screen]
) -> None:
    with open(released_file, newline="") as file:
        texts = {row["screen_id"]: row["screen_annotation"] for row in csv.DictReader(file)}
    assert len(screens) == len(texts) == 2311
    for screen in screens:
        assert screen.schema is not None
        assert released.write(screen.schema) == texts[screen.screen_id]
    unbalanced = {name for name, text in texts.items() if text.count("(") != text.count(")")}
    assert {screen.screen_id for screen in screens if screen.reason} == unbalanced
    assert len(unbalanced) == 30
    assert all("parentheses do not balance: " in s.reason for s in screens if s.reason)


def test_released_screens_in_our_form(screens: list[released.Screen]) -> None:
    schemas = schemas_of(screens)
    assert all(grammar.parse(grammar.render(schema)) == schema for schema in schemas)
    same = sum(grammar.render(schema) == released.write(schema) for schema in schemas)
    assert same == 1319  # 57 %: no comma, parenthesis or backslash in any text
    count = Counter(element.kind for schema in schemas for element in schema)
    assert set(count) == set(RELEASED) and count.total() == 56_987


def test_the_reading_of_unbalanced_rows_is_the_one_that_the_boxes_tell(
    screens: list[released.Screen],
) -> None:
    """Wrong nesting would put children outside of their parents."""
    for screen in screens:
        if screen.reason and screen.schema is not None:
            elements = screen.schema.elements
            for child, parent in enumerate(screen.schema.parents()):
                if parent is not None:
                    inner, outer = elements[child].box, elements[parent].box
                    x, y = inner.centre
                    assert outer.x0 <= x <= outer.x1 and outer.y0 <= y <= outer.y1


def test_nesting_and_order_beside_the_released_ones(screens: list[released.Screen]) -> None:
    """The shares that `layout` states: of parents, and of screens that come back entirely."""
    schemas = schemas_of(screens)
    parents = [
        ours == theirs
        for schema in schemas
        for ours, theirs in zip(holders([e.box for e in schema]), schema.parents(), strict=True)
    ]
    assert sum(parents) / len(parents) > 0.98
    assert sum(arrange(schema) == schema for schema in schemas[:500]) > 180
