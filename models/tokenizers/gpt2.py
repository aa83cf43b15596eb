"""Byte-level byte-pair encoding as GPT-2 has it (Radford et al. 2019).

Nothing of a text is lost: case and white space stay, a word carries the space before it, and since
every byte is a symbol, any text and any bytes can be encoded and come back exactly. Ids: 256 bytes,
the merges in the order in which they were learned, `<|endoftext|>`; GPT-2 has 50,000 merges and so
50,257 ids. Published vocabularies number their symbols as they like (OPT's begin with four
specials), so a tokenizer may hold an id for each symbol.

Merges learned here are those of Hugging Face's `tokenizers` on the same text, in the same order and
with the same ids (its special tokens come first, ours last): both take the most frequent pair, of
equally frequent ones that of the lowest ids, and both give a spelling that two merges lead to a
single id. `<|endoftext|>` written in a text is text, never the end.

Shapes: B texts, L tokens.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import regex
import torch
from torch import Tensor

from models.tokenizers.bpe import (
    BYTE_OF_CHARACTER,
    BYTES,
    CHARACTERS,
    ID_OF_BYTE,
    Pair,
    PairCounts,
    merged,
)
from models.tokenizers.clip import Tokenizer

END_OF_TEXT = "<|endoftext|>"
WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


class Symbols:
    """The spelling of each symbol; a spelling has one number, however many merges lead to it."""

    def __init__(self, merges: Iterable[Pair] = ()) -> None:
        self.spelled = [bytes([byte]) for byte in BYTES]
        self.number = {spelling: index for index, spelling in enumerate(self.spelled)}
        self.made = {pair: self.join(pair) for pair in merges}

    def join(self, pair: Pair) -> int:
        """The symbol that a pair makes, a new one if nothing else is spelled so."""
        spelling = self.spelled[pair[0]] + self.spelled[pair[1]]
        number = self.number.setdefault(spelling, len(self.spelled))
        if number == len(self.spelled):
            self.spelled.append(spelling)
        return number


def byte_ids(word: bytes) -> tuple[int, ...]:
    """A word's bytes as symbols."""
    return tuple(ID_OF_BYTE[byte] for byte in word)


def learn_byte_merges(texts: Iterable[str], symbols: int, least: int = 2) -> list[Pair]:
    """Merges that make at most `symbols` symbols, bytes included, each the then most frequent pair
    if it occurs `least` times. The order of `texts` changes nothing.
    """
    frequency: Counter[bytes] = Counter()
    for text in texts:
        frequency.update(word.encode("utf-8", "surrogatepass") for word in WORD.findall(text))
    words = sorted(frequency)
    pairs = PairCounts([byte_ids(word) for word in words], [frequency[word] for word in words])
    known, merges = Symbols(), dict[Pair, None]()
    while len(known.spelled) < symbols:
        best = pairs.most_frequent()
        if best is None or best[0] < least:
            break
        pairs.merge(best[1], known.join(best[1]))
        merges[best[1]] = None
    return list(merges)


