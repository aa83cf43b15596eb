"""Filters: what is no description, which sizes are kept."""

from __future__ import annotations

import pytest

from pipelines.web.filters import SizeRules, TextRules, size_reason, text_reason


@pytest.mark.parametrize(
    ("text", "url", "reason"),
    [
        ("IMG_1234.jpg", "", "text_file_name"),
        ("figure-12.png", "", "text_file_name"),
        ("my file.PNG", "", "text_file_name"),
        ("_images/sphx_glr_plot_001.png", "", "text_file_name"),
        ("DSC00042", "", "text_file_name"),
        ("Figure 3", "", "text_file_name"),
        ("stock-tool-blend-22", "http://a/x/stock-tool-blend-22.png?v=1", "text_file_name"),
        ("tool_icon", "http://a/tool_icon.svg", "text_file_name"),
        ("...", "", "text_short"),
        ("", "", "text_short"),
        ("2024-05-01 12:00", "", "text_short"),
        ("a" * 1001, "", "text_long"),
        ("https://a.org/b c", "", None),
        ("https://a.org/b", "", "text_url"),
        ("www.example.org", "", "text_url"),
        ("logo", "", "text_boilerplate"),
        ("Image of the logo", "", "text_boilerplate"),
        ("Picture 3: photo", "", "text_boilerplate"),
        ("banana", "http://a/banana.png", None),
        ("T-rex", "http://a/t-rex.png", None),
        ("tool_icon", "http://a/other.svg", None),
        ("犬", "", None),
        ("ox", "", None),
        ("company logo", "", None),
        ("100 points", "", None),
        ("A dog on the grass, from dog.jpg", "", None),
        ("warning", "", None),
    ],
)
def test_text(text: str, url: str, reason: str | None) -> None:
    assert text_reason(text, url, TextRules()) == reason


def test_url_that_is_none() -> None:
    assert text_reason("a_b", "http://[", TextRules()) is None


def test_limits_are_the_rules() -> None:
    assert text_reason("ox", "", TextRules(min_letters=3)) == "text_short"
    assert text_reason("a dog", "", TextRules(max_characters=4)) == "text_long"
    assert text_reason("my own dog.png", "", TextRules()) is None
    assert text_reason("my own dog.png", "", TextRules(max_file_name_words=3)) == "text_file_name"


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (20_000, 20_000, "too_many_pixels"),
        (8000, 8000, None),
        (8001, 8000, "too_many_pixels"),
        (31, 31, "too_small"),
        (32, 32, None),
        (160, 32, None),
        (161, 32, "aspect"),
        (32, 161, "aspect"),
    ],
)
def test_size(width: int, height: int, reason: str | None) -> None:
    assert size_reason(width, height, SizeRules()) == reason
