"""How varied a captioner's captions are among themselves.

distinct-n (Li et al., arXiv 1510.03055) is the number of different n-grams over the number of all.
It falls as the set grows, since words come again: compare sets of one size only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evaluators.captions.ngrams import count_ngrams


@dataclass(frozen=True)
class Diversity:
    """Variety of `n` captions; shares are NaN where there is nothing to share."""

    n: int
    distinct: tuple[float, ...]
    """distinct-1, distinct-2 and so on, in (0, 1]."""
    vocabulary: int
    """Different tokens."""
    mean_length: float
    """Tokens a caption."""
    unique: float
    """Different captions over all, in (0, 1]."""


def diversity(captions: Sequence[str], longest: int = 2) -> Diversity:
    """Variety of tokenized captions, with distinct-n for n = 1 .. `longest`."""
    grams = count_ngrams(captions, longest)
    seen = [len(set(g.gram.tolist())) for g in grams]
    total = [int(g.count.sum()) for g in grams]
    n = len(captions)
    return Diversity(
        n=n,
        distinct=tuple(_share(s, t) for s, t in zip(seen, total, strict=True)),
        vocabulary=seen[0],
        mean_length=_share(total[0], n),
        unique=_share(len(set(captions)), n),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
