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
import html
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import regex

from models.tokenizers.bpe import BYTES, CHARACTERS, ID_OF_BYTE, Pair, PairCounts, merged
from models.tokenizers.marked import MarkedTokenizer

START, END = "<start_of_text>", "<end_of_text>"
WORD = regex.compile(
    rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+",
    regex.IGNORECASE,
)


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
    ids = [ID_OF_BYTE[byte] for byte in word]
    return (*ids[:-1], ids[-1] + 256)


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
    words = sorted(frequency)
    pairs = PairCounts([symbols(word) for word in words], [frequency[word] for word in words])
    merges: list[Pair] = []
    while len(merges) < count:
        best = pairs.most_frequent()
        if best is None or best[0] < least:
            break
        pairs.merge(best[1], 512 + len(merges))
        merges.append(best[1])
    return merges


class Tokenizer(MarkedTokenizer):
    """Encodes texts by learned merges; `repair` says whether texts pass through ftfy first, as
    CLIP's do.
    """

    def __init__(self, merges: Sequence[Pair], repair: bool = False) -> None:
        self.merges = [(int(left), int(right)) for left, right in merges]
        self.repair = repair
        self.made = {pair: 512 + index for index, pair in enumerate(self.merges)}
        self.start = 512 + len(self.merges)
        self.end = self.start + 1
        self.pad = 0
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
        ids = {name: i for i, name in enumerate(CHARACTERS + [c + "</w>" for c in CHARACTERS])}
        merges: list[Pair] = []
        for line in lines:
            left, right = line.split()
            merges.append((ids[left], ids[right]))
            ids[left + right] = 511 + len(merges)
        return cls(merges, repair=True)

    def _merge_word(self, word: bytes) -> tuple[int, ...]:
        return merged(symbols(word), self.made, self.made)  # ids rise with rank

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

    def to_json(self) -> dict[str, object]:
        """JSON values: the kind, the merges as pairs of ids in order, whether texts are
        repaired.
        """
        merges = [list(pair) for pair in self.merges]
        return {"kind": "clip", "repair": self.repair, "merges": merges}

    @staticmethod
    def from_json(values: dict[str, Any]) -> Tokenizer:
        """The inverse of `to_json`, of either kind; without one it is CLIP's."""
        kind = values.get("kind", "clip")
        if kind == "gpt2":
            from models.tokenizers.gpt2 import ByteTokenizer

            return ByteTokenizer.restored(values)
        if kind != "clip":
            raise ValueError(f"tokenizer kind={kind!r} must be clip or gpt2")
        return Tokenizer(
            [(left, right) for left, right in values["merges"]], repair=values["repair"]
        )

    def save(self, path: str) -> None:
        """Writes `to_json` to a local file."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, separators=(",", ":"))

    @staticmethod
    def load(path: str) -> Tokenizer:
        """Reads what `save` wrote."""
        with open(path, encoding="utf-8") as file:
            return Tokenizer.from_json(json.load(file))
