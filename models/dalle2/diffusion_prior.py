"""unCLIP's diffusion prior (Ramesh et al. 2022, arXiv 2204.06125, section 2.2): a caption to a CLIP
image embedding.

A causal transformer reads the caption's tokens, the text embedding, the time, the noisy image
embedding, and a query whose output is the clean image embedding; the loss is that answer's mean
square error. Two embeddings are drawn and the one with the higher dot product with the text's is
kept. Table 3's sampler takes 64 steps with Analytic-DPM's variance, which needs `measure` once
after training; without it the variance is DDPM's smaller one.

Since attention is causal and the caption comes first, its 78 tokens are run once and each step
runs only the three others against their cached keys: the same numbers, and 4.8 times as fast for
captions of 32 tokens (`DIFFUSION_PRIOR_SMALL`, 64 steps, one core).

Embeddings have norm sqrt(E), the scale of the noise. The captions' features are a frozen CLIP's, as
in Karlo, the public reproduction, whose prior (diffusers' `PriorTransformer`) has the same layers.
Table 3 prints 1 billion parameters; `DIFFUSION_PRIOR_1B` has 1,225,927,680.

Shapes: B batch, T tokens of the caption, E width of embeddings, D width, S keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.dalle2.diffusion import Denoise, Diffusion, DiffusionConfig
from models.dalle2.sampling import Sampler, normal, sample, strided
from models.dalle2.text_prefix import Text, TextPrefix, seen
from models.layers.block import BlockConfig, Transformer
from models.layers.cache import Cache
from models.layers.masks import padding
from models.layers.positions import Positions1D
from models.layers.time import TimeEmbedding


@dataclass(frozen=True)
class DiffusionPriorConfig:
    """Size and process; the default is unCLIP's."""

    embedding: int = 1024  # width of CLIP's embeddings
    text_width: int = 1024  # of CLIP's token features
    text_length: int = 256  # most tokens of a caption
    width: int = 2048  # of a token
    depth: int = 24  # blocks
    heads: int = 32  # attention heads; they divide the width
    drop_text: float = 0.1  # share of the examples that are trained without their caption
    candidates: int = 2  # embeddings drawn for a caption, of which the best is kept
    diffusion: DiffusionConfig = field(
        default_factory=lambda: DiffusionConfig(predicts="clean", variance="analytic", limit=None)
    )
    sampler: Sampler = field(default_factory=lambda: Sampler(steps=(64,), guidance=4.0))


DIFFUSION_PRIOR_1B = DiffusionPriorConfig()
DIFFUSION_PRIOR_SMALL = DiffusionPriorConfig(
    embedding=256,
    text_width=192,
    text_length=32,
    width=256,
    depth=6,
    heads=4,
    sampler=Sampler(steps=(64,), guidance=1.0),
)


