"""Vocabularies of hundreds of thousands of words: adaptive input (Baevski & Auli 2019, arXiv
1809.10853) and adaptive softmax (Grave et al. 2017, arXiv 1609.04309).

Ids fall in frequency, and `cutoffs` cut them into bands. A frequent word has a vector of the full
width D, a word of the next band one of D / 4, then D / 16, each band with a projection to D. At the
output the head scores the first band's words and one entry for each rarer band; the probability of
a rare word is that of its band times its own inside it. So a loss costs the head for every token
and a band's words only for the tokens that are in it: with WikiText-103's 267,744 words in bands of
20,000, 40,000 and 207,744 there is no matrix of tokens x 267,744. `log_prob` makes that matrix, for
generation and for reference.

Tied, the softmax has no rows of its own and reads those of an `AdaptiveInput` that is handed to
every call, and its projections too where these are tied; its parameters are then the band entries
of the head alone. A tied head takes the hidden vector as it is: the projection that the first
band's input passes through has no counterpart, as in fairseq's code.

Shapes: B batch, L tokens, N tokens in a row, V ids, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class AdaptiveConfig:
    """How the ids are cut into bands, and what input and output share."""

    cutoffs: tuple[int, ...]  # ids at which a rarer band begins, ascending
    factor: int = 4  # by which the vectors of a band are narrower than those of the one before
    tie_weights: bool = True  # the softmax's rows are the input's vectors
    tie_projections: bool = True  # and its projections down are the input's projections up
    dropout: float = 0.0  # of what the softmax and its bands see, in training


def bands(vocab_size: int, width: int, config: AdaptiveConfig) -> list[tuple[int, int, int]]:
    """First id, end and width of the vectors of each band.

    Raises ValueError for cutoffs that do not ascend inside the vocabulary, or leave a band no
    width.
    """
    edges = (0, *config.cutoffs, vocab_size)
    if len(edges) < 3 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f"cutoffs={config.cutoffs} must ascend between 0 and {vocab_size}")
    widths = [width // config.factor**band for band in range(len(edges) - 1)]
    if not widths[-1]:
        raise ValueError(f"width={width} is too small for {len(widths)} bands")
    return list(zip(edges, edges[1:], widths, strict=False))


def _rows(ids_N: Tensor, first: int, end: int, vocab_size: int) -> Tensor:
    """Which tokens are in a band; ids outside the vocabulary are in the outer bands, whose tables
    name them as wrong.
    """
    inside_N = torch.ones_like(ids_N, dtype=torch.bool)
    if first:
        inside_N &= ids_N >= first
    if end < vocab_size:
        inside_N &= ids_N < end
    return inside_N.nonzero()[:, 0]


class AdaptiveInput(nn.Module):
    """Token ids (...) int64 to vectors (..., D)."""

    def __init__(self, vocab_size: int, width: int, config: AdaptiveConfig) -> None:
        super().__init__()
        self.vocab_size, self.width = vocab_size, width
        self.bands = bands(vocab_size, width, config)
        self.tables = nn.ModuleList(nn.Embedding(end - a, size) for a, end, size in self.bands)
        self.projections = nn.ModuleList(
            nn.Linear(size, width, bias=False) for _, _, size in self.bands
        )
        for band, (_, _, size) in enumerate(self.bands):
            nn.init.normal_(self.table(band), std=size**-0.5)
            nn.init.xavier_uniform_(self.projection(band))

    def table(self, band: int) -> Tensor:
        """The vectors of a band's ids, a row an id."""
        return cast("nn.Embedding", self.tables[band]).weight

    def projection(self, band: int) -> Tensor:
        """A band's projection (D, width of the band)."""
        return cast("nn.Linear", self.projections[band]).weight

    def forward(self, ids: Tensor) -> Tensor:
        """Each band's vectors through its projection, put back in order."""
        ids_N = ids.flatten()
        places, vectors = [], []
        for (first, end, _), table, projection in zip(
            self.bands, self.tables, self.projections, strict=True
        ):
            places.append(_rows(ids_N, first, end, self.vocab_size))
            vectors.append(projection(table(ids_N[places[-1]] - first)))
        back_N = torch.cat(places).argsort()
        return torch.cat(vectors)[back_N].view(*ids.shape, self.width)


