"""BERT's WordPiece, which BLIP and BLIP-2 read and write, from the files of a published checkpoint.

Hugging Face's `tokenizers` does the work; here are only the special words and the shape of the
result, which is that of `models.tokenizers.clip.Tokenizer`: rows [start, ..., end, padding]. BLIP
adds two words to BERT's 30,522: [DEC] begins what its decoder writes, [ENC] what its encoder of
pairs reads. BLIP-2 adds the first only.

Shapes: B texts, L tokens.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from tokenizers import AddedToken, BertWordPieceTokenizer
from tokenizers import Tokenizer as Fast

from models.tokenizers.marked import MarkedTokenizer

START, END, PAD, DECODE, ENCODE = "[CLS]", "[SEP]", "[PAD]", "[DEC]", "[ENC]"
_PUNCTUATION = re.compile(r"[.!\"()*#:;~]")


def plain_caption(text: str, most: int = 30) -> str:
    """A caption as BLIP's training and retrieval read it: lower case, without punctuation that
    ends or encloses, at most so many words.
    """
    return " ".join(_PUNCTUATION.sub(" ", text.lower()).split()[:most])


class WordPiece(MarkedTokenizer):
    """Texts to ids and back; ids of BLIP's two words follow BERT's where the files lack them."""

    def __init__(self, fast: Fast) -> None:
        fast.no_truncation()
        fast.no_padding()
        fast.add_special_tokens([AddedToken(word, special=True) for word in (DECODE, ENCODE)])
        self.fast = fast
        self.start, self.end, self.pad = self._id(START), self._id(END), self._id(PAD)
        self.unknown = self._id("[UNK]")
        self.decode_id, self.encode_id = self._id(DECODE), self._id(ENCODE)

    def _id(self, word: str) -> int:
        found = self.fast.token_to_id(word)
        if found is None:
            raise ValueError(f"the vocabulary has no {word}")
        return int(found)

    @classmethod
    def from_folder(cls, path: str, lower: bool = True) -> WordPiece:
        """Of `tokenizer.json` in a local folder, or of BERT's `vocab.txt` (`lower`: uncased)."""
        whole, words = os.path.join(path, "tokenizer.json"), os.path.join(path, "vocab.txt")
        if os.path.exists(whole):
            return cls(Fast.from_file(whole))
        if not os.path.exists(words):
            raise FileNotFoundError(f"{path} has neither tokenizer.json nor vocab.txt")
        with open(words, encoding="utf-8") as file:
            lines = file.read().split("\n")
        vocabulary = {word: place for place, word in enumerate(lines) if word}
        made = BertWordPieceTokenizer(vocabulary, lowercase=lower)
        return cls(Fast.from_str(made.to_str()))

    @property
    def vocab_size(self) -> int:
        """Ids, the two added ones included."""
        return int(self.fast.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end."""
        return list(self.fast.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special words left out."""
        return str(self.fast.decode(list(ids), skip_special_tokens=True))
