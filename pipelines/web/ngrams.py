"""Words and bigrams of a text corpus, counted, and how strongly two words cling together.

A bigram is two tokens in a row with no mark between them: "St Louis" in "in St Louis, Missouri"
but not "Louis Missouri". Counts are made a batch of articles at a time, so that an engine adds up
few and large parts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from pipelines.web.articles import Article
from pipelines.web.match import tokens

BREAK = re.compile(r"[.,;:!?…()\[\]{}<>|/\\\"“”„«»\t\r\n।॥،؟。、，．！？：；（）「」『』]+")
"""Marks that end a segment: words on either side of one are no bigram."""


def segments(text: str) -> Iterator[list[str]]:
    """The tokens between one mark of `BREAK` and the next."""
    return (words for part in BREAK.split(text) if (words := tokens(part)))


def pmi(together: int, left: int, right: int, total: int) -> float:
    """Pointwise mutual information in bits: log2 p(left right) / (p(left) p(right)).

    Args:
        together: occurrences of the bigram; left, right: of its words; total: of all words.
    """
    return math.log2(together) + math.log2(total) - math.log2(left) - math.log2(right)


def count_words(articles: Iterable[Article]) -> Iterator[tuple[str, int]]:
    """(word, occurrences) over a batch of articles."""
    count: Counter[str] = Counter()
    for _, text in articles:
        for words in segments(text):
            count.update(words)
    yield from count.items()


def count_bigrams(
    articles: Iterable[Article], known: Mapping[str, int]
) -> Iterator[tuple[tuple[str, str], int]]:
    """(bigram, occurrences) over a batch of articles; only bigrams of known words."""
    count: Counter[tuple[str, str]] = Counter()
    for _, text in articles:
        for words in segments(text):
            count.update(pair for pair in pairwise(words) if pair[0] in known and pair[1] in known)
    yield from count.items()
