"""The tokenizer against open_clip's, against a slow merge loop, and back again from any bytes."""

from __future__ import annotations

import functools
import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path

import open_clip.tokenizer
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokenizers.clip import WORD, Tokenizer, clean, learn_merges, symbols

TEXTS = [
    "Grinning face with big eyes",
    "It's the cat's 12 pyjamas, isn't it?! we'll see",
    "naïve café — ‘smart’ quotes… 日本語のテキスト ελληνικά 😀👩‍👩‍👧",
    "&amp;lt;b&gt; entities &eacute; and mojibake: donâ€™t",
    "  white \t space \n folded  ",
    "UPPER lower İstanbul ẞ",
    "an <end_of_text> inside, and <START_OF_TEXT>",
    "x" * 300 + " " + "word " * 100,
    "",
    "\x00 \ufffd \u200b 1234567890 ½ Ⅷ",
]


@functools.cache
def published() -> Tokenizer:
    return Tokenizer.from_clip(open_clip.tokenizer.default_bpe())


@pytest.fixture
def clip() -> Tokenizer:
    return published()


@pytest.fixture(scope="module")
def learned() -> Tokenizer:
    return Tokenizer.learn(TEXTS[:6] * 3, 900)


def test_ids_are_those_of_open_clip(clip: Tokenizer) -> None:
    theirs = open_clip.tokenizer.SimpleTokenizer()
    assert (clip.vocab_size, clip.start, clip.end) == (49408, 49406, 49407)
    assert torch.equal(clip(TEXTS), theirs(TEXTS))
    assert torch.equal(clip(TEXTS, 16), theirs(TEXTS, 16))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_ids_are_those_of_open_clip_for_any_text(text: str) -> None:
    assert published().encode(text) == open_clip.tokenizer._tokenizer.encode(text)


def test_longest_text_sets_the_length_when_cut(clip: Tokenizer) -> None:
    texts = ["a", "a cat on a mat", "two words"]
    cut = clip(texts, cut=True)
    assert cut.shape == (3, 7)
    assert torch.equal(clip(texts)[:, :7], cut)
    assert not clip(texts)[:, 7:].any()
    assert clip([], cut=True).shape == (0, 0)


def test_a_long_text_keeps_its_end(clip: Tokenizer) -> None:
    row = clip(["cat " * 50], 8)[0]
    assert row[0] == clip.start and row[-1] == clip.end and len(row) == 8
    with pytest.raises(ValueError, match="context_length=2 must be at least 3"):
        clip(["a"], 2)


def slow_merges(texts: list[str], count: int, least: int) -> list[tuple[int, int]]:
    """Counts every pair of the corpus anew for every merge."""
    frequency = Counter(w.encode() for t in texts for w in WORD.findall(clean(t, False)))
    words = {word: list(symbols(word)) for word in frequency}
    merges: list[tuple[int, int]] = []
    while len(merges) < count:
        counts: Counter[tuple[int, int]] = Counter()
        for word, ids in words.items():
            for pair in pairwise(ids):
                counts[pair] += frequency[word]
        if not counts:
            break
        pair, found = min(counts.items(), key=lambda item: (-item[1], item[0]))
        if found < least:
            break
        for word, ids in words.items():
            merged: list[int] = []
            for symbol in ids:
                merged.append(symbol)
            i = 0
            while i + 1 < len(merged):
                if (merged[i], merged[i + 1]) == pair:
                    merged[i : i + 2] = [512 + len(merges)]
                i += 1
            words[word] = merged
        merges.append(pair)
    return merges


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="abé ", max_size=20), max_size=8), st.integers(0, 30))
def test_merges_are_those_of_a_slow_loop(texts: list[str], count: int) -> None:
    assert learn_merges(texts, count, least=2) == slow_merges(texts, count, 2)


def test_merges_of_real_words_are_those_of_a_slow_loop() -> None:
    source = Path(open_clip.tokenizer.__file__).read_text(encoding="utf-8").splitlines()
    merges = learn_merges(source, 150)
    assert merges == slow_merges(source, 150, 2)
    assert merges == learn_merges(reversed(source), 150)
    assert len(merges) == 150


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=30))
def test_any_bytes_come_back(word: bytes) -> None:
    tokenizer = Tokenizer(learn_merges(["ab abab aba é"] * 3, 20))
    assert tokenizer.decode_bytes(tokenizer.encode_word(word)) == word + b" "


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_text_comes_back_but_for_white_space(text: str) -> None:
    tokenizer = Tokenizer(learn_merges(["ab abab aba é"] * 3, 20))
    plain = "".join(clean(text, False).split())
    if not any(0xD800 <= ord(c) < 0xE000 for c in plain):
        assert "".join(tokenizer.decode(tokenizer.encode(text)).split()) == plain


def test_saved_and_sent_tokenizers_are_the_same(learned: Tokenizer, tmp_path: Path) -> None:
    learned.save(str(tmp_path / "tokenizer.json"))
    for copy in (
        Tokenizer.load(str(tmp_path / "tokenizer.json")),
        pickle.loads(pickle.dumps(learned)),
    ):
        assert copy.merges == learned.merges and copy.repair is learned.repair
        assert torch.equal(copy(TEXTS), learned(TEXTS))


def test_frequent_words_become_one_token(learned: Tokenizer) -> None:
    assert len(learned.encode("grinning")) == 1
    assert learned.decode(learned.encode("Grinning Face")) == "grinning face "
    with pytest.raises(ValueError, match="vocab_size=513 must be at least 514"):
        Tokenizer.learn(TEXTS, 513)
