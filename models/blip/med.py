"""The text transformer of BLIP (Li et al. 2022, arXiv 2201.12086, section 3.1): a mixture of
encoder and decoder (MED).

BERT (post-norm, learned positions, a norm after the embeddings) in three functionalities. Without
an image it encodes a text. With an image, cross-attention after each self-attention lets every
token look at the image: read both ways that is an encoder of the pair, read causally a decoder of
captions. All weights are the same in the three, save self-attention and its norm, of which the
decoder has its own; the paper's ablation found that sharing these too is worse and sharing nothing
no better.

Keys and values of an image are projected once (`look`) and serve every text that looks at it, in a
loss as in generation: at ViT-B and 30 tokens these projections are half of a layer's work.

Texts are rows [start, ..., end, padding]; what follows the first end is padding, whatever its id.
The first token is replaced: `encode` begins what the encoder of pairs reads, `decode` what the
decoder reads.

Left out: BERT's token types and pooler (BLIP has neither).

Shapes: B batch, L tokens (T of them up to the longest text's end), D width, S tokens of an image,
C their width, V words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import masks
from models.layers.block import Block, BlockConfig, draw_linear, make_attention, make_norm
from models.layers.cache import Cache, KeyValues
from models.layers.packed import linear
from models.layers.positions import Positions1D
from models.training.matching import IGNORED

LENGTHS, LEAST_TOGETHER = 4, 32
"""How many lengths of texts a batch is told apart in, and how many texts each is worth it for."""


@dataclass(frozen=True)
class MEDConfig:
    """BERT-base with BLIP's two added words, and the ids of the words that mark a text."""

    vocab_size: int = 30524  # ids, those below included
    context_length: int = 512  # most tokens of a text, start and end included
    width: int = 768  # of a token
    depth: int = 12  # blocks
    heads: int = 12  # attention heads; they divide the width
    hidden: int | None = None  # width of the MLP; 4 times the width if None
    separate: bool = True  # the decoder has a self-attention of its own
    dropout: float = 0.1  # of the embeddings and of what each part adds, in training
    attention_dropout: float = 0.1  # of the attention weights, in training
    epsilon: float = 1e-12  # of the norms
    start: int = 101  # first id of a text as it comes; BERT's [CLS]
    end: int = 102  # last id of a text; BERT's [SEP]
    encode: int = 30523  # first id where the encoder of pairs reads; BLIP's [ENC]
    decode: int = 30522  # first id where the decoder reads; BLIP's [DEC]

    def block(self, source_width: int | None) -> BlockConfig:
        """Of each block, with cross-attention to a source of that width."""
        return BlockConfig(
            self.width,
            self.heads,
            self.hidden,
            post_norm=True,
            epsilon=self.epsilon,
            source_width=source_width,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
        )


def with_words(config: MEDConfig, vocab_size: int) -> MEDConfig:
    """`config` for texts of a `models.tokenizers.clip.Tokenizer` of `vocab_size` ids: its last two
    are start and end, and two more follow for `encode` and `decode`.
    """
    return replace(
        config,
        vocab_size=vocab_size + 2,
        start=vocab_size - 2,
        end=vocab_size - 1,
        encode=vocab_size,
        decode=vocab_size + 1,
    )


def until_end(tokens_BL: Tensor, end: int) -> Tensor:
    """(B, L) bool: true up to the first `end` behind the first token, everywhere without one."""
    ends_BL = (tokens_BL == end).int()
    ends_BL[:, :1] = 0
    return ends_BL.cumsum(dim=1) == ends_BL


