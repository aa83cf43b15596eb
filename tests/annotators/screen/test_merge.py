from __future__ import annotations

import time
from typing import Any

from annotators.screen import grammar
from annotators.screen.merge import Merging, Seen, merge
from annotators.screen.ocr import Line
from annotators.screen.schema import Schema


def box(kind: str, x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    return {"kind": kind, "confidence": 0.9, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


def line(text: str, x0: float, y0: float, x1: float, y1: float, sure: float = 0.9) -> Line:
    return Line(text, (x0, x1, y0, y1), sure)


def said(schema: Schema) -> list[tuple[str, str, int]]:
    return [(element.kind, element.text, element.depth) for element in schema]


def test_a_button_says_its_lines_and_a_card_holds_it() -> None:
    boxes = [box("BUTTON", 100, 100, 300, 160), box("CARD", 50, 50, 950, 400)]
    lines = [line("now", 150, 132, 200, 150), line("Buy", 150, 105, 200, 125)]
    lines.append(line("Price", 400, 100, 500, 120))
    found = merge(Seen(1000, 1000, boxes, lines)).schema
    assert said(found) == [("CARD", "", 0), ("BUTTON", "Buy now", 1), ("TEXT", "Price", 1)]


def test_the_smallest_element_takes_a_line() -> None:
    boxes = [box("TAB", 0, 0, 400, 100), box("LABEL", 10, 10, 200, 40)]
    found = merge(Seen(1000, 1000, boxes, [line("Name", 20, 12, 100, 38)])).schema
    assert [(kind, text) for kind, text, _ in said(found)] == [("TAB", ""), ("LABEL", "Name")]


def test_what_is_read_in_a_named_icon_is_left_out_and_else_stays() -> None:
    boxes = [box("PICTOGRAM", 0, 0, 40, 40), box("PICTOGRAM", 100, 0, 140, 40)]
    lines = [line("Q", 5, 5, 35, 35), line("AB", 105, 5, 135, 35)]
    found = merge(Seen(1000, 1000, boxes, lines, ["magnifying glass", ""])).schema
    assert said(found) == [
        ("PICTOGRAM", "magnifying glass", 0),
        ("PICTOGRAM", "", 0),
        ("TEXT", "AB", 1),
    ]


def test_a_class_of_other_weights_is_a_button_where_it_has_a_text() -> None:
    boxes = [box("icon", 0, 0, 200, 40), box("icon", 300, 0, 340, 40), box("icon", 400, 0, 440, 40)]
    lines = [line("Save", 50, 5, 150, 35), line("Q", 305, 5, 335, 35)]
    found = merge(Seen(1000, 1000, boxes, lines, ["", "magnifying glass", "x"])).schema
    assert said(found) == [
        ("BUTTON", "Save", 0),
        ("PICTOGRAM", "magnifying glass", 0),
        ("PICTOGRAM", "x", 0),
    ]


def test_captions_go_to_images_and_to_icons_without_a_name() -> None:
    boxes = [box("IMAGE", 0, 0, 200, 200), box("PICTOGRAM", 300, 0, 340, 40)]
    seen = Seen(1000, 1000, boxes, (), ["", "home"], ["a cat", "a house"])
    assert said(merge(seen).schema) == [("IMAGE", "a cat", 0), ("PICTOGRAM", "home", 0)]


def test_an_illegible_line_keeps_its_place_without_its_text() -> None:
    lines = [line("jkq", 100, 100, 300, 130, sure=0.05), line("Title", 100, 20, 300, 60)]
    merged = merge(Seen(1000, 1000, (), lines))
    assert said(merged.schema) == [("TEXT", "Title", 0), ("TEXT", "", 0)]
    assert merged.illegible == 1


def test_a_block_in_another_is_part_of_it_in_reading_order() -> None:
    lines = [
        line("This is the first line of it", 100, 100, 500, 120),
        line("an element", 100, 126, 220, 146),
        line("being animated here", 230, 126, 500, 146),
        line("and this is the last line of it", 100, 152, 500, 172),
    ]
    found = merge(Seen(1000, 1000, (), lines)).schema
    assert [element.text for element in found] == [
        "This is the first line of it an element being animated here "
        "and this is the last line of it"
    ]


def test_five_thousand_elements_take_seconds_and_more_are_counted() -> None:
    boxes = [
        box("BUTTON", 20 * i, 9 * j, 20 * i + 15, 9 * j + 7) for i in range(60) for j in range(50)
    ]
    lines = [
        line(f"t{i}", 20 * i, 500 + 9 * j, 20 * i + 15, 506 + 9 * j)
        for i in range(60)
        for j in range(0, 100, 2)
    ]
    started = time.process_time()
    merged = merge(Seen(1280, 1500, boxes, lines), Merging(most=5000))
    assert time.process_time() - started < 20
    assert len(merged.schema) == 5000
    assert merged.over == 1000
    assert grammar.parse(grammar.render(merged.schema)) == merged.schema
