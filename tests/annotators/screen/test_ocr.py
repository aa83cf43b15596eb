"""Lines into blocks in reading order, and into a schema's elements."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from annotators.screen.layout import arrange
from annotators.screen.ocr import Block, Line, blocks, decode, text_elements
from annotators.screen.schema import Box


def line(text: str, left: float, top: float, size: float = 16, letter: float = 8) -> Line:
    return Line(text, (left, left + letter * len(text), top, top + size), 0.9)


PAGE = [
    line("Title", 20, 10, 30, 15),
    line("first paragraph", 20, 60),
    line("goes on here", 20, 81, 18),
    line("and ends.", 22, 102, 15, 9),
    line("Aside", 300, 62),
    line("its text", 300, 82),
    line("Orders", 500, 60),
    line("913", 500, 80, 20, 13),
    line("cell 1", 20, 150),
    line("cell 2", 300, 151),
    line("cell 3", 20, 180),
    line("cell 4", 300, 181),
]


def test_paragraphs_are_blocks_and_table_cells_are_not() -> None:
    shuffled = random.Random(0).sample(PAGE, len(PAGE))
    assert [block.text for block in blocks(shuffled)] == [
        "Title",
        "first paragraph goes on here and ends.",
        "Aside its text",
        "Orders",
        "913",
        "cell 1",
        "cell 2",
        "cell 3",
        "cell 4",
    ]


@pytest.mark.parametrize(
    ("below", "joined"),
    [
        (line("text", 20, 21), True),
        (line("text", 20, 22), False),  # too far
        (line("text", 20, 20, 26), False),  # a heading's height
        (line("text", 20, 20, 16, 13), False),  # a heading's letters
        (line("text", 40, 20), False),  # beside it rather than below
        (line("text", 20, 14), True),  # boxes that overlap a little
        (line("text", 20, 6), False),  # one over the other
    ],
)
def test_which_line_follows(below: Line, joined: bool) -> None:
    assert (len(blocks([line("more", 20, 0), below])) == 1) is joined


def test_a_block_is_around_its_lines_and_becomes_an_element() -> None:
    block = Block((line("a", 20, 10, 16, 100), line("b", 10, 30, 16, 50)))
    assert block.edges == (10, 120, 10, 46) and block.text == "a b"
    element = text_elements([block], np.zeros((100, 200, 3), np.uint8))[0]
    assert (element.kind, element.text) == ("TEXT", "a b")
    assert element.box == Box(50, 599, 100, 460)
    assert len(arrange(text_elements(blocks(PAGE), np.zeros((400, 600, 3), np.uint8)))) == 9
    assert blocks([]) == []


def test_what_is_transparent_is_white() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (3, 2), (9, 9, 9, 0)).save(out, "png")
    assert decode(out.getvalue()).tolist() == [[[255] * 3] * 3] * 2
    with pytest.raises(OSError, match="cannot identify"):
        decode(b"no picture")
