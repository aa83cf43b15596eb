"""Rendered screens with their truth, some of held-out templates, and tasks about them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotators.screen import grammar
from annotators.screen.truth import true_schema
from pipelines.datasets import Dataset
from pipelines.records import record_id

Build = Callable[[str, Sequence[dict[str, Any]]], Dataset]
TRAIN, HELD_OUT = 8, 4


def png(number: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (20, 30 + number, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def true(kind: str, y0: float, text: str) -> dict[str, Any]:
    blank = {"name": "", "state": "", "depth": 0}
    return {"kind": kind, "text": text, **blank, "x0": 1, "x1": 20, "y0": y0, "y1": y0 + 5}


def screen(number: int) -> dict[str, Any]:
    held = number >= TRAIN
    return {
        **{"screen_id": record_id(str(number)), "image": png(number), "format": "png"},
        **{"width": 30 + number, "height": 20, "source": "npm x 1", "page": "", "top": 0},
        **{"template": "Y" if held else "X", "device": "desktop", "theme": "light"},
        **{"language": "en", "split": "held-out" if held else "train"},
        **{"truth": [true("TEXT", 2, f"Order {number}"), true("BUTTON", 10, "Buy")]},
        **{"status": "ok", "detail": ""},
    }


def task(kind: str, text: str, target: str, status: str = "kept") -> dict[str, Any]:
    blank = dict.fromkeys(("plain", "author", "prompts", "detail", "said"), "")
    own = {"task_id": record_id(kind, text), "kind": kind, "text": text, "target": target}
    return {**blank, **own, "answer": target, "box": None, "elements": [], "status": status}


def tasks(row: dict[str, Any]) -> dict[str, Any]:
    found = [
        task("read", "Which order is it?", "7"),
        task("count", "How many buttons are there?", "1"),
        task("sum", "What is all?", "8", "unanswerable"),
        task("navigate", "Buy it", "click 33 666 500 749"),
        task("summary", "An order that can be bought.", "An order that can be bought."),
    ]
    return {
        "image_id": row["screen_id"],
        "screen": grammar.render(true_schema(row)),
        "tasks": found,
        "status": "ok",
        "detail": "",
    }


@pytest.fixture
def given(build: Build) -> tuple[Dataset, Dataset]:
    """`screens` and `screen_tasks`; a screen has no picture, one no tasks, one a torn picture."""
    rows = [screen(number) for number in range(TRAIN + HELD_OUT)]
    torn = {**screen(50), "image": rows[0]["image"][:60], "split": "train"}
    lost = {**screen(51), "status": "timeout", "image": None, "split": "train"}
    alone = {**screen(52), "split": "train"}
    screens = build("screens", [*rows, torn, lost, alone])
    return screens, build("screen_tasks", [tasks(row) for row in [*rows, torn]])
