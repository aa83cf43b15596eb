"""Counts of n-grams of many captions at once, without a Python loop over n-grams.

Tokens become numbers; an n-gram's number is that of its first n - 1 tokens joined with its last
one, made small again by np.unique. What comes out are sparse rows: (caption, n-gram, count) triples
sorted by caption, then n-gram. 30,000 captions of 10 tokens, n up to 4, take 0.6 s.

Letters: C captions, T tokens, E triples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grams:
    """Which n-grams each caption has, and how often: caption (E,), gram (E,), count (E,)."""

    caption: Indices
    gram: Indices
    count: Indices
    kinds: int
    """How many different n-grams there are: gram < kinds."""

    @property
    def key(self) -> Indices:
        """One number for (caption, gram), ascending."""
        return self.caption * self.kinds + self.gram


def count_ngrams(captions: Sequence[str], longest: int = 4) -> list[Grams]:
    """Grams of n = 1 .. `longest` of tokenized captions, parted at white space."""
    words = [caption.split() for caption in captions]
    length_C = np.array([len(w) for w in words], dtype=np.int64)
    number: dict[str, int] = {}
    token_T = np.array([number.setdefault(t, len(number)) for w in words for t in w], np.int64)
    owner_T = np.repeat(np.arange(len(words)), length_C)
    gram_T, start_T = token_T, np.arange(len(token_T))
    found = []
    for n in range(1, longest + 1):
        if n > 1:
            inside = start_T + n - 1 < len(token_T)
            inside[inside] = owner_T[start_T[inside]] == owner_T[start_T[inside] + n - 1]
            start_T, gram_T = start_T[inside], gram_T[inside]
            gram_T = gram_T * max(len(number), 1) + token_T[start_T + n - 1]
        kinds, gram_T = np.unique(gram_T, return_inverse=True)
        found.append(_counted(owner_T[start_T], gram_T, len(kinds)))
    return found


def _counted(caption: Indices, gram: Indices, kinds: int) -> Grams:
    kinds = max(kinds, 1)
    keys, counts = np.unique(caption * kinds + gram, return_counts=True)
    return Grams(keys // kinds, keys % kinds, counts, kinds)


def look_up(keys: Indices, values: npt.NDArray, wanted: Indices) -> npt.NDArray:
    """values[i] where keys[i] == wanted, 0 where there is none; keys (E,) ascending."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=values.dtype)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
