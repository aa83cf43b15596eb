"""The time of a diffusion process as a vector that a network can read.

The step's number goes through sines and cosines of wavelengths from 2 pi to 20,000 pi (Vaswani et
al. 2017, with the cosines first, as in DDPM's and GLIDE's code) and then through a small MLP.

Shapes: B batch, D width of the waves, E width of the embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def waves(t_B: Tensor, width: int) -> Tensor:
    """(B, D) float32: cosines, then sines, of `t_B` at D / 2 frequencies from 1 down to 1/10,000.

    Raises ValueError for an odd width.
    """
    if width % 2:
        raise ValueError(f"width={width} must be even for sines and cosines")
    half = width // 2
    power = torch.arange(half, dtype=torch.float32, device=t_B.device) / half
    angle_BX = t_B.float()[:, None] * torch.exp(-math.log(10_000) * power)
    return torch.cat([angle_BX.cos(), angle_BX.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Steps (B,) to vectors (B, E), in the dtype of its weights."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.up = nn.Linear(width, out)
        self.down = nn.Linear(out, out)

    def forward(self, t_B: Tensor) -> Tensor:
        """The embedding."""
        hidden_BE = self.up(waves(t_B, self.width).to(self.up.weight.dtype))
        out_BE: Tensor = self.down(F.silu(hidden_BE))
        return out_BE
