"""Byte-level BPE against Hugging Face's `tokenizers`, against a slow merge loop, and back from any
bytes.
"""

from __future__ import annotations

import functools
import json
import pickle
import random
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import open_clip.tokenizer
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from models.tokenizers import bpe
from models.tokenizers.bpe import Pair, merged, merged_long
from models.tokenizers.clip import Tokenizer
from models.tokenizers.gpt2 import WORD, ByteTokenizer, Symbols, byte_ids, learn_byte_merges

TEXTS = [
    "It's the cat's 12 pyjamas, isn't it?! we'll see",
    "naïve café — ‘smart’ quotes… 日本語のテキスト ελληνικά 😀👩‍👩‍👧",
    "  white \t space \n\n folded  ",
    "an <|endoftext|> inside",
    "def f(x):\n    return x  # four spaces\n",
    "x" * 300 + " " + "word " * 100,
    "",
    "\x00 \ufffd \u200b 1234567890 ½ Ⅷ",
]
WORDS = st.lists(st.text(alphabet="abé \n'st", max_size=20), max_size=8)


@functools.cache
def source() -> list[str]:
    """Some 50 kB of real text: a program with its comments."""
    return Path(open_clip.tokenizer.__file__).read_text(encoding="utf-8").splitlines(True)


def theirs(texts: Iterable[str], vocab_size: int, specials: list[str]) -> tokenizers.Tokenizer:
    """Hugging Face's byte-level BPE trained on the same texts."""
    found = tokenizers.Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found.train_from_iterator(texts, trainer)
    return found


def names(tokenizer: ByteTokenizer) -> list[list[str]]:
    """Our merges as published files write them."""
    spelled = tokenizer.symbols.spelled
    written = ["".join(bpe.CHARACTERS[i] for i in byte_ids(word)) for word in spelled]
    return [[written[left], written[right]] for left, right in tokenizer.merges]


def their_merges(found: tokenizers.Tokenizer) -> list[list[str]]:
    return [list(pair) for pair in json.loads(found.to_str())["model"]["merges"]]


@pytest.mark.parametrize("vocab_size", [257, 300, 700, 2000])
def test_merges_and_ids_are_those_of_tokenizers(vocab_size: int) -> None:
    ours = ByteTokenizer.learn(source(), vocab_size)
    other = theirs(source(), vocab_size - 1, [])
    assert names(ours) == their_merges(other)
    assert ours.vocab_size == other.get_vocab_size() + 1
    for text in (*TEXTS, "".join(source())):
        assert ours.encode(text) == other.encode(text).ids


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(256, 300))
def test_merges_are_those_of_tokenizers_for_any_text(texts: list[str], symbols: int) -> None:
    ours = ByteTokenizer(learn_byte_merges(texts, symbols))
    other = theirs(texts, symbols, [])
    assert names(ours) == their_merges(other)
    for text in texts:
        assert ours.encode(text) == other.encode(text).ids


def slow_merges(texts: list[str], symbols: int) -> list[Pair]:
    """Counts every pair of the corpus anew for every merge."""
    frequency = Counter(word.encode() for text in texts for word in WORD.findall(text))
    words = {word: [bytes([byte]) for byte in word] for word in frequency}
    number = {bytes([byte]): index for index, byte in enumerate(bpe.BYTES)}
    merges: list[Pair] = []
    while len(number) < symbols:
        counts: Counter[tuple[bytes, bytes]] = Counter()
        for word, parts in words.items():
            for pair in pairwise(parts):
                counts[pair] += frequency[word]
        found = [(-n, number[a], number[b], a, b) for (a, b), n in counts.items() if n >= 2]
        if not found:
            break
        _, left, right, a, b = min(found)
        number.setdefault(a + b, len(number))
        merges.append((left, right))
        for parts in words.values():
            i = 0
            while i + 1 < len(parts):
                if (parts[i], parts[i + 1]) == (a, b):
                    parts[i : i + 2] = [a + b]
                i += 1
    return merges


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(256, 300))
def test_merges_are_those_of_a_slow_loop(texts: list[str], symbols: int) -> None:
    assert learn_byte_merges(texts, symbols) == slow_merges(texts, symbols)


def test_merges_do_not_depend_on_the_order_of_texts() -> None:
    assert learn_byte_merges(source(), 400) == learn_byte_merges(reversed(source()), 400)
    assert learn_byte_merges(source(), 330) == slow_merges(source(), 330)


