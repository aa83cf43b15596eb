"""unCLIP's autoregressive prior (Ramesh et al. 2022, arXiv 2204.06125, section 2.2): a caption to a
CLIP image embedding, written as 319 codes by a causal transformer.

The sequence is the caption's tokens, the text embedding, the quantised dot product of the image
embedding with the text's, and the codes (see `models.dalle2.embedding_codes`). In sampling the dot
product is drawn from the upper half of its distribution, and guidance adds to the logits what the
caption makes of them; a tenth of the training is without captions for that.

Table 3's context of 384 is filled exactly: 318 codes go in (the last is only predicted), the dot
product and the text embedding are two more, and 64 places are left for the caption, whose further
tokens are cut. The paper's caption has its own transformer (24 blocks of width 2048, 1.2 billion
parameters by itself), and how its 256 tokens reach 384 places is not said; here a frozen CLIP's
features come in its place. Table 3 prints 1 billion parameters; `AR_PRIOR_1B` has 807,129,216.
One table of 1,024 code vectors serves all coordinates, positions tell them apart.

Shapes: B batch, T tokens of the caption, E width of embeddings, K codes, V buckets, D width,
S keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.dalle2.embedding_codes import EmbeddingCodes
from models.dalle2.text_prefix import Text, TextPrefix, seen
from models.layers.block import BlockConfig, Transformer
from models.layers.cache import Cache
from models.layers.masks import padding
from models.layers.positions import Positions1D


@dataclass(frozen=True)
class ARPriorConfig:
    """Size of the transformer and of the codes; the default is unCLIP's."""

    embedding: int = 1024  # width of CLIP's embeddings
    text_width: int = 1024  # of CLIP's token features
    text_length: int = 64  # most tokens of a caption
    codes: int = 319  # principal components kept
    buckets: int = 1024  # of a code
    dot_buckets: int = 1024  # of the dot product
    width: int = 1664  # of a token
    depth: int = 24  # blocks
    heads: int = 26  # attention heads; they divide the width
    drop_text: float = 0.1  # share of the examples that are trained without their caption
    guidance: float = 1.0  # of the logits, in sampling

    @property
    def context_length(self) -> int:
        """Places of the longest sequence that goes in."""
        return self.text_length + 2 + self.codes - 1


AR_PRIOR_1B = ARPriorConfig()
AR_PRIOR_SMALL = ARPriorConfig(
    embedding=256,
    text_width=192,
    text_length=32,
    codes=64,
    buckets=64,
    dot_buckets=32,
    width=256,
    depth=6,
    heads=4,
)


class ARPrior(nn.Module):
    """Captions to image embeddings (B, E) of norm sqrt(E)."""

    def __init__(self, config: ARPriorConfig) -> None:
        super().__init__()
        self.config = config
        self.codes = EmbeddingCodes(
            config.embedding, config.codes, config.buckets, config.dot_buckets
        )
        width = config.width
        self.prefix = TextPrefix(config.text_width, config.embedding, config.text_length, width)
        self.dot = nn.Embedding(config.dot_buckets, width)
        self.code = nn.Embedding(config.buckets, width)
        nn.init.normal_(self.dot.weight, std=0.02)
        nn.init.normal_(self.code.weight, std=0.02)
        self.positions = Positions1D(config.codes, width, 0.01)
        self.transformer = Transformer(BlockConfig(width, config.heads), config.depth)
        self.norm_after = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.buckets)

    def logits(
        self, codes_BK: Tensor, dot_B: Tensor, text: Text, kept_B: Tensor | None = None
    ) -> Tensor:
        """Of each code given those before it, (B, K, V): `codes_BK` all K of them, `dot_B` the
        dot product's code.
        """
        prefix_BSD, real_BS = self.prefix(text, kept_B)
        given_BKD = torch.cat([self.dot(dot_B)[:, None], self.code(codes_BK[:, :-1])], dim=1)
        x_BSD = torch.cat([prefix_BSD, self.positions(given_BKD)], dim=1)
        x_BSD = self.transformer(x_BSD, mask=seen(real_BS, self.config.codes), causal=True)
        logits_BKV: Tensor = self.out(self.norm_after(x_BSD[:, -self.config.codes :]))
        return logits_BKV

    def log_likelihood(self, codes_BK: Tensor, dot_B: Tensor, text: Text) -> Tensor:
        """Natural log (B,) of the probability of all codes under caption and dot product."""
        log_BKV = self.logits(codes_BK, dot_B, text).float().log_softmax(dim=-1)
        return log_BKV.gather(2, codes_BK[:, :, None]).sum(dim=(1, 2))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, nats a code, and figures to log, of a batch with `image_embedding` (B, E) of norm
        sqrt(E) and the keys of `Text`.
        """
        image_BE, text = batch["image_embedding"], Text.of(batch)
        codes_BK = self.codes.encode(image_BE)
        dot_B = self.codes.dot_code(image_BE, text.embedding_BE)
        kept_B = torch.rand(len(image_BE), device=image_BE.device) >= self.config.drop_text
        logits_BKV = self.logits(codes_BK, dot_B, text, kept_B).float()
        loss = F.cross_entropy(logits_BKV.flatten(0, 1), codes_BK.flatten())
        accuracy = (logits_BKV.argmax(dim=-1) == codes_BK).float().mean()
        return {"loss": loss, "accuracy": accuracy.detach()}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""

    @torch.no_grad()
    def write(
        self,
        text: Text,
        dot_B: Tensor,
        *,
        guidance: float = 1.0,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Codes (B, K) drawn one after another, each by one row of the transformer."""
        kept = None
        if guidance != 1.0:
            text, kept = text.twice()
            dot_B = torch.cat([dot_B, dot_B])
        prefix_BSD, real_BS = self.prefix(text, kept)
        cache = Cache.empty(self.config.depth)
        self.transformer(prefix_BSD, mask=seen(real_BS), causal=True, cache=cache)
        hidden = not bool(real_BS.all())
        given_BD, drawn = self.dot(dot_B), []
        for place in range(self.config.codes):
            real_BS = F.pad(real_BS, (0, 1), value=True)
            x_B1D = self.positions(given_BD[:, None], first=place)
            mask = padding(real_BS) if hidden else None
            x_B1D = self.transformer(x_B1D, mask=mask, causal=True, cache=cache)
            logits_BV = self.out(self.norm_after(x_B1D[:, 0])).float()
            if kept is not None:
                with_BV, without_BV = logits_BV.chunk(2)
                logits_BV = without_BV + guidance * (with_BV - without_BV)
            chances_BV = (logits_BV / temperature).softmax(dim=-1)
            code_B = torch.multinomial(chances_BV, 1, generator=generator)[:, 0]
            drawn.append(code_B)
            given_BD = self.code(code_B if kept is None else torch.cat([code_B, code_B]))
        return torch.stack(drawn, dim=1)

    @torch.no_grad()
    def sample(
        self,
        text: Text,
        *,
        guidance: float | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Embeddings (B, E) of norm sqrt(E), with a dot product from the upper half of its
        distribution.
        """
        buckets = self.config.dot_buckets
        device = text.embedding_BE.device
        dot_B = torch.randint(
            buckets // 2, buckets, (len(text.embedding_BE),), generator=generator, device=device
        )
        codes_BK = self.write(
            text,
            dot_B,
            guidance=self.config.guidance if guidance is None else guidance,
            temperature=temperature,
            generator=generator,
        )
        return math.sqrt(self.config.embedding) * F.normalize(self.codes.decode(codes_BK), dim=1)