class DiffusionPrior(nn.Module):
    """Captions to image embeddings (B, E) of norm sqrt(E)."""

    noise_power_T: Tensor

    def __init__(self, config: DiffusionPriorConfig) -> None:
        super().__init__()
        self.config = config
        self.diffusion = Diffusion(config.diffusion)
        width = config.width
        self.prefix = TextPrefix(config.text_width, config.embedding, config.text_length, width)
        self.time = TimeEmbedding(width, width)
        self.noisy = nn.Linear(config.embedding, width)
        self.query_D = nn.Parameter(0.02 * torch.randn(width))
        self.positions = Positions1D(3, width, 0.01)
        self.transformer = Transformer(BlockConfig(width, config.heads), config.depth)
        self.norm_after = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.embedding)
        self.register_buffer("noise_power_T", torch.ones(config.diffusion.steps))

    def _last(self, noisy_BE: Tensor, t_B: Tensor) -> Tensor:
        """The three tokens after the caption, (B, 3, D)."""
        noisy_BD = self.noisy(noisy_BE.to(self.noisy.weight.dtype))
        query_BD = self.query_D.expand_as(noisy_BD)
        last_B3D: Tensor = self.positions(torch.stack([self.time(t_B), noisy_BD, query_BD], dim=1))
        return last_B3D

    def answer(
        self, noisy_BE: Tensor, t_B: Tensor, text: Text, kept_B: Tensor | None = None
    ) -> Tensor:
        """The clean embedding (B, E) by the whole sequence at once, as in training."""
        prefix_BSD, real_BS = self.prefix(text, kept_B)
        x_BSD = torch.cat([prefix_BSD, self._last(noisy_BE, t_B)], dim=1)
        x_BSD = self.transformer(x_BSD, mask=seen(real_BS, 3), causal=True)
        clean_BE: Tensor = self.out(self.norm_after(x_BSD[:, -1]))
        return clean_BE

    def denoiser(self, text: Text, guidance: float = 1.0) -> Denoise:
        """The same with the captions run once; guidance other than 1 runs them dropped, too."""
        kept_B = None
        if guidance != 1.0:
            text, kept_B = text.twice()
        prefix_BSD, real_BS = self.prefix(text, kept_B)
        begun = Cache.empty(self.config.depth)
        self.transformer(prefix_BSD, mask=seen(real_BS), causal=True, cache=begun)
        hidden = not bool(real_BS.all())
        mask = padding(F.pad(real_BS, (0, 3), value=True)) if hidden else None

        def denoise(noisy_BE: Tensor, t_B: Tensor) -> Tensor:
            if kept_B is not None:
                noisy_BE, t_B = torch.cat([noisy_BE] * 2), torch.cat([t_B] * 2)
            last_B3D = self._last(noisy_BE, t_B)
            x_B3D = self.transformer(last_B3D, mask=mask, causal=True, cache=begun.fork())
            clean_BE: Tensor = self.out(self.norm_after(x_B3D[:, -1])).float()
            if kept_B is None:
                return clean_BE
            with_BE, without_BE = clean_BE.chunk(2)
            return without_BE + guidance * (with_BE - without_BE)

        return denoise

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and figures to log, of a batch with `image_embedding` (B, E) of norm sqrt(E) and
        the keys of `Text`.
        """
        clean_BE, text = batch["image_embedding"], Text.of(batch)
        kept_B = torch.rand(len(clean_BE), device=clean_BE.device) >= self.config.drop_text

        def denoise(noisy_BE: Tensor, t_B: Tensor) -> Tensor:
            return self.answer(noisy_BE, t_B, text, kept_B)

        return self.diffusion.losses(denoise, clean_BE)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> None:
        """The mean square of the predicted noise at each step of the sampler, over a batch as for
        `losses`: what the analytic variance is made of.
        """
        clean_BE, text = batch["image_embedding"], Text.of(batch)
        denoise = self.denoiser(text)
        for t in strided(self.config.diffusion.steps, self.config.sampler.steps):
            t_B = torch.full((len(clean_BE),), t, device=clean_BE.device)
            noisy_BE = self.diffusion.noised(clean_BE, torch.randn_like(clean_BE), t_B)
            read = self.diffusion.read(denoise(noisy_BE, t_B), noisy_BE, t_B)
            self.noise_power_T[t] = read.noise_BX.square().mean()

    @torch.no_grad()
    def sample(
        self,
        text: Text,
        *,
        sampler: Sampler | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Embeddings (B, E) of norm sqrt(E): of each caption's candidates the one nearest to it."""
        sampler, count = sampler or self.config.sampler, self.config.candidates
        many = text.repeat(count)
        start_BE = normal(many.embedding_BE, generator)
        drawn_BE = sample(
            self.diffusion,
            self.denoiser(many, sampler.guidance),
            start_BE,
            sampler,
            generator,
            self.noise_power_T,
        )
        drawn_BNE = math.sqrt(self.config.embedding) * F.normalize(drawn_BE, dim=1)
        drawn_BNE = drawn_BNE.view(-1, count, self.config.embedding)
        return nearest(drawn_BNE, text.embedding_BE)


def nearest(candidates_BNE: Tensor, wanted_BE: Tensor) -> Tensor:
    """Of N candidates the one with the highest dot product, (B, E)."""
    dot_BN = torch.einsum("bne,be->bn", candidates_BNE, wanted_BE.to(candidates_BNE))
    return candidates_BNE[torch.arange(len(dot_BN), device=dot_BN.device), dot_BN.argmax(dim=1)]
