"""The U-Net of guided diffusion (Dhariwal & Nichol 2021) as GLIDE and unCLIP use it.

Levels of residual blocks go down, each at half the resolution and with its own multiple of the base
channels, and up again, each block with the output of its counterpart beside its input. Every block
has the time's embedding in it, as gain and shift of its second norm. At the levels of given
resolutions each block is followed by attention, in which a pixel looks at all pixels and at the
tokens of a context (a caption, an image embedding) at once: one softmax over both. Resolution
changes inside a residual block, by averaging or repeating pixels, on both of its branches.

The layers that end a block begin at zero, so that a new network answers zero. In GLIDE's weights q,
k and v of one head lie together; here all q lie before all k.

Shapes: B batch, C channels, H height, W width, L tokens of the image (H W), S tokens of the
context, D width of attention, X width of the context, E width of the time's embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.attention import Attention
from models.layers.time import TimeEmbedding


@dataclass(frozen=True)
class UNetConfig:
    """Size of the network; the default is unCLIP's 64 x 64 decoder."""

    channels: int = 512  # base channels
    depth: int = 3  # residual blocks of a level on the way down; one more on the way up
    multipliers: tuple[int, ...] = (1, 2, 3, 4)  # a level each, of the base channels
    attention: tuple[int, ...] = (2, 4, 8)  # how much smaller the image is where there is attention
    head_channels: int = 64  # of an attention head
    context_width: int | None = None  # of the tokens that attention looks at too; None: it does not
    in_channels: int = 3  # of the input
    out_channels: int = 6  # of the output; twice the image's where the variance is learned
    groups: int = 32  # of the norms; they divide every level's channels
    dropout: float = 0.1  # inside the residual blocks, in training

    @property
    def time_width(self) -> int:
        """Width of the time's embedding."""
        return 4 * self.channels


Resize = Literal["up", "down"]


def resized(x_BCHW: Tensor, resize: Resize | None) -> Tensor:
    """Twice as large by repetition, half as large by averaging, or as it is."""
    if resize is None:
        return x_BCHW
    if resize == "up":
        return F.interpolate(x_BCHW, scale_factor=2, mode="nearest")
    return F.avg_pool2d(x_BCHW, 2)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """`layer` with weight and bias 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResBlock(nn.Module):
    """Two convolutions with the time between them, around a shortcut."""

    def __init__(
        self, config: UNetConfig, channels: int, out: int, resize: Resize | None = None
    ) -> None:
        super().__init__()
        self.resize, self.dropout = resize, config.dropout
        self.norm_1 = nn.GroupNorm(config.groups, channels)
        self.conv_1 = nn.Conv2d(channels, out, 3, padding=1)
        self.time = nn.Linear(config.time_width, 2 * out)
        self.norm_2 = nn.GroupNorm(config.groups, out)
        self.conv_2 = zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x_BCHW: Tensor, time_BE: Tensor) -> Tensor:
        """The block's answer, of its own channels and resolution."""
        h_BCHW = self.conv_1(resized(F.silu(self.norm_1(x_BCHW)), self.resize))
        gain_BC11, shift_BC11 = self.time(F.silu(time_BE))[:, :, None, None].chunk(2, dim=1)
        h_BCHW = F.silu(self.norm_2(h_BCHW) * (1 + gain_BC11) + shift_BC11)
        h_BCHW = self.conv_2(F.dropout(h_BCHW, self.dropout, self.training))
        out_BCHW: Tensor = self.shortcut(resized(x_BCHW, self.resize)) + h_BCHW
        return out_BCHW


