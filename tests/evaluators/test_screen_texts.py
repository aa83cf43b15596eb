"""Word F1 against plain loops over lists of words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.screen_texts import word_f1, words

WORDS = st.lists(st.sampled_from(["a", "b", "c", "7"]), max_size=6)


def common(read: list[str], true: list[str]) -> int:
    """Words of one list that find one of their own in the other."""
    left = list(true)
    hits = 0
    for word in read:
        if word in left:
            left.remove(word)
            hits += 1
    return hits


@given(st.lists(st.tuples(WORDS, WORDS), max_size=5))
def test_f1_equals_taking_words_off_a_list(screens: list[tuple[list[str], list[str]]]) -> None:
    found = word_f1([(words(read), words(true)) for read, true in screens], resamples=20)
    shared = sum(common(*one) for one in screens)
    read, true = (sum(len(one[side]) for one in screens) for side in (0, 1))
    assert (found.counts.pairs, found.counts.predicted, found.counts.true) == (shared, read, true)
    if read + true:
        assert found.f1.value == pytest.approx(2 * shared / (read + true))
    else:
        assert math.isnan(found.f1.value)
    assert found.screens == len(screens)


def test_the_interval_is_of_screens_drawn_anew() -> None:
    right, wrong = (words(["a b"]), words(["a b"])), (words(["c d"]), words(["a b"]))
    found = word_f1([right] * 10 + [wrong] * 10)
    assert found.f1.value == 0.5
    assert 0.2 < found.f1.low < 0.4
    assert 0.6 < found.f1.high < 0.8
    assert word_f1([right] * 5).f1.standard_error == 0


@pytest.mark.parametrize(
    ("text", "bag"),
    [
        ("Sign in, Ann!", {"sign": 1, "in": 1, "ann": 1}),
        ("don't e-mail 3.50 $", {"don't": 1, "e-mail": 1, "3.50": 1}),
        ("GRÖSSE größe \uff21", {"grösse": 2, "a": 1}),
        ("• — |", {}),
        ("a a A", {"a": 3}),
    ],
)
def test_words_are_folded(text: str, bag: dict[str, int]) -> None:
    assert dict(words([text])) == bag
    assert words(text.split()) == words([text])
