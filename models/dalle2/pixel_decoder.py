"""unCLIP's decoder (Ramesh et al. 2022, arXiv 2204.06125, section 2.1): a CLIP image embedding, and
a caption if there is one, to a small image.

It is GLIDE's diffusion model with two ways in for the embedding: projected and added to the time's
embedding, and projected to four tokens that stand before the caption's in the context of every
attention. GLIDE's own caption path stays. In training the embedding is replaced by a learned one a
tenth of the time and the caption dropped half of the time, each for itself, so that one network is
conditional and unconditional: guidance takes the difference. The variance is learned.

Embeddings have norm sqrt(E), so that their entries, like pixels and noise, have a scale near 1.

Table 3 prints 3.5 billion parameters; `DECODER_3_5B` has 3,563,696,646: 2.24 billion in the U-Net,
1.31 in the caption's transformer.

Shapes: B batch, C channels, H height, W width, L tokens of a caption, E width of the embedding,
S tokens of the context, X their width, F width of the time's embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.dalle2.caption_encoder import CaptionConfig, CaptionEncoder
from models.dalle2.diffusion import Denoise, Diffusion, DiffusionConfig
from models.dalle2.sampling import Sampler, guide, invert, normal, sample
from models.dalle2.unet import UNet, UNetConfig


@dataclass(frozen=True)
class DecoderConfig:
    """The networks, the process and how conditions are dropped; the default is unCLIP's."""

    image_size: tuple[int, int] = (64, 64)  # height and width that are made, pixels
    embedding: int = 1024  # width of the image embedding
    tokens: int = 4  # that the image embedding becomes
    captions: CaptionConfig = field(default_factory=CaptionConfig)  # the caption's transformer
    unet: UNetConfig = field(default_factory=UNetConfig)  # its context is as wide as the captions
    diffusion: DiffusionConfig = field(default_factory=lambda: DiffusionConfig(variance="learned"))
    drop_embedding: float = 0.1  # share of the examples that are trained without the embedding
    drop_caption: float = 0.5  # share of the examples that are trained without the caption
    sampler: Sampler = field(default_factory=lambda: Sampler(steps=(250,), guidance=4.0))


DECODER_3_5B = DecoderConfig()
DECODER_SMALL = DecoderConfig(
    image_size=(32, 32),
    embedding=256,
    captions=CaptionConfig(context_length=32, vocab_size=8192, width=192, depth=2, heads=3),
    unet=UNetConfig(
        channels=32, depth=1, multipliers=(1, 2, 3), attention=(2, 4), head_channels=32, dropout=0.0
    ),
    sampler=Sampler("ddim", (50,), guidance=2.0),
)


class Condition(NamedTuple):
    """What the U-Net gets beside the noisy image."""

    added_BF: Tensor
    context_BSX: Tensor


class Decoder(nn.Module):
    """Embeddings (B, E) of norm sqrt(E) and captions to images (B, 3, H, W) in [-1, 1]."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.diffusion = Diffusion(config.diffusion)
        width, time_width = config.captions.width, config.unet.time_width
        self.captions = CaptionEncoder(config.captions)
        self.whole_caption = nn.Linear(width, time_width)
        self.added = nn.Linear(config.embedding, time_width)
        self.extra = nn.Linear(config.embedding, config.tokens * width)
        self.no_embedding_E = nn.Parameter(torch.randn(config.embedding))
        channels = 6 if config.diffusion.variance == "learned" else 3
        self.unet = UNet(replace(config.unet, context_width=width, out_channels=channels))

    def condition(
        self,
        embedding_BE: Tensor,
        tokens_BL: Tensor | None = None,
        with_embedding_B: Tensor | None = None,
        with_caption_B: Tensor | None = None,
    ) -> Condition:
        """The U-Net's conditions: of all captions dropped where there are no tokens, and of only
        those embeddings and captions that the masks (bool) keep.
        """
        dtype = self.added.weight.dtype
        embedding_BE = embedding_BE.to(dtype)
        if with_embedding_B is not None:
            kept_B1 = with_embedding_B[:, None]
            embedding_BE = torch.where(kept_B1, embedding_BE, self.no_embedding_E)
        if tokens_BL is None:
            captions_BTX = self.captions.empty(len(embedding_BE))
        else:
            captions_BTX = self.captions(tokens_BL, with_caption_B)
        added_BF = self.added(embedding_BE) + self.whole_caption(captions_BTX[:, -1])
        extra_BNX = self.extra(embedding_BE).unflatten(1, (self.config.tokens, -1))
        return Condition(added_BF, torch.cat([extra_BNX, captions_BTX], dim=1))

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoise:
        """The network under `condition`; with guidance other than 1, and without it, in one pass.

        The conditions are computed once and serve all steps.
        """
        if guidance == 1.0:
            return lambda noisy, t_B: self.unet(noisy, t_B, *condition)
        nothing_BE = self.no_embedding_E.expand(len(condition.added_BF), -1)
        pairs = zip(condition, self.condition(nothing_BE), strict=True)
        both = [torch.cat(pair) for pair in pairs]

        def denoise(noisy_BCHW: Tensor, t_B: Tensor) -> Tensor:
            out = self.unet(torch.cat([noisy_BCHW] * 2), torch.cat([t_B] * 2), *both)
            with_BCHW, without_BCHW = out.float().chunk(2)
            return guide(with_BCHW, without_BCHW, guidance, channels=3)

        return denoise

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and figures to log, of a batch with `images` (B, 3, H, W) in [-1, 1],
        `image_embedding` (B, E) of norm sqrt(E), and `tokens` (B, L).
        """
        embedding_BE = batch["image_embedding"]
        drawn_2B = torch.rand(2, len(embedding_BE), device=embedding_BE.device)
        condition = self.condition(
            embedding_BE,
            batch["tokens"],
            drawn_2B[0] >= self.config.drop_embedding,
            drawn_2B[1] >= self.config.drop_caption,
        )
        return self.diffusion.losses(self.denoiser(condition), batch["images"])

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""

    @torch.no_grad()
    def sample(
        self,
        embedding_BE: Tensor,
        tokens_BL: Tensor | None = None,
        *,
        start_BCHW: Tensor | None = None,
        sampler: Sampler | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1]; from new noise unless there is a `start_BCHW`."""
        sampler = sampler or self.config.sampler
        if start_BCHW is None:
            blank = embedding_BE.new_empty(len(embedding_BE), 3, *self.config.image_size)
            start_BCHW = normal(blank, generator)
        condition = self.condition(embedding_BE, tokens_BL)
        denoise = self.denoiser(condition, sampler.guidance)
        return sample(self.diffusion, denoise, start_BCHW, sampler, generator)

    @torch.no_grad()
    def invert(
        self,
        images_BCHW: Tensor,
        embedding_BE: Tensor,
        *,
        sampler: Sampler | None = None,
        passes: int = 1,
    ) -> Tensor:
        """The noise (B, 3, H, W) that DDIM turns back into the images under their embeddings."""
        denoise = self.denoiser(self.condition(embedding_BE))
        sampler = sampler or self.config.sampler
        return invert(self.diffusion, denoise, images_BCHW, sampler, passes)
