"""DALL-E 2, or unCLIP (Ramesh et al. 2022, arXiv 2204.06125): a caption to an image through CLIP.

A frozen CLIP reads the caption; a prior draws an image embedding for it, by diffusion or code by
code; a decoder draws a small image for the embedding and the caption; upsamplers make it large.
The parts share no weight, so their losses are added and each trains as if alone. `trained` names
those that do: all others are frozen, as CLIP always is.

An image is a pair: its embedding, and the noise that DDIM turns into it under that embedding. So
images can be varied (new noise on the way back), blended (both halves by spherical interpolation)
and edited by text (the embedding turned towards the difference of two captions).

The paper's CLIP is a ViT-H/16 at 256 pixels (width 1,280, 32 blocks) with a text tower of width
1,024 and 24 blocks; the length of its captions is not printed, table 3's 256 is taken. With the
diffusion prior `DALLE_2` has 6.8 billion parameters, 1.0 billion of them CLIP's. `DALLE_2_SMALL`
stands on `CLIP_SMALL` and makes 64 x 64 images on two CPU cores.

The moving average of weights with which the paper samples is the loop's (`TrainConfig.average`).
Left out: its training data.

Shapes: B batch, C channels, H height, W width, L tokens of a caption, T of them up to the longest
caption's end, E width of the embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.clip import CLIP, CLIP_SMALL, CLIPConfig, TextConfig, trim
from models.dalle2.autoregressive_prior import ARPrior, ARPriorConfig
from models.dalle2.diffusion_prior import (
    DIFFUSION_PRIOR_SMALL,
    DiffusionPrior,
    DiffusionPriorConfig,
)
from models.dalle2.pixel_decoder import DECODER_SMALL, Decoder, DecoderConfig
from models.dalle2.text_prefix import Text
from models.dalle2.upsampler import (
    UPSAMPLER_300M,
    UPSAMPLER_700M,
    UPSAMPLER_SMALL,
    Upsampler,
    UpsamplerConfig,
)
from models.pixels import DEVIATION, MEAN
from models.training.objectives import gather_rows
from models.vision.vit import ViTConfig

Part = Literal["prior", "decoder", "upsamplers"]
FITTED = 20_000
"""Pairs that the codes of an autoregressive prior are fitted to, at most."""
CLIP_H_16 = CLIPConfig(
    ViTConfig((256, 256), 16, width=1280, depth=32, heads=16, norm_before=True, patch_bias=False),
    TextConfig(context_length=256, width=1024, depth=24, heads=16),
    embedding=1024,
)


@dataclass(frozen=True)
class DALLE2Config:
    """The parts; the default is the paper's, with the diffusion prior."""

    clip: CLIPConfig = CLIP_H_16  # frozen
    prior: ARPriorConfig | DiffusionPriorConfig = field(default_factory=DiffusionPriorConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)  # to a small image
    upsamplers: tuple[UpsamplerConfig, ...] = (UPSAMPLER_700M, UPSAMPLER_300M)  # in order
    trained: tuple[Part, ...] = ("prior", "decoder", "upsamplers")  # the others are frozen


DALLE_2 = DALLE2Config()
DALLE_2_SMALL = DALLE2Config(CLIP_SMALL, DIFFUSION_PRIOR_SMALL, DECODER_SMALL, (UPSAMPLER_SMALL,))


def signed(pixels_BCHW: Tensor) -> Tensor:
    """Images in [-1, 1] of pixels with CLIP's normalisation."""
    mean = torch.tensor(MEAN, device=pixels_BCHW.device).view(3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=pixels_BCHW.device).view(3, 1, 1)
    return 2 * (pixels_BCHW.float() * deviation + mean) - 1


