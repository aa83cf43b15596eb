"""WordPiece against transformers' BERT tokenizer on one vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertTokenizerFast

from models.wordpiece import WordPiece

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "picture", "cat", "##ting"]
WORDS += [*LETTERS, *".,!'", *(f"##{letter}" for letter in LETTERS)]
TEXTS = ["A picture of a Cat.", "chatting, 3 cats!", "Café naïve", "日本", "", "x " * 50]


def test_ids_and_texts_are_those_of_transformers(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    theirs = BertTokenizerFast.from_pretrained(str(tmp_path))
    theirs.save_pretrained(tmp_path / "saved")
    for folder in (tmp_path, tmp_path / "saved"):
        ours = WordPiece.read(str(folder))
        wanted = theirs(
            TEXTS, padding="max_length", truncation=True, max_length=12, return_tensors="pt"
        )
        assert ours(TEXTS, 12).tolist() == wanted["input_ids"].tolist()
        for text in TEXTS:
            ids = ours.encode(text)
            assert ours.decode([ours.start, *ids, ours.end]) == theirs.decode(
                ids, skip_special_tokens=True
            )
    assert ours(["cat", "a"], 12, cut=True).shape == (2, 3)


def test_a_folder_without_words_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has neither tokenizer.json nor vocab.txt"):
        WordPiece.read(str(tmp_path))