def trim(tokens_BL: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """Cuts columns that are padding in every row: (tokens_BT, valid_BT as `until_end`). A compiled
    or exported graph has one shape for all texts, so there nothing is cut.
    """
    valid_BL = until_end(tokens_BL, end)
    if torch.compiler.is_compiling():
        return tokens_BL, valid_BL
    longest = int(valid_BL.sum(dim=1).max())
    return tokens_BL[:, :longest], valid_BL[:, :longest]


def in_lengths(
    run: Callable[[Tensor | None, Tensor], Tensor], tokens_BL: Tensor, end: int
) -> Tensor:
    """What `run` gives for each text, (B, ...), with texts of about one length run together, so
    that a short one is not as dear as the longest of the batch.

    Args:
        run: takes row numbers, None for all, and these rows of the tokens; gives a row for each.
    """
    if torch.compiler.is_compiling() or len(tokens_BL) < 2 * LEAST_TOGETHER:
        return run(None, tokens_BL)
    parts = min(LENGTHS, len(tokens_BL) // LEAST_TOGETHER)
    order_B = until_end(tokens_BL, end).sum(dim=1).argsort(stable=True)
    out_B = torch.cat([run(rows, tokens_BL[rows]) for rows in order_B.chunk(parts)])
    return out_B[order_B.argsort()]


def begin(tokens_BL: Tensor, first: int) -> Tensor:
    """The tokens with `first` in the place of each row's first."""
    return torch.cat([torch.full_like(tokens_BL[:, :1], first), tokens_BL[:, 1:]], dim=1)


def dictated(tokens_BL: Tensor, end: int, begun_BP: Tensor) -> tuple[Tensor, Tensor]:
    """What a decoder reads to write texts, and what it should say after each token of that.

    Returns tokens (B, P + T - 2): `begun_BP`, which takes the place of the texts' first, then the
    others but the last; and the T - 1 labels of the last T - 1 of these, IGNORED at padding.
    """
    tokens_BT, valid_BT = trim(tokens_BL, end)
    labels_BT = tokens_BT.masked_fill(~valid_BT, IGNORED)[:, 1:]
    return torch.cat([begun_BP, tokens_BT[:, 1:-1]], dim=1), labels_BT


class MEDBlock(Block):
    """A block whose causal self-attention may have weights of its own."""

    def __init__(self, config: BlockConfig, separate: bool) -> None:
        super().__init__(config)
        self.separate = separate
        if separate:
            self.decoder_norm = make_norm(config.norm, config.width, config.epsilon)
            self.decoder_attention = make_attention(config)

    def own(self, causal: bool) -> tuple[nn.Module, nn.Module]:
        """The decoder's where the pass is causal and it has its own."""
        if causal and self.separate:
            return self.decoder_norm, self.decoder_attention
        return super().own(causal)


class WordHead(nn.Module):
    """BERT's: a layer, a norm, and the scores of all words by the embedding's own vectors."""

    def __init__(self, width: int, vocab_size: int, epsilon: float) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        nn.init.normal_(self.layer.weight, std=0.02)
        nn.init.zeros_(self.layer.bias)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.bias_V = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x_BLD: Tensor, embedding_VD: Tensor) -> Tensor:
        """Logits (..., V) of what follows each token (..., D)."""
        x_BLD = self.norm(F.gelu(self.layer(x_BLD)))
        return linear(x_BLD, embedding_VD, self.bias_V)


class MED(nn.Module):
    """Token ids (B, L), and an image or none, to the tokens' states (B, L, D).

    Args:
        source_width: C; None for a text encoder without cross-attention.
    """

    def __init__(self, config: MEDConfig, source_width: int | None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.positions = Positions1D(config.context_length, config.width, 0.02)
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        block = config.block(source_width)
        self.blocks = nn.ModuleList(MEDBlock(block, config.separate) for _ in range(config.depth))
        nn.init.normal_(self.embedding.weight, std=0.02)
        draw_linear(self, lambda _: 0.02, 0.02)

    def look(self, source_BSC: Tensor) -> Cache:
        """Every block's keys and values of the images, for any number of passes."""
        return look(self.blocks, source_BSC)

    def forward(
        self,
        tokens_BL: Tensor,
        cache: Cache | None = None,
        *,
        valid_BS: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """States (B, L, D).

        Args:
            cache: the images, from `look`, and the tokens before, to which these are added.
            valid_BS: true at real tokens, those in the cache included; None: all are.
            causal: read as a decoder. Padding on the right then needs no `valid_BS`.
        """
        first = 0 if cache is None else cache.length
        x_BLD: Tensor = self.norm(self.positions(self.embedding(tokens_BL), first))
        x_BLD = F.dropout(x_BLD, self.config.dropout, self.training)
        mask = None if valid_BS is None else masks.padding(valid_BS)
        for number, block in enumerate(self.blocks):
            caches = None if cache is None else (cache.own[number], cache.cross[number])
            x_BLD = block(x_BLD, mask=mask, causal=causal, caches=caches)
        return x_BLD


def look(blocks: Iterable[nn.Module], source_BSC: Tensor) -> Cache:
    """A cache in which each block that has cross-attention holds the source's keys and values; laid
    out head by head where they serve generation, which reads them once a token.
    """
    own, cross = [], []
    for block in blocks:
        assert isinstance(block, Block)
        own.append(KeyValues())
        cross.append(KeyValues())
        if block.config.source_width is not None:
            k_BHSK, v_BHSK = block.cross.look(source_BSC)
            if not torch.is_grad_enabled():
                k_BHSK, v_BHSK = k_BHSK.contiguous(), v_BHSK.contiguous()
            cross[-1].append(k_BHSK, v_BHSK)
    return Cache(own, cross)