@functools.cache
def learned() -> ByteTokenizer:
    return ByteTokenizer.learn(source(), 700)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_come_back(data: bytes) -> None:
    ids = learned().encode_bytes(data)
    assert learned().decode_bytes(ids) == data
    assert all(0 <= i < learned().end for i in ids)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_comes_back(text: str) -> None:
    ids = learned().encode(text)
    assert learned().decode(ids) == text
    assert learned().encode_bytes(text.encode()) == ids


@functools.cache
def learned_by_tokenizers() -> tokenizers.Tokenizer:
    return theirs(source(), 699, [])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_ids_are_those_of_tokenizers_for_any_text(text: str) -> None:
    assert learned().encode(text) == learned_by_tokenizers().encode(text).ids


def test_long_words_cost_no_square_of_their_length() -> None:
    rng = random.Random(0)
    merges = learned().merges
    rank, made = learned().rank, Symbols(merges).made
    for length in (1, 2, 3, 40, 63, 64, 65, 200):
        for letters in (b"ab", b"return self", bytes(range(256))):
            word = byte_ids(bytes(rng.choice(letters) for _ in range(length)))
            short = [merged(word[i : i + 1], rank, made) for i in range(length)]
            assert [a for (a,) in short] == list(word)
            assert merged_long(word, rank, made) == plainly(word, rank, made)
            assert merged(word, rank, made) == plainly(word, rank, made)
    data = bytes(rng.choice(b"return self") for _ in range(200_000)).replace(b" ", b"")
    assert learned().decode_bytes(learned().encode_bytes(data)) == data


