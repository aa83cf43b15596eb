"""What is drawn over a screenshot: colours at the boxes' edges, numbers that cover little."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from annotators.screen import overlay as drawing
from annotators.screen.classes import CLASSES
from annotators.screen.overlay import COLOURS, FONT, PANEL, blank, overlay
from annotators.screen.schema import Box, Element, Schema

SCHEMA = Schema(
    (
        Element("CARD", "", Box(100, 900, 100, 900)),
        Element("TEXT", "Γειά, 日本語\nand so on " * 20, Box(200, 800, 200, 300), 1),
        Element("BUTTON", "OK", Box(200, 400, 700, 800), 1),
    )
)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_every_class_has_a_colour_of_its_own() -> None:
    assert COLOURS.keys() == CLASSES.keys()
    assert len(set(COLOURS.values())) == len(CLASSES)


@pytest.mark.parametrize("font", ["DejaVuSans.ttf", "there is none such"])
@pytest.mark.parametrize("size", [(300, 500), (1000, 300), (1, 1)])
def test_edges_are_in_the_colour_of_the_class(size: tuple[int, int], font: str) -> None:
    drawn = decoded(overlay(blank(*size), SCHEMA, longer_side=800, font=font))
    wide, high = round(size[0] * 800 / max(size)), round(size[1] * 800 / max(size))
    assert drawn.shape == (max(high, 100), wide + PANEL, 3)
    for element in SCHEMA:
        x0, x1, y0, y1 = element.box
        row = round((y0 + y1) / 2 * (high - 1) / 999)
        for x in (x0, x1):
            at = drawn[row, round(x * (wide - 1) / 999)]
            assert at.tolist() == list(ImageColor.getrgb(COLOURS[element.kind]))


def test_a_small_box_stays_visible_in_a_large_one_drawn_after_it() -> None:
    schema = Schema(
        (
            Element("TEXT", "", Box(400, 600, 400, 600)),
            Element("CARD", "", Box(0, 999, 0, 999)),
        )
    )
    drawn = decoded(overlay(blank(400, 400), schema, longer_side=400))
    inside, outside = drawn[230, 230].astype(int), drawn[300, 300].astype(int)
    assert inside[2] - inside[0] > outside[2] - outside[0]  # bluer


def test_numbers_go_where_they_cover_nothing_if_there_is_such_a_place() -> None:
    covered = np.zeros((200, 200), np.float32)
    box, size = (50, 150, 80, 120), (20, FONT)
    seen = set()
    for _ in range(8):
        x, y = drawing._place(box, size, covered)
        assert covered[y : y + size[1], x : x + size[0]].sum() == 0
        covered[y : y + size[1], x : x + size[0]] += drawing.TAKEN
        seen.add((x, y))
    assert len(seen) == 8
    assert drawing._place((0, 3, 0, 3), size, covered)[0] >= 0


def test_a_list_too_long_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "TALLEST", 200)
    schema = Schema(tuple(Element("TEXT", str(n), Box(0, 99, 0, 99)) for n in range(500)))
    assert decoded(overlay(blank(100, 100), schema, longer_side=100)).shape[0] < 300


def test_text_is_cut_to_its_room() -> None:
    assert drawing._fitting("a  b\nc", 5, len) == "a b c"
    assert drawing._fitting("abcdefgh", 5, len) == "abcd…"
