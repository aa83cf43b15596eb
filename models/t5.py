"""T5 (Raffel et al. 2020, arXiv 1910.10683): an encoder reads, a decoder writes.

The version is 1.1, which mT5 (Xue et al. 2021) and UL2 share: RMSNorm before each part, a gated
MLP, no bias in any linear layer, attention logits that are not scaled (the initial deviation of the
queries does that), and no position embeddings: a learned number for each bucket of distances is
added to the logits, one table a stack. Its output layer is its own; that of the first T5 is the
transposed embedding with logits scaled by 1/sqrt(D), and its MLP is plain with ReLU: `tied`,
`gated` and `activation` say which.

The encoder takes token ids or embeddings, so an image may stand before the text (PaLI, ScreenAI).
Parameters: mT5-base 582,401,280, mT5-large 1,229,581,312, T5 1.1 XL 2,849,757,184; of mT5-base,
66 % are the embeddings and the output layer of its 250,112 ids.

Shapes: B batch, S tokens of the encoder, T of the decoder, L either, D width, V ids, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.generation import GenerationConfig, generate
from models.layers import masks
from models.layers.block import Activation, BlockConfig, Transformer, make_norm
from models.layers.cache import Cache, SourceCache
from models.layers.distances import Distances

IGNORED = -100  # label of a place that is not predicted


@dataclass(frozen=True)
class T5Config:
    """Size of encoder and decoder, and what differs between T5's versions."""

    vocab_size: int = 32128  # ids, the padding up to a multiple of 128 included
    width: int = 512  # of a token
    depth: int = 8  # blocks of the encoder
    decoder_depth: int | None = None  # blocks of the decoder; as many as the encoder's if None
    heads: int = 6  # attention heads
    head_width: int = 64  # of a head
    hidden: int = 1024  # width of the MLP
    activation: Activation = "gelu_tanh"  # of the MLP; the first T5 has relu
    gated: bool = True  # the MLP; the first T5 has a plain one
    tied: bool = False  # the output layer is the embedding, as in the first T5
    buckets: int = 32  # of distances
    furthest: int = 128  # distance from which on all share a bucket
    epsilon: float = 1e-6  # of the norms
    dropout: float = 0.0  # in training: of embeddings, attention weights, parts of a block, output
    pad: int = 0  # id of padding; the decoder starts with it
    end: int = 1  # id that ends a text


MT5_SMALL = T5Config(vocab_size=250112)
MT5_BASE = replace(MT5_SMALL, width=768, depth=12, heads=12, hidden=2048)
MT5_LARGE = replace(MT5_SMALL, width=1024, depth=24, heads=16, hidden=2816)
T5_XL = T5Config(width=2048, depth=24, heads=32, hidden=5120)


