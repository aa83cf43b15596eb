"""A published checkpoint's own tokenizer, whatever its kind, out of its `tokenizer.json`.

For the language models inside a BLIP-2: OPT's byte-level BPE, T5's SentencePiece. The `tokenizers`
package runs it; nothing of it is learned or checked here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Self

from pipelines.storage import filesystem

FILE = "tokenizer.json"


class PublishedTokenizer:
    """Text to ids and back; special tokens are neither added nor spelt."""

    def __init__(self, file: bytes) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(file.decode())

    @classmethod
    def from_folder(cls, path: str) -> Self:
        """Of the checkpoint in the folder `path`."""
        fs, folder = filesystem(path)
        with fs.open_input_file(posixpath.join(folder, FILE)) as opened:
            return cls(opened.read())

    def encode(self, text: str) -> list[int]:
        """Ids without start and end."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
