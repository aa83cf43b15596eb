"""unCLIP's upsamplers (Ramesh et al. 2022, arXiv 2204.06125, section 2.1): 64 pixels to 256, and
256 to 1024, each a diffusion model that sees the small image beside the noisy large one.

Neither knows the caption or the embedding, and neither has attention: their U-Nets are convolutions
only, so they are trained on crops of a quarter of the side and run on whole images, and any shape
whose sides the levels divide will do. In training the small image is spoilt first
(`models.dalle2.degradation`). Sampling is DDIM in 27 and 15 steps.

Table 3 prints 700 and 300 million parameters; `UPSAMPLER_700M` has 729,702,083 and `UPSAMPLER_300M`
282,059,139.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.dalle2.degradation import blurred, degraded
from models.dalle2.diffusion import Diffusion, DiffusionConfig
from models.dalle2.sampling import Sampler, normal, sample
from models.dalle2.unet import UNet, UNetConfig


@dataclass(frozen=True)
class UpsamplerConfig:
    """The network, the process and how it is trained."""

    factor: int = 4  # of both sides
    crop: float = 0.25  # side of a training crop as a share of the image's
    damage: Literal["none", "blur", "mixed"] = "blur"  # of the small image, in training
    unet: UNetConfig = field(default_factory=lambda: UNetConfig(320, attention=()))
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    sampler: Sampler = field(default_factory=lambda: Sampler("ddim", (10, 10, 3, 2, 2)))


UPSAMPLER_700M = UpsamplerConfig()
UPSAMPLER_300M = UpsamplerConfig(
    damage="mixed",
    unet=UNetConfig(192, 2, (1, 1, 2, 2, 4, 4), attention=(), dropout=0.0),
    diffusion=DiffusionConfig(schedule="linear"),
    sampler=Sampler("ddim", (15,)),
)
UPSAMPLER_SMALL = UpsamplerConfig(
    factor=2,
    crop=0.5,
    unet=UNetConfig(32, 1, (1, 2), attention=(), groups=8, dropout=0.0),
    sampler=Sampler("ddim", (15,)),
)


def crop(x_BCHW: Tensor, size: tuple[int, int], top_B: Tensor, left_B: Tensor) -> Tensor:
    """From each image the piece of `size` whose upper left pixel is given."""
    rows_BH = top_B[:, None] + torch.arange(size[0], device=top_B.device)
    columns_BW = left_B[:, None] + torch.arange(size[1], device=left_B.device)
    tall = x_BCHW.gather(2, rows_BH[:, None, :, None].expand(-1, 3, -1, x_BCHW.shape[3]))
    return tall.gather(3, columns_BW[:, None, None, :].expand(-1, 3, size[0], -1))


class Upsampler(nn.Module):
    """Images (B, 3, H, W) to (B, 3, factor H, factor W), both in [-1, 1]."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        if config.unet.attention:
            raise ValueError(f"attention={config.unet.attention} must be () in an upsampler")
        if config.diffusion.variance == "learned":
            raise ValueError("an upsampler is sampled by DDIM and learns no variance")
        self.diffusion = Diffusion(config.diffusion)
        self.unet = UNet(replace(config.unet, in_channels=6, out_channels=3))

    def shrink(self, images_BCHW: Tensor) -> Tensor:
        """The small image of each large one, by averaging."""
        return F.avg_pool2d(images_BCHW, self.config.factor)

    def answer(self, noisy_BCHW: Tensor, t_B: Tensor, small_BCHW: Tensor) -> Tensor:
        """The network's answer at step t, beside the small image made large bilinearly."""
        wide_BCHW = F.interpolate(
            small_BCHW.float(), noisy_BCHW.shape[2:], mode="bilinear", align_corners=False
        )
        out_BCHW: Tensor = self.unet(torch.cat([noisy_BCHW, wide_BCHW], dim=1), t_B)
        return out_BCHW

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and figures to log, on a random crop of each of `images` (B, 3, H, W) in
        [-1, 1].

        Raises ValueError where the factor and the levels do not divide the crop.
        """
        images_BCHW, config = batch["images"], self.config
        large_BCHW = self.crops(images_BCHW)
        small_BCHW = self.shrink(large_BCHW)
        if config.damage == "blur":
            small_BCHW = blurred(small_BCHW)
        elif config.damage == "mixed":
            small_BCHW = degraded(small_BCHW)

        def denoise(noisy_BCHW: Tensor, t_B: Tensor) -> Tensor:
            return self.answer(noisy_BCHW, t_B, small_BCHW)

        return self.diffusion.losses(denoise, large_BCHW)

    def crops(self, images_BCHW: Tensor) -> Tensor:
        """A random piece of each image, `crop` of its sides, by torch's global generator."""
        sides = tuple(images_BCHW.shape[2:])
        size = (round(sides[0] * self.config.crop), round(sides[1] * self.config.crop))
        least = math.lcm(self.config.factor, 2 ** (len(self.config.unet.multipliers) - 1))
        if size[0] % least or size[1] % least:
            raise ValueError(f"crops of {size}, of images of {sides}, must be multiples of {least}")
        device, count = images_BCHW.device, (len(images_BCHW),)
        top_B = torch.randint(sides[0] - size[0] + 1, count, device=device)
        left_B = torch.randint(sides[1] - size[1] + 1, count, device=device)
        return crop(images_BCHW, size, top_B, left_B)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""

    @torch.no_grad()
    def sample(
        self,
        small_BCHW: Tensor,
        *,
        sampler: Sampler | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The large images (B, 3, factor H, factor W) of small ones."""
        B, C, H, W = small_BCHW.shape
        blank = small_BCHW.new_empty(B, C, H * self.config.factor, W * self.config.factor)

        def denoise(noisy_BCHW: Tensor, t_B: Tensor) -> Tensor:
            return self.answer(noisy_BCHW, t_B, small_BCHW)

        start_BCHW = normal(blank, generator)
        return sample(
            self.diffusion, denoise, start_BCHW, sampler or self.config.sampler, generator
        )
