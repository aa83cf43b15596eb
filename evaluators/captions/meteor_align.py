"""METEOR's alignment: which words of the candidate stand for which of the reference.

Every pair of equal words, of words with one stem, of synonyms and of paraphrases is a possible
match. Matches that overlap no other are taken. Among the rest a beam of 40, from the left of the
reference to its right, looks for the most words matched, then the fewest chunks (runs that are
contiguous on both sides), then the least distance. Of METEOR 1.5 kept, since it decides between
equals: to the search a match that is not of equal words weighs one half and is rounded down, so a
single one weighs nothing; and a path's distance contains those of the alternatives that were tried
at the same word before it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from evaluators.captions.meteor_lexicon import Lexicon, ngrams

BEAM = 40
EXACT, STEM, SYNONYM, PARAPHRASE = range(4)


class Line:
    """A caption's words with what they are compared by; made once, aligned with many."""

    def __init__(self, words: list[str], lexicon: Lexicon) -> None:
        """Takes a caption that meteor_lexicon.split has split."""
        self.words = words
        self.stems = [stem(word) for word in words]
        self.senses = [lexicon.senses(word) for word in words]
        self.places: dict[str, list[int]] = {}
        """Where each phrase starts."""
        self.likes: list[tuple[int, int, dict[str, int]]] = []
        """(start, length, paraphrases) of every phrase that has some."""
        if lexicon.paraphrases:
            for start, length, phrase in ngrams(words):
                self.places.setdefault(phrase, []).append(start)
                if phrase in lexicon.paraphrases:
                    self.likes.append((start, length, lexicon.paraphrases[phrase]))


class Match(NamedTuple):
    """`length` words from `start` on in the reference, `own_length` from `own` in the candidate."""

    kind: int
    start: int
    length: int
    own: int
    own_length: int
    weight: int
    """What the search counts it."""
    bits: int
    """The words that it covers: the reference's are the even bits, the candidate's the odd ones."""


@functools.lru_cache(maxsize=1 << 16)
def _match(kind: int, start: int, length: int, own: int, own_length: int) -> Match:
    half = 1 if kind == EXACT else 2
    bits = sum(1 << 2 * i for i in range(start, start + length))
    bits |= sum(2 << 2 * i for i in range(own, own + own_length))
    return Match(kind, start, length, own, own_length, length // half + own_length // half, bits)


def align(own: Line, reference: Line) -> list[Match]:
    """The chosen matches between a candidate and a reference, from left to right."""
    possible = _equal(own, reference)
    if own.words != reference.words:
        possible += _alike(own, reference) + _paraphrased(own, reference)
    once = twice = 0
    at: list[list[Match]] = [[] for _ in reference.words]
    for match in possible:
        once, twice = once | match.bits, twice | once & match.bits
        at[match.start].append(match)
    return _search(at, {match.start: match for match in possible if not match.bits & twice})


def _equal(own: Line, reference: Line) -> list[Match]:
    return [
        _match(EXACT, j, 1, i, 1)
        for j, word in enumerate(reference.words)
        for i, other in enumerate(own.words)
        if word == other
    ]


def _alike(own: Line, reference: Line) -> list[Match]:
    """Different words with one stem; different words with a synonym set in common."""
    pairs = [
        (j, i)
        for j, word in enumerate(reference.words)
        for i, other in enumerate(own.words)
        if word != other
    ]
    return [
        *(_match(STEM, j, 1, i, 1) for j, i in pairs if reference.stems[j] == own.stems[i]),
        *(
            _match(SYNONYM, j, 1, i, 1)
            for j, i in pairs
            if not reference.senses[j].isdisjoint(own.senses[i])
        ),
    ]


def _paraphrased(own: Line, reference: Line) -> list[Match]:
    """Phrases of the one that the table gives as like a phrase of the other, both ways round."""
    return [
        *(_match(PARAPHRASE, *there, *here) for there, here in _likes(reference, own)),
        *(_match(PARAPHRASE, *there, *here) for here, there in _likes(own, reference)),
    ]


def _likes(line: Line, other: Line) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """(start, length) of a phrase, and of one like it in the other line, in the table's order."""
    for start, length, likes in line.likes:
        if shared := likes.keys() & other.places.keys():
            for like in sorted(shared, key=likes.__getitem__):
                for place in other.places[like]:
                    yield (start, length), (place, like.count(" ") + 1)


class _Path(NamedTuple):
    """A partial alignment; the first three fields rank it, the least first."""

    lost: int
    chunks: int
    distance: int
    end: int
    """The candidate's word after the last match; -1 where a chunk cannot go on."""
    following: int
    """The reference's word after the last match."""
    used: int
    chosen: tuple[Match, ...]


_rank = itemgetter(0, 1, 2)


def _search(at: list[list[Match]], taken: dict[int, Match]) -> list[Match]:
    used = functools.reduce(lambda bits, match: bits | match.bits, taken.values(), 0)
    paths = [_Path(0, 0, 0, -1, 0, used, ())]
    for here, matches in enumerate(at):
        if len(paths) > 1:
            paths = sorted(paths, key=_rank)[:BEAM]
        paths = [step for path in paths for step in _steps(path, here, matches, taken.get(here))]
    paths = [_past(path, len(at), path.distance) for path in sorted(paths, key=_rank)[:BEAM]]
    return list(min(paths, key=_rank).chosen)


def _steps(path: _Path, here: int, matches: list[Match], taken: Match | None) -> list[_Path]:
    """Where a path can go at a word of the reference: on inside a match, into one, or past."""
    if here < path.following:
        return [path]
    if taken:
        return [_into(path, taken, path.distance + abs(taken.start - taken.own))]
    steps, distance = [], path.distance
    for match in matches:
        if not path.used & match.bits:
            steps.append(_into(path, match, distance))
            distance += abs(match.start - match.own)
    return [*steps, _past(path, here, distance)]


def _into(path: _Path, match: Match, distance: int) -> _Path:
    lost, chunks, _, end, _, used, chosen = path
    return _Path(
        lost - match.weight,
        chunks + (end not in (-1, match.own)),
        distance,
        match.own + match.own_length,
        match.start + match.length,
        used | match.bits,
        (*chosen, match),
    )


def _past(path: _Path, here: int, distance: int) -> _Path:
    lost, chunks, _, end, _, used, chosen = path
    return _Path(lost, chunks + (end != -1), distance, -1, here + 1, used, chosen)


@functools.lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Porter's second stemmer as it was in 2011; snowballstemmer 3 stems otherwise."""
    return str(_stemmer().stemWord(word))


@functools.cache
def _stemmer() -> Any:
    import snowballstemmer  # type: ignore[import-untyped]

    return snowballstemmer.stemmer("english")
