"""Accuracy of answers to questions about pictures, as VQA's evaluation computes it.

Ten people answered each question (Antol et al. 2015, arXiv 1505.00468). An answer is compared with
nine of them at a time: it counts min(matches / 3, 1), and the mean over the ten ways to leave one
out is the accuracy of the question. Before that an answer loses its punctuation and articles,
number words become digits and contractions get their apostrophe back; people's answers lose their
punctuation where they differ, all as in the evaluation's own code, whose quirks are kept: "none" is
0, and a mark goes without a space where one stands beside it anywhere in the text.

OK-VQA compares stems. Its own code stems with a tagger and a lexicon; here both sides pass the
Snowball stemmer, so a word form more or less may match.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evaluators.captions.meteor_align import stem

_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_COUNTED)}
ARTICLES = frozenset(("a", "an", "the"))
PUNCTUATION = ";:/'[]\"()=+\\_><@`,?"
_THOUSANDS = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS_TAKEN = 32
_CONTRACTED = """ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't
he'd he's how'd how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've
o'clock oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's
something'd something'll that's there'd there're there's they'd they'll they're they've 'twas wasn't
we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's
who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've"""
CONTRACTIONS = {word.replace("'", ""): word for word in _CONTRACTED.split()}
"""Spellings without an apostrophe to those with; an apostrophe that is there never survives the
loss of punctuation, so spellings with half of theirs cannot come up."""


def normalised(answer: str) -> str:
    """An answer as it is compared."""
    plain = without_punctuation(answer.replace("\n", " ").replace("\t", " ").strip())
    words = [NUMBERS.get(word, word) for word in plain.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def without_punctuation(text: str) -> str:
    """Marks become a space, or nothing where one has a space beside it or a number its comma."""
    out, thousands = text, _THOUSANDS.search(text) is not None
    for mark in PUNCTUATION:
        beside = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if beside or thousands else " ")
    return _PERIOD.sub("", out, _PERIODS_TAKEN)


def vqa_accuracy(answer: str, people: Sequence[str], stems: bool = False) -> float:
    """In [0, 1]. Raises ValueError without people's answers."""
    if not people:
        raise ValueError(f"no reference for {answer!r}; legal: one or more")
    said = list(people)
    if len(set(said)) > 1:
        said = [without_punctuation(one) for one in said]
    ours = normalised(answer)
    if stems:
        ours, said = stemmed(ours), [stemmed(one) for one in said]
    matches = sum(one == ours for one in said)
    others = [matches - (one == ours) for one in said]
    return sum(min(1.0, count / 3) for count in others) / len(said)


def stemmed(text: str) -> str:
    """Each word's stem."""
    return " ".join(map(stem, text.split()))
