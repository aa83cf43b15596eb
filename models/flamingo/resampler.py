"""Flamingo's Perceiver resampler (Alayrac et al. 2022, arXiv 2204.14198, appendix A.1.1): an image
or a video of any number of features becomes a fixed number of vectors, 64 there.

Learned latents look at the features and at themselves, in one attention over both, six times. A
frame adds a learned vector for its time and nothing for its place; an image is a video of one
frame. Eight times are learned (8 frames at 1 a second); a longer video has its times interpolated
linearly between the first and the last, as the paper does with 30 frames at 3 a second.

What the paper leaves open is as in the open versions: norms on features and latents before each
attention, no biases in linear layers, a norm at the end. At the paper's size (6 layers, width 1536,
16 heads of 96) it has 170,038,272 parameters here and 194M in the paper, which does not say where
the rest is.

Shapes: M images or videos, F frames, N features of a frame, S = F N, R latents, C width, T learned
times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.layers import masks
from models.layers.block import MLP, Activation, BlockConfig, draw_linear, make_attention


@dataclass(frozen=True)
class ResamplerConfig:
    """Size of the resampler; its width is that of the vision encoder's features."""

    width: int = 1536  # of a feature and of a latent
    depth: int = 6  # layers
    heads: int = 16  # attention heads
    head_width: int | None = None  # of a head; width / heads if None
    hidden: int | None = None  # width of the MLP; 4 times the width if None
    activation: Activation = "squared_relu"  # of the MLP; gelu in open_flamingo, relu in IDEFICS
    latents: int = 64  # vectors of an image or a video
    times: int = 8  # learned times; 0: frames are not told apart
    epsilon: float = 1e-5  # of the norms


class ResamplerLayer(nn.Module):
    """Latents (M, R, C) after a look at the features (M, S, C) and at themselves."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        width, epsilon = config.width, config.epsilon
        self.norm_media = nn.LayerNorm(width, eps=epsilon)
        self.norm_1 = nn.LayerNorm(width, eps=epsilon)
        block = BlockConfig(width, config.heads, head_width=config.head_width, bias=False)
        self.attention = make_attention(block, width)
        self.norm_2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = MLP(width, config.hidden or 4 * width, config.activation, bias=False)

    def forward(self, x_MRC: Tensor, media_MSC: Tensor, mask: Tensor | None) -> Tensor:
        """`mask` broadcasts to (M, H, R, S + R)."""
        seen_MRC = self.norm_1(x_MRC)
        source = torch.cat([self.norm_media(media_MSC), seen_MRC], dim=1)
        x_MRC = x_MRC + self.attention(seen_MRC, source, mask=mask)
        out_MRC: Tensor = x_MRC + self.mlp(self.norm_2(x_MRC))
        return out_MRC


class Resampler(nn.Module):
    """Features (M, F, N, C) of images or videos to vectors (M, R, C)."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.latents_RC = nn.Parameter(torch.randn(config.latents, width))
        times = torch.randn(config.times, width) * width**-0.5
        self.times_TC = nn.Parameter(times) if config.times else None
        self.layers = nn.ModuleList(ResamplerLayer(config) for _ in range(config.depth))
        self.norm_after = nn.LayerNorm(width, eps=config.epsilon)
        into = (width * 2 * max(1, config.depth)) ** -0.5
        draw_linear(self.layers, lambda _: width**-0.5, into)

    def times(self, length: int, frames_M: Tensor) -> Tensor:
        """Vectors (M, F, C) of the times of `length` frames, of which `frames_M` are real."""
        assert self.times_TC is not None
        last = len(self.times_TC) - 1
        stretch_M = torch.where(frames_M > last + 1, last / (frames_M - 1).clamp(min=1), 1.0)
        frame_F = torch.arange(length, device=frames_M.device)
        place_MF = (frame_F * stretch_M[:, None]).clamp(max=last)
        low_MF = place_MF.long()
        share_MF1 = (place_MF - low_MF)[..., None].to(self.times_TC.dtype)
        high_MF = (low_MF + 1).clamp(max=last)
        return torch.lerp(self.times_TC[low_MF], self.times_TC[high_MF], share_MF1)

    def forward(self, media_MFNC: Tensor, frames_M: Tensor | None = None) -> Tensor:
        """`frames_M` says how many of the F frames are real, 1 at least, int64; None: all."""
        M, F, N, _ = media_MFNC.shape
        mask = None
        if frames_M is not None:
            real_MF = torch.arange(F, device=frames_M.device) < frames_M[:, None]
            real_MS = real_MF.repeat_interleave(N, dim=1)
            own_MR = real_MS.new_ones(M, self.config.latents)
            mask = masks.padding(torch.cat([real_MS, own_MR], dim=1))
        else:
            frames_M = torch.full((M,), F, device=media_MFNC.device)
        if self.times_TC is not None:
            media_MFNC = media_MFNC + self.times(F, frames_M)[:, :, None]
        media_MSC, x_MRC = media_MFNC.flatten(1, 2), self.latents_RC.expand(M, -1, -1)
        for layer in self.layers:
            x_MRC = layer(x_MRC, media_MSC, mask)
        out_MRC: Tensor = self.norm_after(x_MRC)
        return out_MRC