class ByteTokenizer(Tokenizer):
    """GPT-2's kind of tokenizer.

    Args:
        merges: pairs of symbols, in order.
        ids: the published id of each symbol; its own number if None.
        special: the id of each special token; only `end`, after all symbols, if None.
        end: the special token between documents.
    """

    def __init__(
        self,
        merges: Sequence[Pair],
        ids: Sequence[int] | None = None,
        special: Mapping[str, int] | None = None,
        end: str = END_OF_TEXT,
    ) -> None:
        super().__init__(merges)
        self.symbols = Symbols(self.merges)
        count = len(self.symbols.spelled)
        self.ids = None if ids is None else [int(number) for number in ids]
        if self.ids is not None and len(self.ids) != count:
            raise ValueError(f"{len(self.ids)} ids for {count} symbols")
        numbers = range(count) if self.ids is None else self.ids
        self.special = {end: max(numbers) + 1} if special is None else dict(special)
        if end not in self.special:
            raise ValueError(f"end={end!r} must be one of the specials {sorted(self.special)}")
        self.end_token = end
        self.rank = {pair: place for place, pair in enumerate(self.merges)}
        self.start = self.end = self.pad = self.special[end]
        self.vocab_size = max(*numbers, *self.special.values()) + 1
        self.spelling = dict(zip(numbers, self.symbols.spelled, strict=True))
        self.spelling |= {number: name.encode() for name, number in self.special.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return ByteTokenizer, (self.merges, self.ids, self.special, self.end_token)

    def _spell(self) -> list[bytes]:
        return []  # `spelling` has them

    @classmethod
    def learn(
        cls, texts: Iterable[str], vocab_size: int, least: int = 2, repair: bool = False
    ) -> ByteTokenizer:
        """A tokenizer of at most `vocab_size` ids (257 and more) learned from `texts`, which are
        taken as they are.
        """
        if vocab_size < 257:
            raise ValueError(f"vocab_size={vocab_size} must be at least 257: bytes and the end")
        if repair:
            raise ValueError("repair=True would lose what a byte-level tokenizer keeps")
        return cls(learn_byte_merges(texts, vocab_size - 1, least))

    @classmethod
    def from_folder(cls, path: str, end: str = END_OF_TEXT) -> ByteTokenizer:
        """The published vocabulary in a local folder: `vocab.json` and `merges.txt`, or
        `tokenizer.json`. `end` is the special token between documents (OPT: `</s>`).
        """
        if os.path.exists(os.path.join(path, "merges.txt")):
            with open(os.path.join(path, "vocab.json"), encoding="utf-8") as file:
                vocabulary = json.load(file)
            with open(os.path.join(path, "merges.txt"), encoding="utf-8") as file:
                lines = file.read().split("\n")
            rows = [line.split(" ") for line in lines if line and not line.startswith("#version")]
            return cls._published(vocabulary, rows, {}, end)
        with open(os.path.join(path, "tokenizer.json"), encoding="utf-8") as file:
            values = json.load(file)
        _check(values, path)
        model = values["model"]
        rows = [row.split(" ") if isinstance(row, str) else row for row in model["merges"]]
        added = {token["content"]: token["id"] for token in values.get("added_tokens", [])}
        return cls._published(model["vocab"], rows, added, end)

    @classmethod
    def _published(
        cls,
        vocabulary: dict[str, int],
        rows: list[list[str]],
        added: dict[str, int],
        end: str,
    ) -> ByteTokenizer:
        """From the ids of names and the merges as pairs of names; what is no symbol is special."""
        symbols = Symbols()
        merges: dict[Pair, None] = {}
        for left, right in rows:
            pair = (symbols.number[_spelling(left)], symbols.number[_spelling(right)])
            symbols.join(pair)
            merges[pair] = None
        names = ["".join(CHARACTERS[ID_OF_BYTE[b]] for b in word) for word in symbols.spelled]
        missing = [name for name in names if name not in vocabulary]
        if missing:
            raise ValueError(f"the vocabulary has no id for {missing[:5]}")
        spelled = set(names)
        special = {name: i for name, i in vocabulary.items() if name not in spelled} | added
        ids = [vocabulary[name] for name in names]
        plain = ids == list(range(len(ids)))
        return cls(list(merges), None if plain else ids, special, end)

    def _merge_word(self, word: bytes) -> tuple[int, ...]:
        found = merged(byte_ids(word), self.rank, self.symbols.made)
        return found if self.ids is None else tuple(self.ids[symbol] for symbol in found)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without an end."""
        ids: list[int] = []
        for word in WORD.findall(text):
            ids.extend(self._word_ids(word.encode("utf-8", "surrogatepass")))
        return ids

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any bytes, those of `encode` where they are UTF-8; `decode_bytes` gives the bytes
        back.
        """
        ids: list[int] = []
        for word in WORD.findall(data.decode("utf-8", "surrogateescape")):
            ids.extend(self._word_ids(word.encode("utf-8", "surrogateescape")))
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that `ids` stand for; a special token stands for its name."""
        return b"".join(self.spelling[i] for i in ids)

    def padded(
        self,
        texts: Sequence[str],
        length: int,
        *,
        side: Literal["left", "right"] = "right",
        closed: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Token ids (B, L) int64 and which of them are real (B, L) bool, L that of the longest.

        Args:
            length: most tokens of a text; what is longer loses its tail.
            side: of the padding; left for prompts, which generation continues.
            closed: each text ends with the end token.
        """
        last = [self.end] if closed else []
        rows = [[*self.encode(text)[: length - len(last)], *last] for text in texts]
        longest = max(map(len, rows), default=0)
        tokens_BL = torch.full((len(rows), longest), self.end, dtype=torch.int64)
        valid_BL = torch.zeros(len(rows), longest, dtype=torch.bool)
        for index, row in enumerate(rows):
            first = longest - len(row) if side == "left" else 0
            tokens_BL[index, first : first + len(row)] = torch.tensor(row, dtype=torch.int64)
            valid_BL[index, first : first + len(row)] = True
        return tokens_BL, valid_BL

    def by_frequency(self, texts: Iterable[str]) -> ByteTokenizer:
        """The same merges with ids that fall in frequency in `texts`, as an adaptive vocabulary
        needs; the end is id 0.
        """
        counts = Counter(token for text in texts for token in self.encode(text))
        count = len(self.symbols.spelled)
        numbers = list(range(count)) if self.ids is None else self.ids
        order = sorted(range(count), key=lambda symbol: (-counts[numbers[symbol]], symbol))
        ids = [0] * count
        for place, symbol in enumerate(order, 1):
            ids[symbol] = place
        return ByteTokenizer(self.merges, ids, {self.end_token: 0}, self.end_token)

    def to_json(self) -> dict[str, object]:
        """JSON values: the kind, the merges as pairs of symbols, ids if they are not the symbols'
        own, specials.
        """
        merges = [list(pair) for pair in self.merges]
        special = {"special": self.special, "end": self.end_token}
        return {"kind": "gpt2", "merges": merges, "ids": self.ids, **special}

    @classmethod
    def restored(cls, values: dict[str, Any]) -> ByteTokenizer:
        """The inverse of `to_json`; `Tokenizer.from_json` comes here."""
        merges = [(left, right) for left, right in values["merges"]]
        return cls(merges, values["ids"], values["special"], values["end"])


def _spelling(name: str) -> bytes:
    """The bytes of a published name. Raises ValueError where it is no byte-level one."""
    wrong = [c for c in name if c not in BYTE_OF_CHARACTER]
    if wrong:
        raise ValueError(f"{name!r} is no row of bytes: {wrong[0]!r} stands for none")
    return bytes(BYTE_OF_CHARACTER[c] for c in name)


def _check(values: dict[str, Any], path: str) -> None:
    """Raises ValueError for a tokenizer.json of another kind."""
    model, before = values["model"], values.get("pre_tokenizer") or {}
    wrong = {
        "model.type": model.get("type", "BPE") != "BPE",
        "model.ignore_merges": bool(model.get("ignore_merges")),
        "model.byte_fallback": bool(model.get("byte_fallback")),
        "normalizer": values.get("normalizer") is not None,
        "pre_tokenizer.type": before.get("type") != "ByteLevel",
        "pre_tokenizer.add_prefix_space": bool(before.get("add_prefix_space")),
        "pre_tokenizer.use_regex": not before.get("use_regex", True),
    }
    found = [name for name, bad in wrong.items() if bad]
    if found:
        raise ValueError(f"{path} holds no tokenizer of GPT-2's kind: {', '.join(found)}")
