"""GLIDE's text encoder (Nichol et al. 2021, arXiv 2112.10741), trained together with a U-Net.

Every place of the context is used: where a caption has ended stands a learned padding vector of
that place, and tokens look both ways, so no mask is needed anywhere after. A caption that is
dropped, for classifier-free guidance, is padding throughout. The last place's feature stands for
the caption as a whole, as in GLIDE's code.

Shapes: B batch, L tokens given, T places of the context, X width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.clip import trim
from models.layers.block import BlockConfig, Transformer
from models.layers.positions import Positions1D


@dataclass(frozen=True)
class CaptionConfig:
    """Size of the encoder; the default is unCLIP's (table 3)."""

    context_length: int = 256  # places; longer captions are cut
    vocab_size: int = 49408  # ids; the last one is the end of a text, as in CLIP's
    width: int = 2048  # of a token
    depth: int = 24  # blocks
    heads: int = 32  # attention heads; they divide the width


class CaptionEncoder(nn.Module):
    """Token ids (B, L) to features (B, T, X)."""

    def __init__(self, config: CaptionConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = Positions1D(config.context_length, config.width, 0.01)
        self.padding_TX = nn.Parameter(0.01 * torch.randn(config.context_length, config.width))
        self.transformer = Transformer(BlockConfig(config.width, config.heads), config.depth)
        self.norm_after = nn.LayerNorm(config.width)

    def forward(self, tokens_BL: Tensor, kept_B: Tensor | None = None) -> Tensor:
        """Features of captions that each hold an end of text; those not `kept_B` (bool) are
        dropped.
        """
        places = self.config.context_length
        tokens_BL, end_B = trim(tokens_BL, self.config.vocab_size - 1)
        tokens_BT = F.pad(tokens_BL[:, :places], (0, max(0, places - tokens_BL.shape[1])))
        real_BT = torch.arange(places, device=end_B.device) <= end_B[:, None]
        if kept_B is not None:
            real_BT = real_BT & kept_B[:, None]
        x_BTX = self.positions(self.embedding(tokens_BT))
        x_BTX = torch.where(real_BT[:, :, None], x_BTX, self.padding_TX)
        out_BTX: Tensor = self.norm_after(self.transformer(x_BTX))
        return out_BTX

    def empty(self, count: int) -> Tensor:
        """Features (count, T, X) of captions that are dropped; one pass for all of them."""
        out_1TX: Tensor = self.norm_after(self.transformer(self.padding_TX[None]))
        return out_1TX.expand(count, -1, -1)