class PixelAttention(Attention):
    """Self-attention whose keys and values a context's stand before: one softmax over both."""

    def __init__(self, channels: int, head_channels: int, context_width: int | None) -> None:
        super().__init__(channels, max(1, channels // head_channels))
        self.context = None if context_width is None else nn.Linear(context_width, 2 * channels)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def with_context(self, x_BLD: Tensor, context_BSX: Tensor | None) -> Tensor:
        """The answer of the image's tokens (B, L, D)."""
        q_BHLK, k_BHTK, v_BHTK = self.project(x_BLD)
        if self.context is not None and context_BSX is not None:
            k_BHSK, v_BHSK = self._heads(self.context(context_BSX), 2)
            k_BHTK, v_BHTK = torch.cat([k_BHSK, k_BHTK], 2), torch.cat([v_BHSK, v_BHTK], 2)
        return self.merge(self.mix(q_BHLK, k_BHTK, v_BHTK))


class Stage(nn.Module):
    """A residual block, attention after it or not, and after that a change of resolution or not."""

    def __init__(
        self,
        config: UNetConfig,
        channels: int,
        out: int,
        attention: bool = False,
        resize: Resize | None = None,
    ) -> None:
        super().__init__()
        self.block = ResBlock(config, channels, out)
        self.norm = nn.GroupNorm(config.groups, out) if attention else None
        self.attention = (
            PixelAttention(out, config.head_channels, config.context_width) if attention else None
        )
        self.resize = ResBlock(config, out, out, resize) if resize else None

    def forward(self, x_BCHW: Tensor, time_BE: Tensor, context_BSX: Tensor | None) -> Tensor:
        """All of it."""
        x_BCHW = self.block(x_BCHW, time_BE)
        if self.attention is not None and self.norm is not None:
            tokens_BLD = self.norm(x_BCHW).flatten(2).transpose(1, 2)
            seen_BLD = self.attention.with_context(tokens_BLD, context_BSX)
            x_BCHW = x_BCHW + seen_BLD.transpose(1, 2).reshape(x_BCHW.shape)
        if self.resize is not None:
            x_BCHW = self.resize(x_BCHW, time_BE)
        return x_BCHW


class UNet(nn.Module):
    """Noisy images (B, C, H, W) and their steps (B,) to an answer (B, out_channels, H, W)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * multiplier for multiplier in config.multipliers]
        if any(width % config.groups for width in widths):
            raise ValueError(f"groups={config.groups} must divide the levels' channels {widths}")
        if any(width % min(width, config.head_channels) for width in widths):
            raise ValueError(f"head_channels={config.head_channels} must divide {widths}")
        self.time = TimeEmbedding(config.channels, config.time_width)
        self.enter = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        kept = [widths[0]]
        self.down = nn.ModuleList(self._down(widths, kept))
        self.middle_1 = Stage(config, widths[-1], widths[-1], bool(config.attention))
        self.middle_2 = Stage(config, widths[-1], widths[-1])
        self.up = nn.ModuleList(self._up(widths, kept))
        self.norm = nn.GroupNorm(config.groups, widths[0])
        self.leave = zeroed(nn.Conv2d(widths[0], config.out_channels, 3, padding=1))

    def _down(self, widths: list[int], kept: list[int]) -> list[nn.Module]:
        """The stages down; the channels of what each leaves for the way up are added to `kept`."""
        stages: list[nn.Module] = []
        for level, width in enumerate(widths):
            for _ in range(self.config.depth):
                attention = 2**level in self.config.attention
                stages.append(Stage(self.config, kept[-1], width, attention))
                kept.append(width)
            if level + 1 < len(widths):
                stages.append(ResBlock(self.config, width, width, "down"))
                kept.append(width)
        return stages

    def _up(self, widths: list[int], kept: list[int]) -> list[nn.Module]:
        """The stages up, which use up `kept`."""
        stages: list[nn.Module] = []
        channels = widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            for place in range(self.config.depth + 1):
                attention = 2**level in self.config.attention
                resize: Resize | None = "up" if level and place == self.config.depth else None
                stages.append(Stage(self.config, channels + kept.pop(), width, attention, resize))
                channels = width
        return stages

    def forward(
        self,
        x_BCHW: Tensor,
        t_B: Tensor,
        added_BE: Tensor | None = None,
        context_BSX: Tensor | None = None,
    ) -> Tensor:
        """The answer, in the dtype of the weights.

        Args:
            added_BE: added to the time's embedding.
            context_BSX: tokens that attention looks at beside the image's.

        Raises ValueError for sides that the levels do not divide.
        """
        least = 2 ** (len(self.config.multipliers) - 1)
        if x_BCHW.shape[2] % least or x_BCHW.shape[3] % least:
            raise ValueError(f"sides {tuple(x_BCHW.shape[2:])} must be multiples of {least}")
        time_BE = self.time(t_B)
        if added_BE is not None:
            time_BE = time_BE + added_BE
        x_BCHW = self.enter(x_BCHW.to(self.enter.weight.dtype))
        kept = [x_BCHW]
        for stage in self.down:
            if isinstance(stage, Stage):
                x_BCHW = stage(x_BCHW, time_BE, context_BSX)
            else:
                x_BCHW = stage(x_BCHW, time_BE)
            kept.append(x_BCHW)
        x_BCHW = self.middle_1(x_BCHW, time_BE, context_BSX)
        x_BCHW = self.middle_2(x_BCHW, time_BE, context_BSX)
        for stage in self.up:
            x_BCHW = stage(torch.cat([x_BCHW, kept.pop()], dim=1), time_BE, context_BSX)
        out_BCHW: Tensor = self.leave(F.silu(self.norm(x_BCHW)))
        return out_BCHW