class AdaptiveSoftmax(nn.Module):
    """Log-probabilities of ids from hidden vectors (N, D).

    `tied` is the input that the weights or projections are shared with, handed to each call where
    the config says that they are: a state dict then holds them once.
    """

    def __init__(self, vocab_size: int, width: int, config: AdaptiveConfig) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.bands = bands(vocab_size, width, config)
        (_, head, _), *rare = self.bands
        if config.tie_weights:
            self.entries = nn.Linear(width, len(rare), bias=False)
        else:
            self.head = nn.Linear(width, head + len(rare), bias=False)
            self.rows = nn.ModuleList(nn.Linear(w, end - a, bias=False) for a, end, w in rare)
        if not config.tie_projections:
            self.down = nn.ModuleList(nn.Linear(width, w, bias=False) for _, _, w in rare)
        for parameter in self.parameters():
            nn.init.xavier_uniform_(parameter)

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training and self.config.dropout > 0)

    def _input(self, tied: AdaptiveInput | None) -> AdaptiveInput:
        if tied is None:
            raise ValueError("a tied adaptive softmax needs the input that it is tied to, got None")
        return tied

    def _head(self, x_ND: Tensor, tied: AdaptiveInput | None) -> Tensor:
        """Logits of the first band's ids, then of the rarer bands."""
        if self.config.tie_weights:
            words = F.linear(x_ND, self._input(tied).table(0))
            return torch.cat([words, self.entries(x_ND)], dim=1).float()
        logits: Tensor = self.head(x_ND).float()
        return logits

    def _band(self, band: int, x_ND: Tensor, tied: AdaptiveInput | None) -> Tensor:
        """Logits inside the rarer band of that number, from 1."""
        if self.config.tie_projections:
            x = x_ND @ self._input(tied).projection(band)
        else:
            x = self.down[band - 1](x_ND)
        if self.config.tie_weights:
            return F.linear(self._dropout(x), self._input(tied).table(band)).float()
        logits: Tensor = self.rows[band - 1](self._dropout(x)).float()
        return logits

    def nll(self, x_ND: Tensor, ids_N: Tensor, tied: AdaptiveInput | None = None) -> Tensor:
        """-log p (N,) float32 of `ids_N`, at the cost of their bands alone."""
        x_ND = self._dropout(x_ND)
        head = self.bands[0][1]
        entry_N = ids_N
        for band, (first, _, _) in enumerate(self.bands[1:]):
            entry_N = torch.where(ids_N >= first, head + band, entry_N)
        nll_N = F.cross_entropy(self._head(x_ND, tied), entry_N, reduction="none")
        for band, (first, end, _) in enumerate(self.bands[1:], 1):
            rows = _rows(ids_N, first, end, self.vocab_size)
            logits = self._band(band, x_ND[rows], tied)
            inside = F.cross_entropy(logits, ids_N[rows] - first, reduction="none")
            nll_N = nll_N.index_add(0, rows, inside)
        return nll_N

    def log_prob(self, x_ND: Tensor, tied: AdaptiveInput | None = None) -> Tensor:
        """log p (N, V) float32 of every id."""
        x_ND = self._dropout(x_ND)
        head = self.bands[0][1]
        head_logp = F.log_softmax(self._head(x_ND, tied), dim=1)
        parts = [head_logp[:, :head]]
        for band in range(1, len(self.bands)):
            inside = F.log_softmax(self._band(band, x_ND, tied), dim=1)
            parts.append(inside + head_logp[:, head + band - 1, None])
        return torch.cat(parts, dim=1)
