"""Short answers scored, against second implementations and cases worked by hand."""

from __future__ import annotations

import functools
import math
import re
from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.short_answers import (
    anls,
    best,
    edit_distance,
    exact_match,
    relaxed_match,
    score,
    squad_f1,
)

WORDS = st.lists(
    st.sampled_from(["The", "cat", "Cat!", "a", "an", "sat", "on", "theme", "3.5", "—", "über"]),
    max_size=7,
).map(" ".join)
SHORT = st.text("abcA ü", max_size=7)


def plain_words(text: str) -> list[str]:
    """SQuAD's words: character by character, then word by word."""
    marks = r"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"""
    kept = "".join(c for c in text.lower() if c not in marks)
    return [word for word in re.split(r"\s+", kept) if word not in ("", "a", "an", "the")]


def plain_f1(prediction: str, reference: str) -> float:
    ours, theirs = plain_words(prediction), plain_words(reference)
    if not ours and not theirs:
        return 1.0
    left, common = list(theirs), 0
    for word in ours:
        if word in left:
            left.remove(word)
            common += 1
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


@given(WORDS, WORDS)
def test_squad_equals_a_plain_implementation(prediction: str, reference: str) -> None:
    assert squad_f1(prediction, reference) == pytest.approx(plain_f1(prediction, reference))
    same = plain_words(prediction) == plain_words(reference)
    assert exact_match(prediction, reference) == float(same)


@pytest.mark.parametrize(
    ("prediction", "reference", "em", "f1"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1, 1),
        ("in the Eiffel Tower", "Eiffel Tower", 0, 0.8),
        ("theatre", "the atre", 0, 0),
        ("", "", 1, 1),
        ("", "x", 0, 0),
        ("the", "", 1, 1),
        ("no no yes", "no yes yes", 0, 2 / 3),
        ("1,000", "1000", 1, 1),
    ],
)
def test_squad_by_hand(prediction: str, reference: str, em: float, f1: float) -> None:
    assert exact_match(prediction, reference) == em
    assert squad_f1(prediction, reference) == pytest.approx(f1)


def plain_distance(one: str, other: str) -> int:
    """Levenshtein's distance as it is defined."""

    @functools.cache
    def between(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        changed = between(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(changed, between(i - 1, j) + 1, between(i, j - 1) + 1)

    return between(len(one), len(other))


@given(SHORT, SHORT)
def test_edit_distance_equals_its_definition(one: str, other: str) -> None:
    assert edit_distance(one, other) == plain_distance(one, other)


@given(SHORT, SHORT)
def test_anls_equals_its_definition(prediction: str, reference: str) -> None:
    ours, theirs = (" ".join(text.lower().split()) for text in (prediction, reference))
    longer = max(len(ours), len(theirs))
    similarity = 1 - plain_distance(ours, theirs) / longer if longer else 1.0
    assert anls(prediction, reference) == pytest.approx(similarity if similarity > 0.5 else 0)


@pytest.mark.parametrize(
    ("prediction", "reference", "value"),
    [
        ("Coca  Cola", "coca cola", 1),
        ("cocacola", "coca cola", 8 / 9),
        ("ab", "ax", 0),
        ("", "", 1),
    ],
)
def test_anls_by_hand(prediction: str, reference: str, value: float) -> None:
    assert anls(prediction, reference) == pytest.approx(value)


def exact_relaxed(prediction: str, reference: str) -> float:
    """In decimal numbers, without rounding."""

    def number(text: str) -> Decimal | None:
        text = text.strip()
        try:
            found = Decimal(text.rstrip("%"))
        except InvalidOperation:
            return None
        return found / 100 if text.endswith("%") else found

    ours, theirs = number(prediction), number(reference)
    if ours is not None and theirs:
        return float(abs(ours - theirs) * 20 <= abs(theirs))
    return float(prediction.strip().lower() == reference.strip().lower())


NUMBERS = st.integers(-400, 400).map(lambda n: f"{n / 4}") | st.integers(-9, 99).map("{}%".format)


@given(NUMBERS | st.sampled_from(["Yes", "yes ", "n/a"]), NUMBERS | st.just("yes"))
def test_relaxed_match_equals_exact_arithmetic(prediction: str, reference: str) -> None:
    assert relaxed_match(prediction, reference) == exact_relaxed(prediction, reference)


@pytest.mark.parametrize(
    ("prediction", "reference", "value"),
    [
        ("104.9", "100", 1),
        ("105.1", "100", 0),
        ("-96", "-100", 1),
        ("63%", "60%", 1),
        ("41%", "0.4", 1),
        ("0.01", "0", 0),
        ("0", "0", 1),
        ("0.0", "0", 0),
        ("1,000", "1000", 0),
        ("Nan", "nan", 1),
        ("inf", "12", 0),
    ],
)
def test_relaxed_match_by_hand(prediction: str, reference: str, value: float) -> None:
    assert relaxed_match(prediction, reference) == value


def test_the_best_reference_counts_and_no_answer_is_none() -> None:
    assert best(squad_f1, "red car", ["blue", "a red car"]) == 1
    found = score(squad_f1, ["red car", None, "blue"], [["car"], ["x"], ["blue", "y"]])
    assert found.unanswered == 1 and found.rate.n == 3
    values = [2 / 3, 0, 1]
    mean = sum(values) / 3
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 2)
    assert found.rate.value == pytest.approx(mean)
    assert found.rate.standard_error == pytest.approx(deviation / math.sqrt(3))
    assert math.isnan(score(anls, [], []).rate.value)
    with pytest.raises(ValueError, match="no reference for 'x'"):
        best(anls, "x", [])
