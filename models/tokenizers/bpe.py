"""Byte-pair encoding (Sennrich et al. 2016): learning merges from counted words, and applying them.

A word is a row of symbol ids; at first a symbol is a byte. Learning joins, again and again, the
pair of neighbours that is most frequent in the corpus; encoding applies the same merges to a new
word, the earliest learned first. Both flavours, CLIP's and GPT-2's, number the bytes alike: those
that print first, in the order of their code, then the others.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]

PRINTING = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = [*PRINTING, *(b for b in range(256) if b not in set(PRINTING))]
ID_OF_BYTE = {byte: index for index, byte in enumerate(BYTES)}
# Published files write a byte as a character that prints: itself, or 256 + its rank.
CHARACTERS = [chr(b) for b in PRINTING] + [chr(256 + n) for n in range(256 - len(PRINTING))]
BYTE_OF_CHARACTER = dict(zip(CHARACTERS, BYTES, strict=True))
LONG = 64  # symbols from which on a heap is the faster way to merge a word


def _replace(word: list[int], pair: Pair, new: int) -> list[int]:
    """`word` with each occurrence of `pair`, from the left, replaced by `new`."""
    out: list[int] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and word[i] == pair[0] and word[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


class PairCounts:
    """How often each pair of neighbours stands in a corpus of weighted words, kept up to date.

    A merge costs what it changes, through the words that hold the pair, and not a pass over the
    corpus. Counts that a heap entry no longer agrees with are passed over when they come up.
    """

    def __init__(self, words: Sequence[Sequence[int]], weights: Sequence[int]) -> None:
        self.words = [list(word) for word in words]
        self.weights = list(weights)
        self.counts: Counter[Pair] = Counter()
        self.where: defaultdict[Pair, set[int]] = defaultdict(set)
        for index, word in enumerate(self.words):
            for pair in pairwise(word):
                self.counts[pair] += self.weights[index]
                self.where[pair].add(index)
        self.heap = [(-n, pair) for pair, n in self.counts.items()]
        heapq.heapify(self.heap)

    def most_frequent(self) -> tuple[int, Pair] | None:
        """The greatest count and its pair (of equals that of the lowest ids), None without any."""
        while self.heap:
            negative, pair = heapq.heappop(self.heap)
            if self.counts[pair] == -negative:
                return -negative, pair
        return None

    def merge(self, pair: Pair, new: int) -> None:
        """Puts `new` for `pair` in every word that holds it."""
        change: Counter[Pair] = Counter()
        for index in self.where.pop(pair):
            before = self.words[index]
            after = self.words[index] = _replace(before, pair, new)
            for old in pairwise(before):
                change[old] -= self.weights[index]
            for fresh in pairwise(after):
                change[fresh] += self.weights[index]
                self.where[fresh].add(index)
        for key, difference in change.items():
            self.counts[key] += difference
            if difference and self.counts[key] > 0:
                heapq.heappush(self.heap, (-self.counts[key], key))


def merged(
    word: Sequence[int], rank: Mapping[Pair, int], made: Mapping[Pair, int]
) -> tuple[int, ...]:
    """`word` after every merge that applies: of the pairs in it the one of lowest `rank`, of equals
    the leftmost, becomes `made`, until none has a rank.
    """
    if len(word) >= LONG:
        return merged_long(word, rank, made)
    ids = list(word)
    never = 1 << 60
    while len(ids) > 1:
        ranks = [rank.get(pair, never) for pair in pairwise(ids)]
        lowest = min(ranks)
        if lowest == never:
            break
        place = ranks.index(lowest)
        ids[place : place + 2] = [made[ids[place], ids[place + 1]]]
    return tuple(ids)


def merged_long(
    word: Sequence[int], rank: Mapping[Pair, int], made: Mapping[Pair, int]
) -> tuple[int, ...]:
    """`merged` in n log n steps: a heap of pairs over a list linked both ways."""
    ids: list[int | None] = list(word)
    before, after = list(range(-1, len(word) - 1)), list(range(1, len(word) + 1))
    heap = [(rank[pair], place, pair) for place, pair in enumerate(pairwise(word)) if pair in rank]
    heapq.heapify(heap)

    def offer(left: int, right: int) -> None:
        if left < 0 or right >= len(word):
            return
        a, b = ids[left], ids[right]
        if a is not None and b is not None and (a, b) in rank:
            heapq.heappush(heap, (rank[a, b], left, (a, b)))

    while heap:
        _, place, pair = heapq.heappop(heap)
        right = after[place]
        if right >= len(word) or (ids[place], ids[right]) != pair:
            continue  # one of the two has been merged with another neighbour
        ids[place], ids[right] = made[pair], None
        after[place] = after[right]
        if after[place] < len(word):
            before[after[place]] = place
        offer(before[place], place)
        offer(place, after[place])
    return tuple(symbol for symbol in ids if symbol is not None)
