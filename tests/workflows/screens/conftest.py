"""Three small rendered screens, their annotations, and tasks, as datasets."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from annotators.screen import grammar
from annotators.screen.annotate import element_row
from pipelines.datasets import Dataset
from pipelines.records import record_id

CHART = "IMAGE 0 999 0 500 (TEXT 2024 100 200 100 200), LINK Sale 0 999 600 700"
Build = Callable[[str, Sequence[dict[str, Any]]], Dataset]


def png(width: int = 100, height: int = 100) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(out, "png")
    return out.getvalue()


def true(kind: str, x0: float, x1: float, y0: float, y1: float, text: str = "") -> dict[str, Any]:
    return {
        **{"kind": kind, "text": text, "name": "", "state": "", "depth": 0},
        **{"x0": x0, "x1": x1, "y0": y0, "y1": y1},
    }


def screen(key: str, truth: list[dict[str, Any]], **values: str) -> dict[str, Any]:
    return {
        **{
            "screen_id": record_id(key),
            "image": png(),
            "format": "png",
            "width": 100,
            "height": 100,
        },
        **{"source": "npm x 1", "template": "X", "page": f"{key}.html", "top": 0},
        **{"device": "desktop", "theme": "light", "language": "en", "split": "held-out"},
        **{"truth": truth, "status": "ok", "detail": "", **values},
    }


def annotated(key: str, schema: str, **values: str) -> dict[str, Any]:
    parsed = grammar.parse(schema)
    return {
        **{
            "image_id": record_id("i", key),
            "origin": record_id(key),
            "image": png(),
            "format": "png",
        },
        **{"width": 100, "height": 100, "elements": [element_row(one) for one in parsed]},
        **{"screen": schema, "status": "ok", "detail": "", **values},
    }


@pytest.fixture
def screens(build: Build) -> Dataset:
    hello = [true("TEXT", 0, 50, 0, 10, "Hello world"), true("BUTTON", 0, 50, 20, 40, "Go")]
    chart = [true("IMAGE", 0, 100, 0, 50), true("TEXT", 0, 100, 60, 70, "Sales")]
    return build(
        "screens",
        [
            screen("a", hello),
            screen("b", chart, device="phone"),
            screen("c", hello, language="ar"),
            screen("d", hello, split="train"),
            screen("e", [], status="timeout"),
        ],
    )


@pytest.fixture
def schemas(build: Build) -> Dataset:
    return build(
        "schemas",
        [
            annotated("a", "TEXT Hello world 0 500 0 100, BUTTON Go! 0 500 200 400"),
            annotated(
                "b", "IMAGE 0 999 0 500 (TEXT 2024 100 200 100 200), LINK Sale 0 999 600 700"
            ),
            annotated("c", "TEXT gibberish 0 500 0 100"),
        ],
    )