def token_loss(logits_BTV: Tensor, labels_BT: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy of the labels that are not `IGNORED` (at least one), and the share that
    was the likeliest id.
    """
    flat, labels = logits_BTV.flatten(0, 1).float(), labels_BT.flatten()
    loss = F.cross_entropy(flat, labels, ignore_index=IGNORED)
    with torch.no_grad():
        real = labels != IGNORED
        accuracy = (flat.argmax(dim=-1) == labels)[real].float().mean()
    return {"loss": loss, "accuracy": accuracy}


class Stack(nn.Module):
    """Blocks, their table of distances, and the last norm: (B, L, D) to (B, L, D)."""

    def __init__(self, config: T5Config, block: BlockConfig, depth: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.transformer = Transformer(block, depth)
        self.distances = Distances(
            config.heads,
            config.buckets,
            config.furthest,
            both=not causal,
            deviation=config.width**-0.5,
        )
        self.norm_after = make_norm("rms", config.width, config.epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x_BLD: Tensor,
        valid_BL: Tensor | None = None,
        source_BSD: Tensor | None = None,
        source_valid_BS: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """All blocks on tokens that follow those in `cache`; no token sees padding."""
        length = x_BLD.shape[1]
        keys = length + (0 if cache is None else cache.length)
        mask = masks.combined(
            self.distances(length, keys),
            masks.causal(length, keys, x_BLD.device) if self.causal and length > 1 else None,
            None if valid_BL is None else masks.padding(valid_BL),
        )
        x_BLD = self.transformer(
            self.dropout(x_BLD),
            mask=mask,
            source_BSC=source_BSD,
            source_mask=None if source_valid_BS is None else masks.padding(source_valid_BS),
            cache=cache,
        )
        out_BLD: Tensor = self.dropout(self.norm_after(x_BLD))
        return out_BLD


class T5(nn.Module):
    """Encoder, decoder, the embedding they share, and the output layer."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        block = BlockConfig(
            config.width,
            config.heads,
            config.hidden,
            activation=config.activation,
            gated=config.gated,
            norm="rms",
            epsilon=config.epsilon,
            bias=False,
            head_width=config.head_width,
            scale=1.0,
            dropout=config.dropout,
            attention_dropout=config.dropout,
            hidden_dropout=config.dropout,
        )
        decoder_depth = config.depth if config.decoder_depth is None else config.decoder_depth
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.encoder = Stack(config, block, config.depth, causal=False)
        crossed = replace(block, source_width=config.width)
        self.decoder = Stack(config, crossed, decoder_depth, causal=True)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab_size, bias=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """T5's draw: embeddings N(0, 1), linear layers N(0, 1 / inputs), queries 1/sqrt(head
        width) of that, as the logits are not scaled.
        """
        nn.init.normal_(self.embedding.weight)
        inner = self.config.heads * self.config.head_width
        for name, layer in self.named_modules():
            if not isinstance(layer, nn.Linear):
                continue
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            if name.endswith((".qkv", ".q")):
                layer.weight[:inner] *= self.config.head_width**-0.5

    def encode(self, x: Tensor, valid_BS: Tensor | None = None) -> Tensor:
        """The encoder's output (B, S, D) for token ids (B, S) int64 or embeddings (B, S, D).

        `valid_BS` is true (or 1) at what is no padding, one place a row at least; None: everywhere.
        """
        x_BSD = x if x.is_floating_point() else self.embedding(x)
        out_BSD: Tensor = self.encoder(x_BSD, valid_BS)
        return out_BSD

    def decode(
        self,
        tokens_BT: Tensor,
        source_BSD: Tensor | None,
        valid_BS: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Logits (B, T, V) of what follows each of `tokens_BT`, which follow those in `cache`.

        `source_BSD` is the encoder's output; None where `cache` holds its keys and values.
        """
        x_BTD = self.decoder(self.embedding(tokens_BT), None, source_BSD, valid_BS, cache)
        return self.logits(x_BTD)

    def logits(self, x_BTD: Tensor) -> Tensor:
        """Logits (B, T, V) of the decoder's output."""
        if self.head is None:
            return F.linear(x_BTD * self.config.width**-0.5, self.embedding.weight)
        logits_BTV: Tensor = self.head(x_BTD)
        return logits_BTV

    def shifted(self, labels_BT: Tensor) -> Tensor:
        """What the decoder reads to predict `labels_BT`: the start, and all but the last label."""
        read_BT = F.pad(labels_BT[:, :-1], (1, 0), value=self.config.pad)
        return read_BT.masked_fill(read_BT == IGNORED, self.config.pad)

    def losses_of(
        self, source_BSD: Tensor, valid_BS: Tensor | None, labels_BT: Tensor
    ) -> dict[str, Tensor]:
        """`loss` and `accuracy` of `labels_BT` (B, T), given the encoder's output."""
        return token_loss(self.decode(self.shifted(labels_BT), source_BSD, valid_BS), labels_BT)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and `accuracy` of a batch with `tokens` (B, S), `labels` (B, T), their ends
        included, and maybe `valid` (B, S); labels of `IGNORED` are not predicted.
        """
        valid_BS = batch.get("valid")
        return self.losses_of(self.encode(batch["tokens"], valid_BS), valid_BS, batch["labels"])

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""

    def start(self, source_BSD: Tensor, valid_BS: Tensor | None = None) -> SourceCache:
        """A cache to `advance` from, given the encoder's output."""
        depth = len(self.decoder.transformer.blocks)
        empty = Cache.empty(depth)
        return SourceCache(
            own=empty.own, cross=empty.cross, source_BSC=source_BSD, valid_BS=valid_BS
        )

    def advance(self, tokens_BL: Tensor, cache: Cache) -> Tensor:
        """Logits (B, V) of what follows `tokens_BL`, which follow those in `cache`."""
        assert isinstance(cache, SourceCache), "start() makes the cache"
        logits_BTV = self.decode(tokens_BL, cache.source_BSC, cache.valid_BS, cache)
        cache.source_BSC = None  # its keys and values are in the cache now
        return logits_BTV[:, -1]

    def generate(
        self,
        x: Tensor,
        valid_BS: Tensor | None = None,
        config: GenerationConfig | None = None,
        keys: Sequence[str] | None = None,
    ) -> list[list[int]]:
        """New token ids of each row, given `x` and `valid_BS` as in `encode`."""
        with torch.inference_mode():
            cache = self.start(self.encode(x, valid_BS), valid_BS)
        start_B1 = torch.full((len(x), 1), self.config.pad, device=x.device)
        settings = config or GenerationConfig()
        return generate(
            self.advance, start_B1, cache, end=self.config.end, config=settings, keys=keys
        )