def plainly(word: tuple[int, ...], rank: dict[Pair, int], made: dict[Pair, int]) -> tuple[int, ...]:
    """One merge at a time, the leftmost of the lowest rank."""
    ids = list(word)
    while True:
        ranked = [(rank[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in rank]
        if not ranked:
            return tuple(ids)
        _, i = min(ranked)
        ids[i : i + 2] = [made[ids[i], ids[i + 1]]]


@pytest.mark.parametrize("seed", range(8))
def test_a_spelling_has_one_id_whatever_merges_lead_to_it(seed: int) -> None:
    """Random tables of merges, in which spellings come up again, as `tokenizers` applies them."""
    rng = random.Random(seed)
    written = {name: index for index, name in enumerate(bpe.CHARACTERS)}
    rows: dict[tuple[str, str], None] = {}
    known = ["a", "b", "c"]
    while len(rows) < 60:
        pair = (rng.choice(known), rng.choice(known))
        if len(pair[0] + pair[1]) < 7 and pair not in rows:
            rows[pair] = None
            written.setdefault(pair[0] + pair[1], len(written))
            known.append(pair[0] + pair[1])
    assert len(written) < 256 + len(rows)
    other = tokenizers.Tokenizer(models.BPE(written, list(rows)))
    other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ours = ByteTokenizer([(written[left], written[right]) for left, right in rows])
    assert ours.vocab_size == len(written) + 1
    for length in (5, 30, 63, 64, 90):
        text = "".join(rng.choice("abc") for _ in range(length))
        assert ours.encode(text) == other.encode(text).ids


@pytest.mark.parametrize("specials", [[], ["<s>", "<pad>", "</s>"]])
@pytest.mark.parametrize("form", ["merges", "json", "old json"])
def test_published_files_are_read(tmp_path: Path, specials: list[str], form: str) -> None:
    other = theirs(source(), 600, [*specials, "<|endoftext|>"])
    if form == "merges":
        other.model.save(str(tmp_path))
    else:
        other.save(str(tmp_path / "tokenizer.json"))
    if form == "old json":  # merges as lines
        values = json.loads((tmp_path / "tokenizer.json").read_text())
        values["model"]["merges"] = [" ".join(pair) for pair in values["model"]["merges"]]
        (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    ours = ByteTokenizer.from_folder(str(tmp_path))
    assert ours.vocab_size == other.get_vocab_size()
    assert ours.end == other.token_to_id("<|endoftext|>")
    for text in (*(t for t in TEXTS if "<|" not in t), "".join(source())):
        assert ours.encode(text) == other.encode(text).ids
        assert ours.decode(ours.encode(text)) == text
    if specials:
        opt = ByteTokenizer.from_folder(str(tmp_path), end="</s>")
        assert opt.end == 2 and opt.ids is not None and min(opt.ids) == 4
    copy = Tokenizer.from_json(json.loads(json.dumps(ours.to_json())))
    assert isinstance(copy, ByteTokenizer) and copy.encode("a cat") == ours.encode("a cat")
    assert (copy.end, copy.vocab_size, copy.special) == (ours.end, ours.vocab_size, ours.special)


def test_gpt2_layout() -> None:
    assert learned().vocab_size == 700 and learned().end == 699
    assert learned().encode('!"#') != [0, 1, 2] or learned().merges
    bare = ByteTokenizer([])
    assert bare.encode('!"~ \x00') == [0, 1, 93, 220, 188]  # GPT-2's ids of these bytes
    assert bare.vocab_size == 257 and bare.decode([256]) == "<|endoftext|>"
    assert bare.end not in bare.encode("<|endoftext|>")


def test_saved_and_sent_tokenizers_are_the_same(tmp_path: Path) -> None:
    learned().save(str(tmp_path / "tokenizer.json"))
    for copy in (
        Tokenizer.load(str(tmp_path / "tokenizer.json")),
        pickle.loads(pickle.dumps(learned())),
    ):
        assert isinstance(copy, ByteTokenizer) and copy.merges == learned().merges
        assert [copy.encode(t) for t in TEXTS] == [learned().encode(t) for t in TEXTS]
    assert json.loads((tmp_path / "tokenizer.json").read_text())["kind"] == "gpt2"


def test_clips_tokenizers_keep_their_kind() -> None:
    clip = Tokenizer([(0, 1)], repair=True)
    assert clip.to_json()["kind"] == "clip"
    old = {key: value for key, value in clip.to_json().items() if key != "kind"}
    for values in (clip.to_json(), old):
        copy = Tokenizer.from_json(values)
        assert type(copy) is Tokenizer and copy.merges == [(0, 1)] and copy.repair


def test_padded_rows() -> None:
    tokenizer = ByteTokenizer([])
    tokens, valid = tokenizer.padded(['!"#', "$"], 9, closed=True)
    assert tokens.tolist() == [[0, 1, 2, 256], [3, 256, 256, 256]]
    assert valid.int().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    tokens, valid = tokenizer.padded(['!"#', "$"], 9, side="left", closed=True)
    assert tokens.tolist() == [[0, 1, 2, 256], [256, 256, 3, 256]]
    assert valid.int().tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    tokens, valid = tokenizer.padded(["!!!!", ""], 3)
    assert tokens.tolist() == [[0] * 3, [256] * 3] and valid.sum() == 3
    assert tokenizer.padded(["!!!!"], 3, closed=True)[0].tolist() == [[0, 0, 256]]
    assert tokenizer.padded([], 3)[0].shape == (0, 0)
    assert tokenizer(["!", '!"'], 5).tolist() == [[256, 0, 256, 256, 256], [256, 0, 1, 256, 256]]


def test_ids_by_frequency() -> None:
    texts = source()
    ranked = learned().by_frequency(texts)
    counts = Counter(i for text in texts for i in ranked.encode(text))
    falling = [counts[i] for i in range(1, ranked.vocab_size)]
    assert falling == sorted(falling, reverse=True) and falling[0] > falling[50] > 0
    assert ranked.end == 0 and ranked.vocab_size == learned().vocab_size
    for text in TEXTS:
        assert ranked.decode(ranked.encode(text)) == text
        assert len(ranked.encode(text)) == len(learned().encode(text))
    again = pickle.loads(pickle.dumps(ranked)).by_frequency(texts)
    assert again.ids == ranked.ids


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocab_size=256 must be at least 257"):
        ByteTokenizer.learn(TEXTS, 256)
    with pytest.raises(ValueError, match="repair=True would lose"):
        ByteTokenizer.learn(TEXTS, 300, repair=True)
    with pytest.raises(ValueError, match="tokenizer kind='words' must be clip or gpt2"):
        Tokenizer.from_json({"kind": "words"})
    with pytest.raises(ValueError, match="2 ids for 256 symbols"):
        ByteTokenizer([], ids=[0, 1])
    with pytest.raises(ValueError, match="end='</s>' must be one of the specials"):
        ByteTokenizer([], special={"<s>": 256}, end="</s>")
    other = theirs(TEXTS, 300, [])
    other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    other.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"GPT-2's kind: pre_tokenizer.add_prefix_space"):
        ByteTokenizer.from_folder(str(tmp_path))
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 2}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(ValueError, match="the vocabulary has no id for"):
        ByteTokenizer.from_folder(str(tmp_path))
    (tmp_path / "merges.txt").write_text("a ▁b\n")
    with pytest.raises(ValueError, match="is no row of bytes: '▁' stands for none"):
        ByteTokenizer.from_folder(str(tmp_path))
