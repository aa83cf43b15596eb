"""The page of screens: every element is on it, at its place, and nothing is fetched."""

from __future__ import annotations

import re

import pytest
from selectolax.lexbor import LexborHTMLParser

from annotators.screen.browse import Shown, page
from annotators.screen.overlay import COLOURS, blank
from annotators.screen.schema import Box, Element, Schema

SCHEMA = Schema(
    (
        Element("CARD", "", Box(0, 999, 0, 999)),
        Element("TEXT", '<script>"x" & y</script>', Box(100, 300, 200, 250), 1),
    )
)


def test_every_element_is_drawn_and_listed() -> None:
    screens = [Shown("one", blank(8, 8), SCHEMA, "ok"), Shown("<two>", blank(8, 8), SCHEMA)]
    tree = LexborHTMLParser(page(screens, "A & B"))
    assert len(tree.css("section")) == 2 and tree.css("h2")[1].text().startswith("<two>2 elements")
    boxes, lines = tree.css(".box"), tree.css("li")
    assert len(boxes) == len(lines) == 4
    assert boxes[1].attributes["title"] == 'TEXT <script>"x" & y</script>'
    style = boxes[1].attributes["style"] or ""
    assert style == f"--c:{COLOURS['TEXT']};left:10.01%;top:20.02%;width:20.02%;height:5.01%"
    assert "--d:1" in (lines[1].attributes["style"] or "")
    assert lines[1].text() == 'TEXT<script>"x" & y</script>100 300 200 250'
    assert [label.text() for label in tree.css("header label")] == ["TEXT 2", "CARD 2"]
    assert len(tree.css("script")) == 1


def test_the_page_asks_nobody_for_anything() -> None:
    html = page([Shown("one", blank(8, 8), SCHEMA)])
    assert not re.search(r"https?://|<link|@import|url\(", html)
    assert re.findall(r'src="(data:image/\w+)', html) == ["data:image/png"]


def test_no_screens_and_no_pictures() -> None:
    assert "<section>" not in page([])
    with pytest.raises(ValueError, match="legal: PNG, JPEG or WebP"):
        page([Shown("one", b"GIF8", Schema())])
