"""Byte-level byte-pair encoding as CLIP has it (Sennrich et al. 2016; Radford et al. 2021).

A text is lower-cased and cut into words, numbers and runs of punctuation; a word is a row of bytes
whose last byte is marked as a word's end; the learned merges then join the most frequent
neighbours, earliest merge first. Ids: 256 bytes, the same 256 at a word's end, one for each merge
in order, start of text, end of text. Any bytes can be encoded and got back. `learn_merges` learns
the merges of one's own corpus; `Tokenizer.from_clip` reads the vocabulary that CLIP published.

Shapes: B texts, L tokens.
"""

from __future__ import annotations

import gzip
import heapq
import html
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import regex
import torch
from torch import Tensor

Pair = tuple[int, int]
START, END = "<start_of_text>", "<end_of_text>"
WORD = regex.compile(
    rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+",
    regex.IGNORECASE,
)
# CLIP numbers the bytes that print first, then the others.
_PRINTING = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = [*_PRINTING, *(b for b in range(256) if b not in set(_PRINTING))]
_ID_OF_BYTE = {byte: index for index, byte in enumerate(BYTES)}
# The published file writes a byte as a character that prints: itself, or 256 + its rank.
_CHARACTERS = [chr(b) for b in _PRINTING] + [chr(256 + n) for n in range(256 - len(_PRINTING))]


def clean(text: str, repair: bool) -> str:
    """Lower case, white space folded; with `repair` first CLIP's cure of mojibake and HTML
    entities.
    """
    if repair:
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def symbols(word: bytes) -> tuple[int, ...]:
    """A word's bytes as ids, the last one marked as the end of the word."""
    ids = [_ID_OF_BYTE[byte] for byte in word]
    return (*ids[:-1], ids[-1] + 256)


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

    def __init__(self, frequency: Counter[bytes]) -> None:
        spelled = sorted(frequency)
        self.words = [list(symbols(word)) for word in spelled]
        self.weights = [frequency[word] for word in spelled]
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


def learn_merges(
    texts: Iterable[str], count: int, least: int = 2, repair: bool = False
) -> list[Pair]:
    """At most `count` merges, each the then most frequent pair if it occurs `least` times.

    Ties go to the lowest ids, so the result does not depend on the order of `texts`.
    """
    frequency: Counter[bytes] = Counter()
    for text in texts:
        found = WORD.findall(clean(text, repair))
        frequency.update(w.encode("utf-8", "surrogatepass") for w in found if w not in (START, END))
    pairs = PairCounts(frequency)
    merges: list[Pair] = []
    while len(merges) < count:
        best = pairs.most_frequent()
        if best is None or best[0] < least:
            break
        pairs.merge(best[1], 512 + len(merges))
        merges.append(best[1])
    return merges


class Tokenizer:
    """Encodes texts by learned merges; `repair` says whether texts pass through ftfy first, as
    CLIP's do.
    """

    def __init__(self, merges: Sequence[Pair], repair: bool = False) -> None:
        self.merges = [(int(left), int(right)) for left, right in merges]
        self.repair = repair
        self.rank = {pair: 512 + index for index, pair in enumerate(self.merges)}
        self.start = 512 + len(self.merges)
        self.end = self.start + 1
        self.vocab_size = self.end + 1
        self._word_ids = lru_cache(maxsize=1 << 16)(self._merge_word)
        self._bytes = self._spell()

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[list[Pair], bool]]:
        return Tokenizer, (self.merges, self.repair)  # the cache of words stays behind

    def _spell(self) -> list[bytes]:
        """The bytes of each id; a word's end is spelled as a space after it."""
        spelled = [bytes([byte]) for byte in BYTES] + [bytes([byte]) + b" " for byte in BYTES]
        for left, right in self.merges:
            spelled.append(spelled[left] + spelled[right])
        return [*spelled, START.encode(), END.encode()]

    @classmethod
    def learn(
        cls, texts: Iterable[str], vocab_size: int, least: int = 2, repair: bool = False
    ) -> Tokenizer:
        """A tokenizer of at most `vocab_size` ids (514 and more) learned from `texts`."""
        if vocab_size < 514:
            raise ValueError(f"vocab_size={vocab_size} must be at least 514: bytes and specials")
        return cls(learn_merges(texts, vocab_size - 514, least, repair), repair)

    @classmethod
    def from_clip(cls, path: str) -> Tokenizer:
        """CLIP's published vocabulary, `bpe_simple_vocab_16e6.txt.gz`: 49,408 ids, equal to
        OpenAI's.
        """
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().split("\n")[1 : 49152 - 256 - 2 + 1]
        ids = {name: i for i, name in enumerate(_CHARACTERS + [c + "</w>" for c in _CHARACTERS])}
        merges: list[Pair] = []
        for line in lines:
            left, right = line.split()
            merges.append((ids[left], ids[right]))
            ids[left + right] = 511 + len(merges)
        return cls(merges, repair=True)

    def _merge_word(self, word: bytes) -> tuple[int, ...]:
        ids = list(symbols(word))
        while len(ids) > 1:
            pairs = pairwise(ids)
            best = min(pairs, key=lambda pair: self.rank.get(pair, 1 << 60))
            if best not in self.rank:
                break
            ids = _replace(ids, best, self.rank[best])
        return tuple(ids)

    def encode_word(self, word: bytes) -> list[int]:
        """Ids of one word of any bytes, at least one."""
        return list(self._word_ids(word))

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end."""
        ids: list[int] = []
        special = {START: self.start, END: self.end}
        for word in WORD.findall(clean(text, self.repair)):
            if word in special:
                ids.append(special[word])
            else:
                ids.extend(self._word_ids(word.encode("utf-8", "surrogatepass")))
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that `ids` stand for, a space after each word."""
        return b"".join(self._bytes[i] for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """`decode_bytes` as text; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def __call__(self, texts: Sequence[str], context_length: int = 77, cut: bool = False) -> Tensor:
        """Token ids (B, L) int64, start and end included, padded with 0.

        A text too long loses its tail and keeps its end. L is `context_length`, or with `cut` that
        of the longest text.
        """
        if context_length < 3:
            raise ValueError(f"context_length={context_length} must be at least 3")
        rows = [[self.start, *self.encode(t)[: context_length - 2], self.end] for t in texts]
        length = max(map(len, rows), default=0) if cut else context_length
        out_BL = np.zeros((len(rows), length), dtype=np.int64)
        for index, row in enumerate(rows):
            out_BL[index, : len(row)] = row
        return torch.from_numpy(out_BL)

    def to_json(self) -> dict[str, object]:
        """JSON values: the merges as pairs of ids, in order, and whether texts are repaired."""
        return {"repair": self.repair, "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tokenizer:
        """The inverse of `to_json`."""
        return cls([(left, right) for left, right in values["merges"]], repair=values["repair"])

    def save(self, path: str) -> None:
        """Writes `to_json` to a local file."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, separators=(",", ":"))

    @classmethod
    def load(cls, path: str) -> Tokenizer:
        """Reads what `save` wrote."""
        with open(path, encoding="utf-8") as file:
            return cls.from_json(json.load(file))
