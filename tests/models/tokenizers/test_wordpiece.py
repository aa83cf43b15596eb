"""WordPiece against transformers' BertTokenizer, from either of the files that are published."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer

from models.tokenizers.wordpiece import WordPiece, plain_caption

PIECES = [
    "a",
    "b",
    "cat",
    "##s",
    "##a",
    "##b",
    "pic",
    "##ture",
    "of",
    "café",
    "cafe",
    "猫",
    "!",
    "'",
]
SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words")
    (path / "vocab.txt").write_text("\n".join([*SPECIAL, *PIECES]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def theirs(folder: Path) -> BertTokenizer:
    made = BertTokenizer(str(folder / "vocab.txt"))
    made.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    return made


def texts() -> list[str]:
    chance = random.Random(0)
    words = [
        "a",
        "cats",
        "CAT",
        "picture",
        "Café",
        "猫猫",
        "abab",
        "!",
        "x" * 120,
        "cat's",
        "\t",
        "of",
    ]
    return ["", *(" ".join(chance.choices(words, k=chance.randrange(1, 12))) for _ in range(50))]


def test_ids_are_transformers(folder: Path, theirs: BertTokenizer) -> None:
    ours = WordPiece.from_folder(str(folder))
    assert ours.vocab_size == len(theirs) == len(SPECIAL) + len(PIECES) + 2
    assert (ours.decode_id, ours.encode_id) == (len(theirs) - 2, len(theirs) - 1)
    for length in (3, 8, 30):
        wanted = theirs(
            texts(), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        assert torch.equal(ours(texts(), length), wanted["input_ids"])
    assert ours(["a cats", "a"], cut=True).tolist()[1] == [
        ours.start,
        6,
        ours.end,
        ours.pad,
        ours.pad,
    ]


def test_tokenizer_json_says_the_same(folder: Path, theirs: BertTokenizer, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").exists()
    found, wanted = WordPiece.from_folder(str(tmp_path)), WordPiece.from_folder(str(folder))
    assert torch.equal(found(texts()), wanted(texts()))
    assert found.vocab_size == wanted.vocab_size


def test_ids_become_text_again(folder: Path, theirs: BertTokenizer) -> None:
    ours = WordPiece.from_folder(str(folder))
    ids = [ours.decode_id, *ours.encode("a picture of cats !"), ours.end, ours.pad]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.decode(ids).startswith("a picture of cats")


def test_captions_are_read_plain() -> None:
    assert plain_caption('A "Red" (big) dog: runs!  Fast. ') == "a red big dog runs fast"
    assert plain_caption("b " * 40, most=3) == "b b b"


def test_what_is_missing_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has neither tokenizer\.json nor vocab\.txt"):
        WordPiece.from_folder(str(tmp_path))
    with pytest.raises(ValueError, match="context_length=2 must be at least 3"):
        WordPiece.from_folder(str(folder))(["a"], 2)
    (tmp_path / "vocab.txt").write_text("[UNK]\n[SEP]\n[CLS]\na\n")
    with pytest.raises(ValueError, match=r"the vocabulary has no \[PAD\]"):
        WordPiece.from_folder(str(tmp_path))
