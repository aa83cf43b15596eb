"""Schemas: what is refused, and who holds whom, against a plain search."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotators.screen.classes import CLASSES, RELEASED
from annotators.screen.schema import Box, Element, Schema

BOX = Box(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("WINDOW", "", BOX), "class 'WINDOW'; legal: TEXT, PICTOGRAM"),
        (("TEXT", "", (0, 1000, 3, 4)), "integers in 0-999"),
        (("TEXT", "", (-1, 2, 3, 4)), "integers in 0-999"),
        (("TEXT", "", (0, 2.0, 3, 4)), "integers in 0-999"),
        (("TEXT", "", (5, 4, 3, 4)), "x0 <= x1"),
        (("TEXT", "", (1, 2, 5, 4)), "y0 <= y1"),
        (("TEXT", "", BOX, -1), "depth -1"),
    ],
)
def test_an_element_that_cannot_be_is_refused(arguments: tuple[Any, ...], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        Element(*arguments)


def test_depth_rises_by_one_at_a_time_from_nought() -> None:
    first, deep = Element("TEXT", "", BOX), Element("TEXT", "", BOX, 2)
    with pytest.raises(ValueError, match=r"element 1 \(TEXT\) has depth 2; legal: 0-1"):
        Schema((first, deep))
    with pytest.raises(ValueError, match="legal: 0-0"):
        Schema((Element("TEXT", "", BOX, 1),))


@given(st.from_type(Schema))
def test_parents_and_children_equal_a_plain_search(schema: Schema) -> None:
    elements = schema.elements
    for place, parent in enumerate(schema.parents()):
        before = [p for p in range(place) if elements[p].depth == elements[place].depth - 1]
        assert parent == (before[-1] if before else None)
    for place, children in enumerate(schema.children()):
        assert children == [p for p, parent in enumerate(schema.parents()) if parent == place]


def test_the_released_classes_are_fifteen_and_all_are_defined() -> None:
    assert len(RELEASED) == 15 and {"TEXT", "PICTOGRAM", "KEYBOARD"} <= set(RELEASED)
    assert {"SLIDER", "TAB", "CARD", "DIALOG", "TABLE", "LINK"} <= set(CLASSES) - set(RELEASED)
    assert len({what.definition for what in CLASSES.values()}) == len(CLASSES)
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", name) for name in CLASSES)
