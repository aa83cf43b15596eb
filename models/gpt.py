"""GPT-2 and GPT-3 (Radford et al. 2019; Brown et al. 2020, arXiv 2005.14165): a causal decoder.

Token vectors and learned positions go through pre-LN blocks with the tanh form of GELU, and the
transposed token table gives the logits. GPT-3 differs in size and in its attention: dense and
locally banded layers in turn (`models.layers.sparse`). Two changes of the config give Baevski and
Auli's WikiText-103 model (arXiv 1809.10853; published test perplexity 18.7): adaptive input and
softmax, and sinusoidal positions. With `activation="relu"` it is also the layout of OPT.

A frozen GPT can be the language model of a larger system. `embed` gives token vectors, among which
vectors of an image may stand; `run` takes any vectors; `enter`, `transformer.blocks` and `leave`
are its three parts, for a system that puts layers of its own between the blocks.

Initial weights as OpenAI's: N(0, 0.02^2), positions N(0, 0.01^2), projections into the residual
stream divided by sqrt(2 depth). Parameters: GPT-2 124,439,808, 354,823,168, 774,030,080 and
1,557,611,200; GPT-3 from 125,226,240 to 174,604,259,328; WikiText-103's 246,933,504. The table of
the GPT-3 paper prints 24 heads of 128 for the 1.3B model, which would make it 1.5B: it has 16 here.

Shapes: B batch, L tokens, S tokens with the cached ones, N tokens in a row, V ids, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import generation
from models.generation import GenerationConfig
from models.layers import masks
from models.layers.adaptive import AdaptiveConfig, AdaptiveInput, AdaptiveSoftmax
from models.layers.block import Activation, BlockConfig, Transformer, draw_linear
from models.layers.cache import Cache
from models.layers.positions import Positions1D
from models.layers.sparse import SparseConfig, sparse_attention


@dataclass(frozen=True)
class GPTConfig:
    """Size of the network. The named ones below are those of the papers."""

    vocab_size: int = 50257  # ids
    context_length: int = 1024  # most tokens of a sequence
    width: int = 768  # of a token
    depth: int = 12  # blocks
    heads: int = 12  # attention heads
    head_width: int | None = None  # of a head; width / heads if None
    hidden: int | None = None  # width of the MLP; 4 times the width if None
    activation: Activation = "gelu_tanh"  # of the MLP
    positions: Literal["learned", "sinusoidal"] = "learned"  # added to the token vectors
    scale_embedding: bool = False  # token vectors are multiplied by sqrt(width)
    final_norm: bool = True  # LayerNorm after the last block
    epsilon: float = 1e-5  # of the norms
    dropout: float = 0.0  # of the embedded tokens and of what each part adds, in training
    attention_dropout: float = 0.0  # of the attention weights, in training
    hidden_dropout: float = 0.0  # inside the MLP, in training
    sparse: SparseConfig | None = None  # which pairs of tokens are compared; None: all
    adaptive: AdaptiveConfig | None = None  # vocabulary in bands; None: one table


GPT2 = GPTConfig()
GPT2_MEDIUM = replace(GPT2, width=1024, depth=24, heads=16)
GPT2_LARGE = replace(GPT2, width=1280, depth=36, heads=20)
GPT2_XL = replace(GPT2, width=1600, depth=48, heads=25)
GPT3_125M = replace(GPT2, context_length=2048, sparse=SparseConfig("banded"))
GPT3_350M = replace(GPT3_125M, width=1024, depth=24, heads=16)
GPT3_760M = replace(GPT3_125M, width=1536, depth=24, heads=16)
GPT3_1_3B = replace(GPT3_125M, width=2048, depth=24, heads=16)
GPT3_2_7B = replace(GPT3_125M, width=2560, depth=32, heads=32)
GPT3_6_7B = replace(GPT3_125M, width=4096, depth=32, heads=32)
GPT3_13B = replace(GPT3_125M, width=5140, depth=40, heads=40, head_width=128)
GPT3_175B = replace(GPT3_125M, width=12288, depth=96, heads=96)
WIKITEXT_103 = GPTConfig(
    vocab_size=267744,
    context_length=3072,
    width=1024,
    depth=16,
    heads=8,
    activation="relu",
    positions="sinusoidal",
    scale_embedding=True,
    final_norm=False,
    dropout=0.3,
    attention_dropout=0.1,
    hidden_dropout=0.1,
    adaptive=AdaptiveConfig((20000, 60000), dropout=0.2),
)
GPT_SMALL = GPTConfig(vocab_size=4096, context_length=128, width=192, depth=4, heads=3)


def sinusoids(place: Tensor, width: int) -> Tensor:
    """Sines, then cosines, (..., D) float32, of places (...) int64, as fairseq has them: the first
    place is number 2, and the lowest of the D/2 frequencies is exactly 1/10,000.
    """
    half = width // 2
    power = torch.arange(half, dtype=torch.float32, device=place.device) / max(1, half - 1)
    angle = (place + 2).float()[..., None] * torch.exp(-math.log(10_000) * power)
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width % 2))


class GPT(nn.Module):
    """Logits of the next token after every token."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding: nn.Module
        if config.adaptive is None:
            self.embedding = nn.Embedding(config.vocab_size, width)
            nn.init.normal_(self.embedding.weight, std=0.02)
        else:
            self.embedding = AdaptiveInput(config.vocab_size, width, config.adaptive)
            self.softmax = AdaptiveSoftmax(config.vocab_size, width, config.adaptive)
        learned = config.positions == "learned"
        self.positions = Positions1D(config.context_length, width, 0.01) if learned else None
        block = BlockConfig(
            width,
            config.heads,
            config.hidden,
            activation=config.activation,
            epsilon=config.epsilon,
            head_width=config.head_width,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            hidden_dropout=config.hidden_dropout,
        )
        attention = None if config.sparse is None else sparse_attention(config.sparse, block)
        self.transformer = Transformer(block, config.depth, attention)
        draw_linear(self.transformer, lambda _: 0.02, 0.02 * (2 * config.depth) ** -0.5)
        norm = nn.LayerNorm(width, eps=config.epsilon) if config.final_norm else nn.Identity()
        self.norm_after = norm

    def new_cache(self) -> Cache:
        """For the keys and values of tokens that have run."""
        return Cache.empty(self.config.depth)

    def embed(self, tokens_BL: Tensor) -> Tensor:
        """Vectors (B, L, D) of token ids (B, L) int64, without positions."""
        x_BLD: Tensor = self.embedding(tokens_BL)
        return x_BLD * self.config.width**0.5 if self.config.scale_embedding else x_BLD

    def enter(
        self, x_BLD: Tensor, valid_BL: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Vectors with positions added, (B, L, D), and the mask (B, 1, 1, S) that every block takes
        beside `causal=True`; None where there is no padding.

        A row's places count its real tokens. Raises ValueError for more than `context_length` of
        them.
        """
        batch, length, _ = x_BLD.shape
        before = 0 if cache is None else cache.length
        real_BS = valid_BL if cache is None else cache.admit(valid_BL, batch, length)
        if real_BS is None:
            last = before + length
            place = torch.arange(before, last, device=x_BLD.device)
        else:
            count_BS = real_BS.long().cumsum(dim=1)
            last = int(count_BS.max())
            place = (count_BS - 1).clamp(min=0)[:, before:]
        if last > self.config.context_length:
            raise ValueError(f"{last} tokens exceed context_length={self.config.context_length}")
        if self.positions is None:
            added = sinusoids(place, self.config.width).to(x_BLD.dtype)
        else:
            added = F.embedding(place, self.positions.table_LD)
        x_BLD = F.dropout(x_BLD + added, self.config.dropout, self.training)
        return x_BLD, None if real_BS is None else masks.padding(real_BS)

    def leave(self, x_BLD: Tensor) -> Tensor:
        """What the last block gives, (B, L, D), through the final norm."""
        out_BLD: Tensor = self.norm_after(x_BLD)
        return out_BLD

    def run(
        self, x_BLD: Tensor, valid_BL: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Hidden vectors (B, L, D) of vectors in the place of tokens, such as `embed`'s.

        Args:
            valid_BL: true at real tokens, false at padding on either side; None: all are real.
            cache: of the tokens before, whose number each of these adds to.
        """
        x_BLD, mask = self.enter(x_BLD, valid_BL, cache)
        return self.leave(self.transformer(x_BLD, mask=mask, causal=True, cache=cache))

    def score(self, hidden_BLD: Tensor) -> Tensor:
        """Logits (..., V) of hidden vectors (..., D); of an adaptive softmax, log-probabilities."""
        if isinstance(self.embedding, AdaptiveInput):
            flat = self.softmax.log_prob(hidden_BLD.flatten(0, -2), self.embedding)
            return flat.view(*hidden_BLD.shape[:-1], -1)
        assert isinstance(self.embedding, nn.Embedding)
        return F.linear(hidden_BLD, self.embedding.weight)

    def nll(self, hidden_ND: Tensor, ids_N: Tensor) -> Tensor:
        """-log p (N,) float32 of the ids that follow hidden vectors (N, D)."""
        if isinstance(self.embedding, AdaptiveInput):
            return self.softmax.nll(hidden_ND, ids_N, self.embedding)
        return F.cross_entropy(self.score(hidden_ND).float(), ids_N, reduction="none")

    def logits(
        self, tokens_BL: Tensor, valid_BL: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Logits (B, L, V) of what follows each token; arguments as in `run`."""
        return self.score(self.run(self.embed(tokens_BL), valid_BL, cache))

    def advance(self, tokens_BL: Tensor, cache: Cache, valid_BL: Tensor | None = None) -> Tensor:
        """Logits (B, V) of what follows the last of `tokens_BL`, for `models.generation`."""
        return self.score(self.run(self.embed(tokens_BL), valid_BL, cache)[:, -1])

    def generate(
        self,
        prompt_BL: Tensor,
        *,
        end: int,
        config: GenerationConfig,
        valid_BL: Tensor | None = None,
        cache: Cache | None = None,
        keys: Sequence[str] | None = None,
    ) -> list[list[int]]:
        """New ids of each row, without the prompt and the end, as `models.generation.generate`.

        Args:
            prompt_BL: ids (B, L) int64; prompts of unequal length are padded on the left.
            valid_BL: true at the prompt's real ids.
            cache: what stands before the prompt, such as an image's vectors that went through
                `run`.
        """
        cache = self.new_cache() if cache is None else cache
        before = cache.length

        def step(tokens_BL: Tensor, cache: Cache) -> Tensor:
            first = cache.length == before
            return self.advance(tokens_BL, cache, valid_BL if first else None)

        return generation.generate(step, prompt_BL, cache, end=end, config=config, keys=keys)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, the mean -log p of each token after the first, and the same in bits.

        `batch` has `tokens` (B, L) int64 and, where some are padding, `valid` (B, L): only real
        tokens after real ones count.
        """
        tokens_BL, valid_BL = batch["tokens"], batch.get("valid")
        before = None if valid_BL is None else valid_BL[:, :-1].bool()
        hidden_BLD = self.run(self.embed(tokens_BL[:, :-1]), before)
        hidden_ND, ids_N = hidden_BLD.flatten(0, 1), tokens_BL[:, 1:].flatten()
        if valid_BL is not None:
            counted_N = (valid_BL[:, 1:].bool() & valid_BL[:, :-1].bool()).flatten()
            hidden_ND, ids_N = hidden_ND[counted_N], ids_N[counted_N]
        loss = self.nll(hidden_ND, ids_N).sum() / max(1, len(ids_N))
        return {"loss": loss, "bits": loss.detach() / math.log(2)}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """After each step: nothing to hold in bounds."""
