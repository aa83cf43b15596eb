"""What both of unCLIP's priors read first: a caption as a frozen CLIP encodes it.

A row of token features, of as many tokens as the batch's longest caption has, and after them the
text embedding. Causal attention lets nothing of it depend on what follows, so its keys and values
are computed once for a whole generation. Where a caption is dropped, for classifier-free guidance,
nobody sees its tokens and a learned vector stands in for its embedding.

Shapes: B batch, T tokens, C width of a token's feature, E width of the embedding, D width of a
prior, S keys.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.masks import padding
from models.layers.positions import Positions1D


class Text(NamedTuple):
    """A batch of captions; embeddings have norm sqrt(E)."""

    features_BTC: Tensor
    real_BT: Tensor  # bool: false at padding, which is on the right
    embedding_BE: Tensor

    @classmethod
    def of(cls, batch: dict[str, Tensor]) -> Text:
        """The keys `text_features`, `text_real` and `text_embedding` of a batch."""
        return cls(batch["text_features"], batch["text_real"], batch["text_embedding"])

    def repeat(self, times: int) -> Text:
        """Each caption so many times, the copies side by side."""
        return Text(*(part.repeat_interleave(times, dim=0) for part in self))

    def twice(self) -> tuple[Text, Tensor]:
        """The captions, then again, and a mask (2 B,) that keeps only the first copies."""
        count = len(self.embedding_BE)
        kept = torch.arange(2 * count, device=self.embedding_BE.device) < count
        return Text(*(torch.cat([part, part]) for part in self)), kept


class TextPrefix(nn.Module):
    """Captions to tokens (B, T + 1, D), and which of them may be seen (B, T + 1).

    `most` is the greatest number of tokens; longer captions are cut.
    """

    def __init__(self, features: int, embedding: int, most: int, width: int) -> None:
        super().__init__()
        self.most = most
        self.features = nn.Linear(features, width)
        self.embedding = nn.Linear(embedding, width)
        self.no_embedding_D = nn.Parameter(0.02 * torch.randn(width))
        self.positions = Positions1D(most + 1, width, 0.01)

    def forward(self, text: Text, kept_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The tokens; captions that are not `kept_B` (bool) are dropped."""
        dtype = self.features.weight.dtype
        real_BT = text.real_BT[:, : self.most].bool()
        whole_BD = self.embedding(text.embedding_BE.to(dtype))
        if kept_B is not None:
            real_BT = real_BT & kept_B[:, None]
            whole_BD = torch.where(kept_B[:, None], whole_BD, self.no_embedding_D)
        x_BTD = self.positions(self.features(text.features_BTC[:, : self.most].to(dtype)))
        whole_B1D = self.positions(whole_BD[:, None], first=self.most)
        return torch.cat([x_BTD, whole_B1D], dim=1), F.pad(real_BT, (0, 1), value=True)


def seen(real_BS: Tensor, more: int = 0) -> Tensor | None:
    """The mask of `real_BS` and `more` keys after it for causal attention among all of them; None
    where nothing is hidden.

    Hidden tokens see themselves, lest their softmax be of nothing.
    """
    if bool(real_BS.all()):
        return None
    real_BS = F.pad(real_BS, (0, more), value=True)
    return padding(real_BS) | torch.eye(real_BS.shape[1], dtype=torch.bool, device=real_BS.device)
