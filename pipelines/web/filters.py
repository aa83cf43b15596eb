"""Filters over pairs and pictures: each answers None (keep) or the reason why not.

Alt texts are written for many ends, and many name nothing that is to be seen: file names left there
by an editor (two thirds of the alts of one real manual), "logo", "Figure 3", rulers of dashes. The
rules here are cheap and of any language, and drop only what is no description at all; which
descriptions are worth keeping is for balancing and for a trained filter to say.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_WORDS = """
advertisement alt avatar banner blank bullet button caption click download enlarge fig
figure graphic here icon illustration image images img loading logo missing no null of
photo photograph pic picture placeholder preview screenshot spacer the thumb thumbnail to
undefined unknown untitled view zoom
"""
BOILERPLATE = frozenset(_WORDS.split())
"""Words that say that there is a picture, not what it shows; a text of these and numbers alone is
dropped.
"""

_EXTENSION = r"(?:png|jpe?g|jfif|gif|webp|avif|svgz?|bmp|tiff?|ico|heic|psd|xcf|eps|pdf)"
_FILE_NAME = re.compile(rf"(?:.*[/\\])?[^/\\]*\.{_EXTENSION}(?:[?#].*)?", re.IGNORECASE | re.DOTALL)
_CAMERA = re.compile(
    r"(?:img|dsc|dscn|dscf|pict|pxl|mvi|scan|image|photo|picture|screenshot|screen|untitled|figure|fig)?"
    r"[-_ .]?(?:[0-9]{1,8}[-_ .x]?)+",
    re.IGNORECASE,
)
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class TextRules:
    """Which texts are no description."""

    min_letters: int = 2
    """Letters of any script, at least; one ideograph is a word, so that it counts twice."""
    max_characters: int = 1000
    """Characters, at most; longer ones are whole articles put into an attribute."""
    max_file_name_words: int = 2
    """A text that ends like a file name is one if it has at most that many words before the dot."""


@dataclass(frozen=True)
class SizeRules:
    """Which sizes of a picture, as fetched, are kept."""

    max_pixels: int = 64_000_000
    """Width times height, announced; more is not even decoded."""
    min_side: int = 32
    """Shorter side at least, pixels."""
    max_aspect: float = 5.0
    """Longer side over shorter side at most."""


def text_reason(text: str, image_url: str, rules: TextRules) -> str | None:
    """Why `text` is no description of the image at `image_url`; None if it may be one.

    Reasons: text_short, text_long, text_url, text_file_name, text_boilerplate.
    """
    text = text.strip()
    if _letters(text) < rules.min_letters:
        return "text_short"
    if len(text) > rules.max_characters:
        return "text_long"
    if _URL.fullmatch(text):
        return "text_url"
    if _is_file_name(text, image_url, rules):
        return "text_file_name"
    words = _WORD.findall(text.lower())
    if all(word in BOILERPLATE or not word.strip("0123456789_") for word in words):
        return "text_boilerplate"
    return None


def size_reason(width: int, height: int, rules: SizeRules) -> str | None:
    """Why a picture of `width` x `height` pixels is not kept; None if it is.

    Reasons: too_many_pixels, too_small, aspect.
    """
    if width * height > rules.max_pixels:
        return "too_many_pixels"
    if min(width, height) < rules.min_side:
        return "too_small"
    return "aspect" if max(width, height) > rules.max_aspect * min(width, height) else None


def _letters(text: str) -> int:
    return sum(2 if character > "\u2e80" else 1 for character in text if character.isalpha())


def _is_file_name(text: str, image_url: str, rules: TextRules) -> bool:
    """IMG_1234.jpg, docs/figure-12.png, DSC00042; and the URL's own file name where it is no plain
    word.
    """
    if _FILE_NAME.fullmatch(text) and len(text.split()) <= rules.max_file_name_words:
        return True
    if _CAMERA.fullmatch(text):
        return True
    return " " not in text and _looks_made(text) and text.lower() == _stem(image_url)


def _looks_made(text: str) -> bool:
    return "_" in text or any(c.isdigit() for c in text) or text.count("-") >= 2


def _stem(url: str) -> str:
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return ""
    return posixpath.splitext(posixpath.basename(path))[0].lower()
