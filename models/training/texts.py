"""Training batches from texts, as a pure function of the step.

Documents are encoded one after the other with an end token after each, and the row of tokens is cut
into sequences without regard to where documents end (GPT-2 and GPT-3 pack so too: no token is
padding). A sequence has one token more than the network's context and shares it with the next, so
that every token but the very first is predicted once an epoch. The order of an epoch is a hash of
(seed, epoch, number of the sequence): a resumed run sees what the uninterrupted one saw, and the
global batch is the same on any number of ranks.

The tokens are held in memory, two bytes each for a vocabulary of up to 65,536 ids, else four; every
rank encodes the files when it starts, at about 1.5 MB/s a core.

Shapes: B batch of this rank, L tokens, one more than the context.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.tokenizers.clip import Tokenizer
from models.training.loaders import Share
from models.training.rows import Order, hashed_order
from pipelines.datasets import shard_batches
from pipelines.hashing import hash_json
from pipelines.storage import file_sha256

PIECE = 1 << 20  # characters of a document that are encoded at a time


@dataclass(frozen=True)
class TextLoaderConfig:
    """How files become texts."""

    field: str = "text"  # of a JSON line, or column of a Parquet file, that holds the document


def files(pattern: str) -> list[str]:
    """The files that a path or URL with wildcards names, sorted."""
    from pipelines.web.warc import matching

    return matching(pattern)


def texts_hash(pattern: str) -> str:
    """32 hex digits over the contents of the files, in their order."""
    return hash_json([file_sha256(path) for path in files(pattern)])


def documents(pattern: str, field: str = "text") -> Iterator[str]:
    """The documents of all files, in order: a JSON line's or a Parquet row's `field`, or the whole
    of any other file as UTF-8. Files that end in .gz, .bz2 or .xz are unpacked.

    Raises ValueError naming the file, the line and what it holds where there is no such text.
    """
    import fsspec

    for path in files(pattern):
        stem = path.rsplit(".", 1)[0] if path.endswith((".gz", ".bz2", ".xz")) else path
        if path.endswith(".parquet"):
            for batch in shard_batches(path, [field]):
                yield from (text for text in batch.column(0).to_pylist() if text)
            continue
        with fsspec.open(path, "rt", encoding="utf-8", compression="infer", newline="") as file:
            if stem.endswith((".jsonl", ".ndjson", ".json")):
                yield from _of_lines(file, path, field)
            else:
                yield file.read()


def _of_lines(lines: Iterable[str], path: str, field: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record: Any = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        text = record.get(field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            held = sorted(record) if isinstance(record, dict) else type(record).__name__
            raise ValueError(f"{path}, line {number} has no text {field!r}; it holds {held}")
        yield text


def pieces(text: str) -> Iterator[str]:
    """`text` cut after the first line end past every `PIECE` characters, so that the words of a
    long document need not all be in memory.
    """
    first = 0
    while first < len(text):
        end = text.find("\n", first + PIECE) + 1 or len(text)
        yield text[first:end]
        first = end


def packed(texts: Iterable[str], tokenizer: Tokenizer) -> NDArray[np.unsignedinteger[Any]]:
    """The tokens of all texts in a row, an end token after each that is not empty."""
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    parts: list[NDArray[Any]] = [np.empty(0, dtype)]
    for text in texts:
        if text:
            parts += [np.array(tokenizer.encode(piece), dtype) for piece in pieces(text)]
            parts.append(np.array([tokenizer.end], dtype))
    return np.concatenate(parts)


class TextLoader:
    """Batches of packed sequences.

    Args:
        pattern: of the files.
        context_length: tokens that the network sees; a sequence has one more.
        batch_size: global; the ranks share it evenly.

    Raises ValueError where the texts cannot fill one batch or the ranks do not divide it.
    """

    streamed = False  # nothing is decoded while the network works

    def __init__(
        self,
        pattern: str,
        *,
        context_length: int,
        batch_size: int,
        config: TextLoaderConfig,
        seed: int,
        tokenizer: Tokenizer,
        share: Share | None = None,
    ) -> None:
        self.context_length, self.batch_size, self.seed = context_length, batch_size, seed
        self.share = share or Share()
        if batch_size % self.share.ranks:
            raise ValueError(f"{self.share.ranks} ranks must divide batch_size={batch_size}")
        self.tokens = packed(documents(pattern, config.field), tokenizer)
        self.rows = max(0, len(self.tokens) - 1) // context_length
        self.steps_per_epoch = self.rows // batch_size
        if not self.steps_per_epoch:
            raise ValueError(
                f"batch_size={batch_size} exceeds {pattern}: {self.rows} sequences of "
                f"{context_length + 1} tokens in {len(self.tokens):,}"
            )
        self.ordered: tuple[int, Order] = (-1, np.empty(0, dtype=np.int64))

    def chosen(self, step: int) -> Order:
        """The numbers of the sequences in this rank's share of a step's batch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self.ordered[0] != epoch:
            self.ordered = (epoch, hashed_order(self.seed, epoch, range(self.rows)))
        size = self.batch_size // self.share.ranks
        first = place * self.batch_size + self.share.rank * size
        return self.ordered[1][first : first + size]

    def batch(self, step: int) -> dict[str, Tensor]:
        """`tokens` (B, L) int64 of this rank."""
        starts = self.chosen(step)[:, None] * self.context_length
        found = self.tokens[starts + np.arange(self.context_length + 1)]
        return {"tokens": torch.from_numpy(found.astype(np.int64)).to(self.share.device)}
