"""The drawn parts of a screen: all ink is in one, none overlap, and the way back is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from annotators.screen.packing import (
    CELL,
    LONGEST_STROKE,
    MARGIN,
    Part,
    arrange,
    drawn_parts,
    pack,
    whole,
)


def page(
    size: tuple[int, int], texts: dict[tuple[int, int], str], frame: bool = True
) -> np.ndarray:
    picture = Image.new("RGB", size, "#f0f2f4")
    brush = ImageDraw.Draw(picture)
    if frame:
        brush.rectangle((4, 4, size[0] - 5, size[1] - 5), "white", "#889")
    for at, text in texts.items():
        brush.text(at, text, "#123", ImageFont.load_default(18))
    return np.asarray(picture)


TEXTS = {(40, 40): "Overview", (420, 44): "Account", (40, 300): "two lines\nthat are close"}


def test_letters_are_in_parts_with_what_is_around_them_and_a_long_frame_is_not() -> None:
    screen, bare = page((640, 400), TEXTS), page((640, 400), TEXTS, frame=False)
    parts = drawn_parts(screen)
    assert len(parts) == 3
    inside = np.zeros((400, 640), bool)
    for part in parts:
        inside[part.y : part.y + part.height, part.x : part.x + part.width] = True
    ink = (bare < 150).all(axis=2)
    for y, x in np.argwhere(ink):
        around = slice(y - MARGIN + 2, y + MARGIN - 1), slice(x - MARGIN + 2, x + MARGIN - 1)
        assert inside[around].all()
    assert inside.mean() < 0.3


def test_a_letter_larger_than_most_is_in_one_part() -> None:
    """Its stems are straight edges too, but shorter than those that do not count."""
    picture = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(picture).text((60, 40), "HIT", "black", ImageFont.load_default(100))
    assert LONGEST_STROKE > 80
    assert len(drawn_parts(np.asarray(picture))) == 1


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), max_size=20))
def test_parts_lie_on_the_canvas_apart(sizes: list[tuple[int, int]]) -> None:
    parts = [Part(n * 1000, 0, wide * CELL, high * CELL) for n, (wide, high) in enumerate(sizes)]
    placed, (width, height) = arrange(parts)
    taken = np.zeros((height, width), int)
    for part in placed:
        assert part.canvas_x + part.width <= width and part.canvas_y + part.height <= height
        down, right = part.canvas_y + part.height, part.canvas_x + part.width
        taken[part.canvas_y : down, part.canvas_x : right] += 1
    assert taken.max(initial=0) <= 1
    assert width % 32 == 0 and height % 32 == 0
    assert sorted((p.x, p.width, p.height) for p in placed) == sorted(
        (p.x, p.width, p.height) for p in parts
    )
    if len(parts) > 3:
        assert width * height < 6 * sum(p.width * p.height for p in parts) + 40 * CELL * width


@pytest.mark.parametrize("size", [(640, 400), (641, 399)])
def test_pixels_of_the_canvas_are_those_of_the_screen(size: tuple[int, int]) -> None:
    screen = page(size, TEXTS)
    packed = pack(screen)
    assert packed.pixels.shape[0] * packed.pixels.shape[1] < 0.6 * size[0] * size[1]
    for part in packed.parts:
        middle = np.array([[part.canvas_x + part.width / 2, part.canvas_y + part.height / 2]])
        corner = packed.on_screen(np.repeat(middle, 4, axis=0).astype(np.float32))[0]
        x, y = (int(value) for value in corner)
        mx, my = (int(value) for value in middle[0])
        assert (packed.pixels[my, mx] == screen[y, x]).all()
        assert (x, y) == (part.x + part.width // 2, part.y + part.height // 2)


def test_a_photograph_is_left_whole_and_an_empty_screen_is_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 130, 3), np.uint8)
    packed = pack(noise)
    assert packed.pixels.shape == (128, 160, 3) and packed.parts == whole(noise).parts
    assert (packed.pixels[:100, :130] == noise).all() and packed.pixels[100:].max() == 0
    empty = pack(np.full((300, 200, 3), 77, np.uint8))
    assert empty.parts == () and empty.pixels.shape == (32, 32, 3)
    corners = np.zeros((4, 2), np.float32)
    assert (empty.on_screen(corners) == corners).all()
