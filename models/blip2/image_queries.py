"""What both stages of BLIP-2 share: a frozen image encoder and the queries that look at its tokens.

The encoder is always in evaluation mode. Wherever a method takes images it also takes what the
encoder made of them (`image_states`), which can be computed once and stored, and saves most of the
work of training: `states` in the place of `pixels` in a batch. The encoder's last norm is replaced
by `image_norm`, which is trained.

Shapes: B batch, C width and S count of image tokens, Q queries, D width of a query, P tokens of a
prompt.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from models.blip2.query_transformer import QueryTransformer, QueryTransformerConfig
from models.layers.cache import Cache
from models.vision.vit import ViT, ViTConfig

EVA_G_14 = ViTConfig(patch_size=14, width=1408, depth=39, heads=16, hidden=6144)


class ImageQueries(nn.Module):
    """What both stages share: the frozen encoder, its norm, and the queries."""

    def __init__(self, vision: ViTConfig, former: QueryTransformerConfig) -> None:
        super().__init__()
        self.image_tower = ViT(vision)
        self.image_tower.norm_after = nn.Identity()  # type: ignore[assignment]
        self.image_tower.requires_grad_(False).eval()
        self.image_norm = nn.LayerNorm(vision.width, eps=vision.epsilon)
        self.former = QueryTransformer(former, vision.width)

    def train(self, mode: bool = True) -> Self:
        """All but the image encoder."""
        super().train(mode)
        self.image_tower.eval()
        return self

    def image_states(self, images: Tensor) -> Tensor:
        """The frozen encoder's tokens (B, S, C) of pixels (B, 3, H, W), without a gradient; those
        tokens themselves pass through.
        """
        if images.ndim == 3:
            return images
        with torch.no_grad():
            return self.image_tower.sequence(images)

    def look(self, images: Tensor) -> Cache:
        """Keys and values of pixels, or of `image_states`, for every pass over them."""
        states_BSC = self.image_states(images)
        return self.former.look(self.image_norm(states_BSC.to(self.image_norm.weight.dtype)))

    def queries(self, images: Tensor) -> Tensor:
        """States of the queries (B, Q, D) that saw pixels, or `image_states`."""
        return self.former.query(self.look(images))

    def states_of(self, batch: dict[str, Tensor]) -> Tensor:
        """`image_states` of a batch that has them, as `states`, or has `pixels`."""
        return self.image_states(batch["states"] if "states" in batch else batch["pixels"])


def repeated(cache: Cache, begun: list[int], rows: int, each: int, device: torch.device) -> Tensor:
    """`begun` for `each` texts of every image, (B x each, P); the cache's rows likewise."""
    if each > 1:
        with torch.inference_mode():
            cache.select(torch.arange(rows, device=device).repeat_interleave(each))
    return torch.tensor([begun], device=device).expand(rows * each, -1)
