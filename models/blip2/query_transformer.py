"""The Q-Former of BLIP-2 (Li et al. 2023, arXiv 2301.12597, section 3.1): learned queries that ask
an image what a text would say of it.

(QFormer, with quadrangle attention, is another paper's: `models.vision.quadrangle`.)

BERT-base whose tokens are 32 learned queries, a text, or both. They share self-attention, so that
whoever may see whom decides what is learned; each side has a feed-forward layer of its own, and
queries, not the text, look at the image in every second layer. The three ways of the paper:

    contrast     queries see queries, text sees text                 `query`, then `read`
    matching     all see all                                         `pair`
    generation   queries see queries, text sees those and its past   `query`, then `write`

Queries never see the text save in `pair`, so `write` runs the text alone over the keys and values
that `query` left: what the masks in `models.layers.masks` say, without computing the queries again.
Keys and values of an image are projected once (`look`) for all passes.

Left out: the initialisation from BERT's weights; the query side starts as a copy of the text side,
as in the paper's code. Parameters: 186,307,387 with words, positions and the word head, at an image
width of 1408 (188M in the paper); 105,162,240 without the text side.

Shapes: B batch, Q queries, T tokens of text, L = Q + T, D width, S tokens of an image, C their
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.blip.med import look
from models.layers import masks
from models.layers.block import MLP, Block, BlockConfig, draw_linear, make_norm
from models.layers.cache import Cache, KeyValues
from models.layers.positions import Positions1D


@dataclass(frozen=True)
class QueryTransformerConfig:
    """BERT-base with queries, and the ids of the words that mark a text."""

    queries: int = 32  # learned queries
    width: int = 768  # of a token
    depth: int = 12  # blocks
    heads: int = 12  # attention heads; they divide the width
    hidden: int | None = None  # width of the MLP; 4 times the width if None
    cross_every: int = 2  # the first of so many blocks looks at the image
    text: bool = True  # there are words, their positions, and their own feed-forward layers
    vocab_size: int = 30523  # ids, those below included
    context_length: int = 512  # most tokens of a text
    dropout: float = 0.1  # of the embeddings and of what each part adds, in training
    attention_dropout: float = 0.1  # of the attention weights, in training
    epsilon: float = 1e-12  # of the norms
    end: int = 102  # last id of a text; BERT's [SEP]
    decode: int = 30522  # first id where a text is written; BLIP-2's [DEC]


class QueryBlock(Block):
    """A block in which queries, which come first, and text part ways after self-attention."""

    def __init__(self, config: BlockConfig, text: bool) -> None:
        super().__init__(config)
        if text:
            hidden = config.hidden or 4 * config.width
            self.text_mlp = MLP(config.width, hidden, config.activation)
            self.text_norm = make_norm(config.norm, config.width, config.epsilon)

    def forward(
        self,
        x_BLD: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        source_BSC: Tensor | None = None,
        source_mask: Tensor | None = None,
        caches: tuple[KeyValues, KeyValues] | None = None,
        queries: int = 0,
    ) -> Tensor:
        """The block on `queries` queries and the text after them; arguments as in `Block`."""
        own, crossed = caches or (None, None)
        attend = partial(self.attention, mask=mask, causal=causal, cache=own)
        x_BLD = self.add(x_BLD, self.norm_1, attend)
        parts = []
        if queries:
            x_BQD = self.look(x_BLD[:, :queries], source_BSC, source_mask, crossed)
            parts.append(self.add(x_BQD, self.norm_2, self.mlp))
        if x_BLD.shape[1] > queries:
            parts.append(self.add(x_BLD[:, queries:], self.text_norm, self.text_mlp))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class QueryTransformer(nn.Module):
    """Queries, texts and images in; states of queries (B, Q, D) or of texts (B, T, D) out."""

    def __init__(self, config: QueryTransformerConfig, source_width: int) -> None:
        super().__init__()
        self.config = config
        self.queries_QD = nn.Parameter(0.02 * torch.randn(config.queries, config.width))
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        if config.text:
            self.embedding = nn.Embedding(config.vocab_size, config.width)
            nn.init.normal_(self.embedding.weight, std=0.02)
            self.positions = Positions1D(config.context_length, config.width, 0.02)
        self.blocks = nn.ModuleList(
            QueryBlock(self._block(number, source_width), config.text)
            for number in range(config.depth)
        )
        draw_linear(self, lambda _: 0.02, 0.02)
        self.copy_text_side()

    def _block(self, number: int, source_width: int) -> BlockConfig:
        config = self.config
        return BlockConfig(
            config.width,
            config.heads,
            config.hidden,
            post_norm=True,
            epsilon=config.epsilon,
            source_width=source_width if number % config.cross_every == 0 else None,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )

    def copy_text_side(self) -> None:
        """The queries' feed-forward layers become the text's, as before training."""
        if not self.config.text:
            return
        for block in self.blocks:
            assert isinstance(block, QueryBlock)
            block.mlp.load_state_dict(block.text_mlp.state_dict())
            block.norm_2.load_state_dict(block.text_norm.state_dict())

    def look(self, source_BSC: Tensor) -> Cache:
        """Keys and values of the images in every block that looks, for any number of passes."""
        return look(self.blocks, source_BSC)

    def asked(self, rows: int) -> Tensor:
        """The queries as the first block takes them, (B, Q, D) for `rows` images."""
        x_QD = self.norm(self.queries_QD)
        return F.dropout(x_QD.expand(rows, -1, -1), self.config.dropout, self.training)

    def said(self, tokens_BT: Tensor, first: int = 0) -> Tensor:
        """Words as the first block takes them, (B, T, D); `first` stand before them in a cache."""
        x_BTD = self.norm(self.positions(self.embedding(tokens_BT), first))
        return F.dropout(x_BTD, self.config.dropout, self.training)

    def run(
        self,
        x_BLD: Tensor,
        queries: int,
        cache: Cache | None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """All blocks on `queries` queries and the text after them, (B, L, D)."""
        for number, block in enumerate(self.blocks):
            caches = None if cache is None else (cache.own[number], cache.cross[number])
            x_BLD = block(x_BLD, mask=mask, causal=causal, caches=caches, queries=queries)
        return x_BLD

    def query(self, cache: Cache) -> Tensor:
        """States of the queries (B, Q, D), which see each other and the images that `cache` holds;
        their keys and values stay in it, for `write`.
        """
        rows = cache.cross[0].k_BHSK
        assert rows is not None, "look() makes the cache"
        return self.run(self.asked(rows.shape[0]), self.config.queries, cache)

    def read(self, tokens_BT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """States of a text alone, (B, T, D); `valid_BT` is true at real tokens."""
        mask = None if valid_BT is None else masks.padding(valid_BT)
        return self.run(self.said(tokens_BT), 0, None, mask)

    def pair(self, cache: Cache, tokens_BT: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        """States of the queries (B, Q, D) where queries and text all see each other."""
        queries = self.config.queries
        x_BLD = torch.cat([self.asked(len(tokens_BT)), self.said(tokens_BT)], dim=1)
        mask = None if valid_BT is None else masks.padding(F.pad(valid_BT, (queries, 0), value=1))
        return self.run(x_BLD, queries, cache, mask)[:, :queries]

    def write(self, tokens_BT: Tensor, cache: Cache) -> Tensor:
        """States of a text's next tokens, (B, T, D), each of which sees the queries, the tokens in
        `cache` and those up to itself. Padding on the right needs no mask.
        """
        first = cache.length - self.config.queries
        assert first >= 0, "query() fills the cache"
        return self.run(self.said(tokens_BT, first), 0, cache, causal=True)
