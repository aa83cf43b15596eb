"""What was read off screens, against what stands on them: F1 over words.

A screen is a bag of words: its texts split at white space, letters folded (NFKC, no case), marks at
a word's ends left out; what has no letter or digit is no word. Where a word stands is not asked, so
that neither side's cutting of text into elements counts. A word read as often as it stands counts
as often. Precision and recall are over the words of all screens together; the error of F1 comes
from drawing screens anew.

Letters: S screens.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.screens import RESAMPLES, Counts
from evaluators.statistics import Interval, bootstrap_weights, interval


@dataclass(frozen=True)
class ReadTexts:
    """How well screens were read."""

    f1: Interval
    """Over all words; drawn over the screens."""
    counts: Counts
    """Words of both sides and those that they share."""
    screens: int


def words(texts: Iterable[str]) -> Counter[str]:
    """The bag of words of a screen's texts."""
    folded = (unicodedata.normalize("NFKC", text).casefold() for text in texts)
    bare = (_bare(word) for text in folded for word in text.split())
    return Counter(word for word in bare if word)


def _bare(word: str) -> str:
    """A word without what is neither letter nor digit at its ends."""
    kept = [place for place, letter in enumerate(word) if letter.isalnum()]
    return word[kept[0] : kept[-1] + 1] if kept else ""


def counts(read: Counter[str], true: Counter[str]) -> Counts:
    """Words in common, read, and true of one screen."""
    return Counts((read & true).total(), read.total(), true.total())


def word_f1(
    screens: Sequence[tuple[Counter[str], Counter[str]]],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ReadTexts:
    """F1 over `screens`, each the words read and the true ones."""
    of_screen = [counts(read, true) for read, true in screens]
    counts_S3 = np.array([[c.pairs, c.predicted, c.true] for c in of_screen], float).reshape(-1, 3)
    whole = Counts(*counts_S3.sum(axis=0).astype(int).tolist())
    draws_R = np.empty(0)
    if len(counts_S3):
        drawn_R3 = bootstrap_weights(len(counts_S3), resamples, seed) @ counts_S3
        both_R = drawn_R3[:, 1] + drawn_R3[:, 2]
        draws_R = np.where(both_R > 0, 2 * drawn_R3[:, 0] / np.maximum(both_R, 1), np.nan)
    return ReadTexts(interval(whole.f1, draws_R), whole, len(of_screen))
