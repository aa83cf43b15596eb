"""VQA's accuracy against the published evaluation's steps, written out plainly."""

import random
import re

import pytest

from evaluators.vqa import normalised, vqa_accuracy

MARKS = [";", ":", "/", "'", "[", "]", '"', "(", ")", "=", "+", "\\", "_", ">", "<", "@", "`", ","]
DIGITS = dict(zip(["none", "zero", "one", "two", "three", "four"], "001234", strict=True))
CONTRACTED = {"dont": "don't", "cant": "can't", "its": "its", "whats": "what's", "yall": "y'all"}
WORDS = [
    "the", "a", "dog", "dont", "Whats", "one", "none", "3", "1,000", "U.S.A.", "3.5", "red/blue",
    "(left)", "no", "yes", "yes.", "it's ", "what?", "t-shirt", "can't", "cant", "\n", " , ",
    "yall",
]  # fmt: skip


def loses_marks(text: str) -> str:
    out = text
    for mark in [*MARKS, "?"]:
        touches = mark + " " in text or " " + mark in text
        if touches or re.search(r"(\d)(\,)(\d)", text) is not None:
            out = out.replace(mark, "")
        else:
            out = out.replace(mark, " ")
    return re.sub(r"(?!<=\d)(\.)(?!\d)", "", out)


def plain(answer: str, people: list[str]) -> float:
    """For each person: do three of the nine others agree?"""
    answer = loses_marks(answer.replace("\n", " ").replace("\t", " ").strip())
    words = [DIGITS.get(word, word) for word in answer.lower().split()]
    words = [CONTRACTED.get(word, word) for word in words if word not in ("a", "an", "the")]
    if len(set(people)) > 1:
        people = [loses_marks(one) for one in people]
    scores = []
    for left_out in range(len(people)):
        others = [one for place, one in enumerate(people) if place != left_out]
        scores.append(min(1.0, sum(one == " ".join(words) for one in others) / 3))
    return sum(scores) / len(scores)


def test_accuracy_is_that_of_the_published_steps() -> None:
    rng, hits = random.Random(0), 0
    for _ in range(4000):
        kinds = [" ".join(rng.choices(WORDS, k=rng.randint(1, 2))) for _ in range(3)]
        people = rng.choices(kinds, k=10)
        answer = rng.choice([*kinds, *map(loses_marks, kinds), rng.choice(WORDS)])
        expected = plain(answer, people)
        assert vqa_accuracy(answer, people) == pytest.approx(expected, abs=1e-12), (answer, people)
        hits += expected > 0
    assert hits > 500


def test_three_of_ten_are_nine_tenths_and_not_all() -> None:
    """The shortcut min(n / 3, 1) says 1 here."""
    assert vqa_accuracy("red", ["red"] * 3 + ["blue"] * 7) == pytest.approx(0.9)
    assert vqa_accuracy("red", ["red"] * 4 + ["blue"] * 6) == 1.0


@pytest.mark.parametrize(
    ("said", "expected"),
    [("The dog.", "dog"), ("dont know", "don't know"), ("Ten", "10"), ("None", "0"),
     ("1,000", "1000")],
)  # fmt: skip
def test_answers_are_normalised(said: str, expected: str) -> None:
    assert normalised(said) == expected


def test_stems_match_where_words_do_not() -> None:
    people = ["racing"] * 10
    assert vqa_accuracy("race", people) == 0.0 and vqa_accuracy("race", people, stems=True) == 1.0


def test_a_question_without_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="no reference"):
        vqa_accuracy("red", [])
