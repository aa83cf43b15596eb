"""RapidOCR behind the same door, where it is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from annotators.screen.rapid import RapidOcr

THERE = importlib.util.find_spec("rapidocr_onnxruntime") is not None


@pytest.mark.skipif(not THERE, reason="no rapidocr-onnxruntime")
def test_it_reads_a_dollar_and_an_empty_screen() -> None:
    picture = Image.new("RGB", (400, 200), "white")
    brush = ImageDraw.Draw(picture)
    brush.text((20, 20), "Total $48.50", "#123", ImageFont.load_default(22))
    brush.text((220, 120), "Invoices", "#123", ImageFont.load_default(22))
    found = RapidOcr().read([np.asarray(picture), np.full((99, 99, 3), 255, np.uint8)])
    assert [line.text.replace(" ", "") for line in found[0]] == ["Total$48.50", "Invoices"]
    left, right, top, bottom = found[0][1].edges
    assert 210 < left < 225 and 290 < right < 330 and 110 < top < 130 < bottom < 155
    assert found[1] == []


@pytest.mark.skipif(THERE, reason="rapidocr-onnxruntime is here")
def test_without_it_the_error_says_what_to_install() -> None:
    with pytest.raises(ImportError, match="pip install rapidocr-onnxruntime"):
        RapidOcr()
