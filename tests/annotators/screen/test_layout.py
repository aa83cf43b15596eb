"""Boxes to schemas: thousandths and back, containment against a plain search, reading order."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotators.screen.layout import INSIDE, arrange, holders, pixels, quantise, reading_order
from annotators.screen.schema import Box, Element, Schema

SIDES = st.integers(1, 8000)


@given(st.from_type(Box), SIDES, SIDES)
def test_thousandths_to_pixels_and_back(box: Box, width: int, height: int) -> None:
    assert quantise(*pixels(box, width, height), width, height) == box


@given(st.data(), SIDES, SIDES)
def test_an_edge_moves_by_half_a_thousandth_at_most(
    data: st.DataObject, width: int, height: int
) -> None:
    xs = sorted(data.draw(st.lists(st.floats(0, width), min_size=2, max_size=2)))
    ys = sorted(data.draw(st.lists(st.floats(0, height), min_size=2, max_size=2)))
    back = pixels(quantise(*xs, *ys, width, height), width, height)
    assert back[:2] == pytest.approx(xs, abs=width / 999 / 2 + 1e-9)
    assert back[2:] == pytest.approx(ys, abs=height / 999 / 2 + 1e-9)


def test_pixels_outside_are_clipped_and_nonsense_is_refused() -> None:
    assert quantise(-5, 700, 10, 9999, 640, 480) == Box(0, 999, 21, 999)
    assert quantise(0, 640, 0, 480, 640, 480) == Box(0, 999, 0, 999)
    nan = float("nan")
    for wrong in [(3, 2, 0, 1), (0, 1, 3, 2), (nan, 1, 0, 1), (0, 1, 0, nan)]:
        with pytest.raises(ValueError, match="legal: left <= right"):
            quantise(*wrong, 640, 480)
    with pytest.raises(ValueError, match="picture of 0 x 480"):
        quantise(0, 1, 0, 1, 0, 480)


def plain_share(inner: Box, outer: Box) -> float:
    """Share of `inner` in `outer`, an axis at a time; a flat one is in or out."""
    share = 1.0
    for low, high in ((0, 1), (2, 3)):
        common = min(inner[high], outer[high]) - max(inner[low], outer[low])
        length = inner[high] - inner[low]
        share *= max(common, 0) / length if length else float(common >= 0)
    return share


@given(st.lists(st.from_type(Box), max_size=12))
def test_holders_equal_a_plain_search(boxes: list[Box]) -> None:
    area = [(b.x1 - b.x0) * (b.y1 - b.y0) for b in boxes]
    for place, found in enumerate(holders(boxes)):
        larger = [
            other
            for other in range(len(boxes))
            if (-area[other], other) < (-area[place], place)
            and plain_share(boxes[place], boxes[other]) >= INSIDE - 1e-12
        ]
        assert found == max(larger, key=lambda o: (-area[o], o), default=None)


@given(st.from_type(Schema), st.randoms())
def test_arranging_keeps_all_and_needs_no_order(schema: Schema, shuffle: random.Random) -> None:
    arranged = arrange(schema)
    shuffled = list(schema)
    shuffle.shuffle(shuffled)
    assert arrange(shuffled) == arranged == arrange(arranged)
    bare = [(e.kind, e.text, e.box) for e in schema]
    assert sorted((e.kind, e.text, e.box) for e in arranged) == sorted(bare)
    for child, parent in enumerate(arranged.parents()):
        if parent is not None:
            inner, outer = (arranged.elements[place].box for place in (child, parent))
            assert plain_share(inner, outer) >= INSIDE - 1e-12


@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_a_grid_reads_by_rows_however_its_cells_are_off(
    data: st.DataObject, rows: int, columns: int
) -> None:
    off = st.integers(-8, 8)
    grid = []
    for row in range(rows):
        for column in range(columns):
            x, y = 30 + 160 * column + data.draw(off), 30 + 50 * row + data.draw(off)
            grid.append(Box(x, x + 120 + data.draw(off), y, y + 36 + data.draw(off)))
    order = data.draw(st.permutations(range(len(grid))))
    read = [order[place] for place in reading_order([grid[place] for place in order])]
    assert read == list(range(len(grid)))


def test_a_picture_is_read_before_the_lines_beside_it_and_then_the_next_row() -> None:
    picture = Box(10, 200, 100, 300)
    lines = [Box(220, 600, 110, 130), Box(218, 500, 150, 170), Box(221, 550, 260, 290)]
    below = Box(10, 600, 310, 340)
    boxes = [below, lines[2], picture, lines[0], lines[1]]
    assert [boxes[i] for i in reading_order(boxes)] == [picture, *lines, below]


def test_an_equal_box_goes_into_the_container() -> None:
    box = Box(10, 20, 10, 20)
    for found in ([("TEXT", 1), ("LIST_ITEM", 0)], [("LIST_ITEM", 0), ("TEXT", 1)]):
        arranged = arrange(Element(kind, "", box) for kind, _ in found)
        assert [(e.kind, e.depth) for e in arranged] == [("LIST_ITEM", 0), ("TEXT", 1)]


def test_5000_boxes_take_seconds() -> None:
    draw = random.Random(0)
    corners = [(draw.randrange(900), draw.randrange(900)) for _ in range(5000)]
    start = time.process_time()
    arrange(Element("TEXT", str(n), Box(x, x + 99, y, y + 99)) for n, (x, y) in enumerate(corners))
    assert time.process_time() - start < 10
