"""Short answers scored: SQuAD's exact match and F1, ANLS, relaxed accuracy.

Each takes one prediction and the accepted references, and gives the best score over these, in
[0, 1]. `score` is the mean over questions; a question without an answer counts as 0, as in the
papers, and is counted apart.

SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250): words in lower case without punctuation and without
a, an, the; F1 over the two bags of words. ANLS (Biten et al. 2019, arXiv 1907.00490): one minus the
edit distance by the longer length, 0 where the distance reaches half of it. Relaxed accuracy (Masry
et al. 2022, arXiv 2203.10244, as pix2struct computes it): a number may be off by 5 %; else, and for
a target of 0, the texts have to be equal in lower case.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.statistics import Rate

Metric = Callable[[str, str], float]
ANLS_THRESHOLD = 0.5
TOLERANCE = 0.05
ROUNDING = 1e-9
"""63 % is 5 % off 60 %, though not in binary fractions."""
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Answered:
    """A mean over questions."""

    rate: Rate
    """Over all questions, those without an answer as 0."""
    unanswered: int


def score(
    metric: Metric, predictions: Sequence[str | None], references: Sequence[Sequence[str]]
) -> Answered:
    """Mean of `metric`'s best over each question's references, with its standard error.

    Raises ValueError for a question without a reference.
    """
    found = [
        best(metric, prediction, accepted) if prediction is not None else 0.0
        for prediction, accepted in zip(predictions, references, strict=True)
    ]
    n, unanswered = len(found), sum(prediction is None for prediction in predictions)
    error = float(np.std(found, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Answered(Rate(float(np.mean(found)) if n else float("nan"), n, error), unanswered)


def best(metric: Metric, prediction: str, references: Sequence[str]) -> float:
    """The highest `metric` of `prediction` over `references`."""
    if not references:
        raise ValueError(f"no reference for {prediction!r}; legal: one or more")
    return max(metric(prediction, reference) for reference in references)


def exact_match(prediction: str, reference: str) -> float:
    """1 if the two are equal as SQuAD compares them, else 0."""
    return float(squad_words(prediction) == squad_words(reference))


def squad_f1(prediction: str, reference: str) -> float:
    """F1 of the words in common; of an answer without words 1 if both are such, else 0."""
    ours, theirs = squad_words(prediction), squad_words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))


def squad_words(text: str) -> list[str]:
    """Lower case, without ASCII punctuation, without articles, split at white space."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def anls(prediction: str, reference: str) -> float:
    """Normalised Levenshtein similarity, of texts in lower case with single spaces."""
    ours, theirs = (" ".join(text.lower().split()) for text in (prediction, reference))
    longer = max(len(ours), len(theirs))
    distance = edit_distance(ours, theirs) / longer if longer else 0.0
    return 1 - distance if distance < ANLS_THRESHOLD else 0.0


def edit_distance(one: str, other: str) -> int:
    """Fewest insertions, deletions and substitutions of characters (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for row, character in enumerate(one, 1):
        here = [row]
        for column, wanted in enumerate(other, 1):
            changed = above[column - 1] + (character != wanted)
            here.append(min(changed, above[column] + 1, here[-1] + 1))
        above = here
    return above[-1]


def relaxed_match(prediction: str, reference: str) -> float:
    """1 if the prediction is within 5 % of a number, or equal to a text, else 0."""
    ours, theirs = _number(prediction), _number(reference)
    if ours is not None and theirs:
        return float(abs(ours - theirs) <= TOLERANCE * abs(theirs) * (1 + ROUNDING))
    return float(prediction.strip().lower() == reference.strip().lower())


def _number(text: str) -> float | None:
    """`12.5`, `-3e4` or `40%` as a number; None for what is none, "1,000" among it."""
    text = text.strip()
    try:
        number = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
