"""BERT's WordPiece vocabulary, which public BLIP and BLIP-2 checkpoints read, with the surface of
`models.tokenizer.Tokenizer`.

The splitting is the `tokenizers` library's. A checkpoint folder holds `tokenizer.json`, or
`vocab.txt` with a word a line.

Shapes: B texts, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.datasets import filesystem


class WordPiece:
    """Lower-cased pieces of words; [CLS] starts a text and [SEP] ends it."""

    def __init__(self, pieces: Any) -> None:
        """`pieces` is a `tokenizers.Tokenizer`."""
        pieces.no_padding()
        pieces.no_truncation()
        self.pieces = pieces
        names = ("[CLS]", "[SEP]", "[PAD]", "[UNK]")
        self.start, self.end, self.pad, self.unknown = map(pieces.token_to_id, names)
        self.vocab_size = pieces.get_vocab_size()

    @classmethod
    def read(cls, folder: str) -> WordPiece:
        """The vocabulary in a checkpoint's folder. Raises FileNotFoundError where there is none."""
        from tokenizers import BertWordPieceTokenizer, Tokenizer

        fs, inner = filesystem(folder)

        def text(name: str) -> str | None:
            path = f"{inner.rstrip('/')}/{name}"
            if not fs.get_file_info(path).is_file:
                return None
            with fs.open_input_file(path) as file:
                return str(file.read().decode())

        if (whole := text("tokenizer.json")) is not None:
            return cls(Tokenizer.from_str(whole))
        if (words := text("vocab.txt")) is None:
            raise FileNotFoundError(f"{folder} has neither tokenizer.json nor vocab.txt")
        ids = {word: number for number, word in enumerate(words.splitlines())}
        return cls(BertWordPieceTokenizer(ids, lowercase=True)._tokenizer)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end."""
        return list(self.pieces.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, pieces joined, special ones left out."""
        return str(self.pieces.decode(list(ids), skip_special_tokens=True))

    def __call__(self, texts: Sequence[str], context_length: int, cut: bool = False) -> Tensor:
        """Token ids (B, L) int64, start and end included; a text too long loses its tail."""
        rows = [[self.start, *self.encode(t)[: context_length - 2], self.end] for t in texts]
        length = max(map(len, rows), default=0) if cut else context_length
        out_BL = torch.full((len(rows), length), self.pad, dtype=torch.int64)
        for row, ids in enumerate(rows):
            out_BL[row, : len(ids)] = torch.tensor(ids)
        return out_BL
