"""Counts and mutual information beside plain loops."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.web.ngrams import count_bigrams, count_words, pmi, segments

WORDS = st.lists(st.sampled_from(["new", "york", "a", "."]), max_size=20)


def plain_counts(texts: list[list[str]]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        for i, word in enumerate(text):
            if word != ".":
                words[word] += 1
                if i + 1 < len(text) and text[i + 1] != ".":
                    pairs[word, text[i + 1]] += 1
    return words, pairs


@given(texts=st.lists(WORDS, max_size=4))
def test_counts_equal_the_plain_loop(texts: list[list[str]]) -> None:
    words, pairs = plain_counts(texts)
    articles = [("", " ".join(text)) for text in texts]
    assert dict(count_words(articles)) == words
    assert dict(count_bigrams(articles, words)) == pairs
    known = {"new": 1, "york": 1}
    assert dict(count_bigrams(articles, known)) == {
        pair: count for pair, count in pairs.items() if set(pair) <= set(known)
    }


@given(*[st.integers(1, 10**9)] * 4)
def test_pmi_is_the_log_ratio_of_probabilities(
    together: int, left: int, right: int, total: int
) -> None:
    ratio = (together / total) / ((left / total) * (right / total))
    assert pmi(together, left, right, total) == pytest.approx(math.log2(ratio), abs=1e-6)


def test_words_that_only_occur_together_have_the_most() -> None:
    assert pmi(8, 8, 8, 1024) == 7
    assert pmi(1, 32, 32, 1024) == 0


def test_segments_end_at_marks_and_not_in_words() -> None:
    text = "In St Louis, Missouri: the dog's well-known café (1904)\nनई दिल्ली। 東京、日本"
    assert list(segments(text)) == [
        ["in", "st", "louis"],
        ["missouri"],
        ["the", "dog", "s", "well", "known", "café"],
        ["1904"],
        ["नई", "दिल्ली"],
        ["東", "京"],
        ["日", "本"],
    ]