def to_bytes(images_BCHW: Tensor) -> Tensor:
    """uint8 RGB of images in [-1, 1]; what `models.pixels.normalise` takes."""
    return ((images_BCHW.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def on_sphere(x_BE: Tensor) -> Tensor:
    """`x_BE`, float32, with norm sqrt(E): entries of a scale near 1."""
    return math.sqrt(x_BE.shape[1]) * F.normalize(x_BE.float(), dim=1)


def slerp(a_BX: Tensor, b_BX: Tensor, share: float) -> Tensor:
    """Along the great circle from `a_BX` (share 0) to `b_BX` (share 1), each row on its own."""
    a_BN, b_BN = a_BX.flatten(1), b_BX.flatten(1)
    cosine_B1 = F.cosine_similarity(a_BN, b_BN, dim=1).clamp(-1, 1)[:, None]
    angle_B1 = cosine_B1.acos().clamp(min=1e-4)  # where there is no angle, a straight line
    a_share_B1 = ((1 - share) * angle_B1).sin() / angle_B1.sin()
    b_share_B1 = (share * angle_B1).sin() / angle_B1.sin()
    return (a_share_B1 * a_BN + b_share_B1 * b_BN).view_as(a_BX)


class DALLE2(nn.Module):
    """Captions (B, L) to images; each part is an attribute and can be used by itself."""

    def __init__(self, config: DALLE2Config) -> None:
        super().__init__()
        self.config = config
        for part in (config.prior, config.decoder):
            if part.embedding != config.clip.embedding:
                raise ValueError(
                    f"{type(part).__name__}.embedding={part.embedding}, CLIP's is"
                    f" {config.clip.embedding}"
                )
        if config.prior.text_width != config.clip.text.width:
            raise ValueError(
                f"prior.text_width={config.prior.text_width}, CLIP's is {config.clip.text.width}"
            )
        self.clip = CLIP(config.clip)
        self.prior: ARPrior | DiffusionPrior
        if isinstance(config.prior, ARPriorConfig):
            self.prior = ARPrior(config.prior)
        else:
            self.prior = DiffusionPrior(config.prior)
        self.decoder = Decoder(config.decoder)
        self.upsamplers = nn.ModuleList(Upsampler(each) for each in config.upsamplers)
        for frozen in self._frozen():
            frozen.requires_grad_(False)
        self.train()

    def _frozen(self) -> list[nn.Module]:
        parts = {"prior": self.prior, "decoder": self.decoder, "upsamplers": self.upsamplers}
        unknown = sorted(set(self.config.trained) - set(parts))
        if unknown:
            raise ValueError(f"trained={unknown} must be among {sorted(parts)}")
        untrained = [part for name, part in parts.items() if name not in self.config.trained]
        return [self.clip, *untrained]

    def train(self, mode: bool = True) -> DALLE2:
        """Training mode for what is trained; what is frozen stays in evaluation mode."""
        super().train(mode)
        for frozen in self._frozen():
            frozen.eval()
        return self

    @torch.no_grad()
    def encode_text(self, tokens_BL: Tensor) -> Text:
        """What the frozen CLIP makes of captions: features of each token, and the embedding."""
        tower = self.clip.text_tower
        tokens_BT, end_B = trim(tokens_BL, tower.config.end_of_text)
        x_BTC = tower.positions(tower.embedding(tokens_BT))
        x_BTC = tower.norm_after(tower.transformer(x_BTC, causal=True))
        rows_B = torch.arange(len(x_BTC), device=x_BTC.device)
        embedding_BE = self.clip.text_projection(x_BTC[rows_B, end_B])
        place_T = torch.arange(x_BTC.shape[1], device=x_BTC.device)
        return Text(x_BTC, place_T <= end_B[:, None], on_sphere(embedding_BE))

    @torch.no_grad()
    def encode_image(self, pixels_BCHW: Tensor) -> Tensor:
        """The frozen CLIP's embeddings (B, E), of norm sqrt(E), of normalised pixels (B, 3, H, W)
        of any size.
        """
        size = self.config.clip.vision.image_size
        if tuple(pixels_BCHW.shape[2:]) != tuple(size):
            pixels_BCHW = F.interpolate(pixels_BCHW, size, mode="bicubic", antialias=True)
        return on_sphere(self.clip.encode_image(pixels_BCHW))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, the sum over the trained parts, and each part's figures, of a batch with
        `pixels` (B, 3, H, W), normalised and as large as the last upsampler's, and `tokens` (B, L).
        """
        given = self.embedded(batch)
        images_BCHW = signed(batch["pixels"])
        losses: dict[str, dict[str, Tensor]] = {}
        if "prior" in self.config.trained:
            losses["prior"] = self.prior.losses(given)
        height, width = self.config.decoder.image_size
        if "decoder" in self.config.trained:
            small_BCHW = F.adaptive_avg_pool2d(images_BCHW, (height, width))
            losses["decoder"] = self.decoder.losses({**given, "images": small_BCHW})
        for place, upsampler in enumerate(self.upsamplers):
            assert isinstance(upsampler, Upsampler)
            height, width = height * upsampler.config.factor, width * upsampler.config.factor
            if "upsamplers" in self.config.trained:
                large_BCHW = F.adaptive_avg_pool2d(images_BCHW, (height, width))
                losses[f"upsampler_{place}"] = upsampler.losses({"images": large_BCHW})
        figures = {
            f"{name}_{key}": value.detach()
            for name, part in losses.items()
            for key, value in part.items()
        }
        return {"loss": torch.stack([part["loss"] for part in losses.values()]).sum(), **figures}

    def embedded(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch of the prior and the decoder: `tokens`, and what the frozen CLIP makes of
        `pixels` and `tokens`.
        """
        text = self.encode_text(batch["tokens"])
        return {
            "tokens": batch["tokens"],
            "image_embedding": self.encode_image(batch["pixels"]),
            "text_features": text.features_BTC,
            "text_real": text.real_BT,
            "text_embedding": text.embedding_BE,
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""

    @torch.no_grad()
    def prepare(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """Before the first step: fits the codes of an autoregressive prior that trains to the
        pairs of `batches`, `FITTED` of them at most. Every rank must bring the same sizes.

        Raises ValueError for fewer pairs than codes.
        """
        if "prior" not in self.config.trained or not isinstance(self.prior, ARPrior):
            return
        images, texts, count = [], [], 0
        for batch in batches:
            given = self.embedded(batch)
            images.append(gather_rows(given["image_embedding"]))
            texts.append(gather_rows(given["text_embedding"]))
            count += len(images[-1])
            if count >= FITTED:
                break
        self.prior.codes.fit(torch.cat(images)[:FITTED], torch.cat(texts)[:FITTED])

    @torch.no_grad()
    def conclude(self, batch: dict[str, Tensor]) -> None:
        """After the last step: measures on a batch what the analytic variance of a diffusion prior
        that trained is made of.
        """
        if "prior" in self.config.trained and isinstance(self.prior, DiffusionPrior):
            self.eval()
            self.prior.measure(self.embedded(batch))

    @torch.no_grad()
    def generate(self, tokens_BL: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, 3, H, W), uint8 RGB, of captions (B, L) that each hold an end of text."""
        embedding_BE = self.prior.sample(self.encode_text(tokens_BL), generator=generator)
        small_BCHW = self.decoder.sample(embedding_BE, tokens_BL, generator=generator)
        return self.enlarged(small_BCHW, generator)

    @torch.no_grad()
    def enlarged(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The decoder's images after all upsamplers, uint8 RGB."""
        for upsampler in self.upsamplers:
            assert isinstance(upsampler, Upsampler)
            images_BCHW = upsampler.sample(images_BCHW, generator=generator)
        return to_bytes(images_BCHW)

    @torch.no_grad()
    def halves(self, pixels_BCHW: Tensor, passes: int = 1) -> tuple[Tensor, Tensor]:
        """The two halves of images: embeddings (B, E) and the decoder's noise (B, 3, h, w)."""
        embedding_BE = self.encode_image(pixels_BCHW)
        small = F.adaptive_avg_pool2d(signed(pixels_BCHW), self.config.decoder.image_size)
        return embedding_BE, self.decoder.invert(small, embedding_BE, passes=passes)

    @torch.no_grad()
    def joined(
        self,
        embedding_BE: Tensor,
        noise_BCHW: Tensor,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The images of two halves, uint8 RGB; eta above 0 draws what the embedding leaves open."""
        sampler = replace(self.config.decoder.sampler, method="ddim", eta=eta, guidance=1.0)
        small_BCHW = self.decoder.sample(
            embedding_BE, start_BCHW=noise_BCHW, sampler=sampler, generator=generator
        )
        return self.enlarged(small_BCHW, generator)

    def variations(
        self, pixels_BCHW: Tensor, eta: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Other images (B, 3, H, W), uint8 RGB, with the embeddings of these; more apart with
        eta.
        """
        return self.joined(*self.halves(pixels_BCHW), eta=eta, generator=generator)

    def blended(self, a_BCHW: Tensor, b_BCHW: Tensor, share: float) -> Tensor:
        """Images (B, 3, H, W), uint8 RGB, on the way from `a_BCHW` (0) to `b_BCHW` (1)."""
        (a_BE, a_noise), (b_BE, b_noise) = self.halves(a_BCHW), self.halves(b_BCHW)
        return self.joined(slerp(a_BE, b_BE, share), slerp(a_noise, b_noise, share))

    def edited(
        self, pixels_BCHW: Tensor, tokens_BL: Tensor, before_BL: Tensor, share: float = 0.3
    ) -> Tensor:
        """Images (B, 3, H, W), uint8 RGB, turned from what the captions `before_BL` say to what
        `tokens_BL` say; the paper's shares are 0.25 to 0.5.
        """
        embedding_BE, noise_BCHW = self.halves(pixels_BCHW)
        after_BE = self.encode_text(tokens_BL).embedding_BE
        way_BE = on_sphere(after_BE - self.encode_text(before_BL).embedding_BE)
        return self.joined(slerp(embedding_BE, way_BE, share), noise_BCHW)
