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


def line(text: str, left: float, top: float, width: float = 100, height: float = 16) -> Line:
    return Line(text, (left, left + width, top, top + height), 0.9)


PAGE = [
    line("Title", 20, 10, 200, 30),
    line("first paragraph", 20, 60),
    line("goes on here", 20, 82, 90),
    line("and ends.", 22, 104, 60),
    line("Aside", 300, 62),
    line("its text", 300, 84, 70),
    line("cell 1", 20, 150),
    line("cell 2", 300, 151),
    line("cell 3", 20, 190),
    line("cell 4", 300, 191),
]


def test_paragraphs_are_blocks_and_table_cells_are_not() -> None:
    shuffled = random.Random(0).sample(PAGE, len(PAGE))
    assert [block.text for block in blocks(shuffled)] == [
        "Title",
        "first paragraph goes on here and ends.",
        "Aside its text",
        "cell 1",
        "cell 2",
        "cell 3",
        "cell 4",
    ]


@pytest.mark.parametrize(
    ("below", "joined"),
    [
        (line("b", 20, 24), True),
        (line("b", 20, 26), False),  # too far
        (line("b", 20, 20, 100, 26), False),  # a heading's height
        (line("b", 90, 24), False),  # beside it rather than below
        (line("b", 20, 14), True),  # boxes that overlap a little
        (line("b", 20, 1), False),  # one over the other
    ],
)
def test_which_line_follows(below: Line, joined: bool) -> None:
    assert (len(blocks([line("a", 20, 0), below])) == 1) is joined


def test_a_block_is_around_its_lines_and_becomes_an_element() -> None:
    block = Block((line("a", 20, 10), line("b", 10, 30, 50)))
    assert block.edges == (10, 120, 10, 46) and block.text == "a b"
    element = text_elements([block], np.zeros((100, 200, 3), np.uint8))[0]
    assert (element.kind, element.text) == ("TEXT", "a b")
    assert element.box == Box(50, 599, 100, 460)
    assert len(arrange(text_elements(blocks(PAGE), np.zeros((400, 600, 3), np.uint8)))) == 7
    assert blocks([]) == []


def test_what_is_transparent_is_white() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (3, 2), (9, 9, 9, 0)).save(out, "png")
    assert decode(out.getvalue()).tolist() == [[[255] * 3] * 3] * 2
    with pytest.raises(OSError, match="cannot identify"):
        decode(b"no picture")
