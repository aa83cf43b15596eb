"""CLIP image embeddings as rows of small integers, so that a language model can write them (unCLIP,
Ramesh et al. 2022, arXiv 2204.06125, section 2.2).

A principal component analysis finds the axes along which embeddings of a corpus vary most; 319 of
CLIP's 1,024 keep all but 1 % of the variance there (its training with sharpness-aware minimisation
lowered the rank). Each coordinate, from the greatest variance to the least, falls into one of 1,024
buckets of equal width between the least and the greatest value seen, so decoding is off by half of
a bucket at most. Values outside go into the outermost bucket.

The dot product of an image embedding with its text's becomes a token too, by quantiles of the
corpus: each bucket has as many pairs, and the upper half of the buckets is the upper half of the
distribution.

Shapes: N embeddings, B batch, E their width, K coordinates kept, M buckets of the dot product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EmbeddingCodes(nn.Module):
    """Embeddings (B, E) to codes (B, K) int64 and back; before `fit`, the first K entries."""

    mean_E: Tensor
    axes_KE: Tensor
    low_K: Tensor
    high_K: Tensor
    dot_edges_M: Tensor  # M - 1 of them

    def __init__(self, embedding: int, kept: int, buckets: int, dot_buckets: int) -> None:
        super().__init__()
        if kept > embedding:
            raise ValueError(f"codes={kept} must be at most embedding={embedding}")
        self.buckets, self.dot_buckets = buckets, dot_buckets
        self.register_buffer("mean_E", torch.zeros(embedding))
        self.register_buffer("axes_KE", torch.eye(kept, embedding))
        self.register_buffer("low_K", -4 * torch.ones(kept))
        self.register_buffer("high_K", 4 * torch.ones(kept))
        self.register_buffer("dot_edges_M", torch.linspace(-1, 1, dot_buckets + 1)[1:-1])

    @torch.no_grad()
    def fit(self, image_NE: Tensor, text_NE: Tensor) -> float:
        """Takes the axes and the buckets of a corpus's pairs; returns the variance's share kept.

        An axis's sign makes its greatest entry positive. Raises ValueError for fewer embeddings
        than axes.
        """
        kept, count = len(self.axes_KE), len(image_NE)
        if count < kept:
            raise ValueError(f"{count} embeddings cannot give {kept} axes")
        x_NE = image_NE.double()
        mean_E = x_NE.mean(dim=0)
        variance_E, axes_EE = torch.linalg.eigh((x_NE - mean_E).T @ (x_NE - mean_E) / (count - 1))
        axes_KE = axes_EE.T.flip(0)[:kept]
        greatest_K1 = axes_KE.gather(1, axes_KE.abs().argmax(dim=1, keepdim=True))
        axes_KE = axes_KE * greatest_K1.sign()
        self.mean_E.copy_(mean_E)
        self.axes_KE.copy_(axes_KE)
        place_NK = self.coordinates(image_NE)
        self.low_K.copy_(place_NK.amin(dim=0))
        self.high_K.copy_(place_NK.amax(dim=0))
        share = torch.arange(1, self.dot_buckets, device=x_NE.device) / self.dot_buckets
        self.dot_edges_M.copy_(torch.quantile(cosine(image_NE, text_NE), share.float()))
        return float(variance_E.flip(0)[:kept].sum() / variance_E.sum())

    def coordinates(self, x_BE: Tensor) -> Tensor:
        """Places (B, K) along the axes, in float32 under autocast, too."""
        with torch.autocast(x_BE.device.type, enabled=False):
            return (x_BE.float() - self.mean_E) @ self.axes_KE.T

    def encode(self, x_BE: Tensor) -> Tensor:
        """Codes (B, K), 0 to buckets - 1."""
        share_BK = (self.coordinates(x_BE) - self.low_K) / (self.high_K - self.low_K)
        return (share_BK * self.buckets).floor().long().clamp(0, self.buckets - 1)

    def decode(self, codes_BK: Tensor) -> Tensor:
        """Embeddings (B, E) float32 at the middle of each bucket."""
        share_BK = (codes_BK + 0.5) / self.buckets
        place_BK = self.low_K + share_BK * (self.high_K - self.low_K)
        with torch.autocast(place_BK.device.type, enabled=False):
            return self.mean_E + place_BK @ self.axes_KE

    def dot_code(self, image_BE: Tensor, text_BE: Tensor) -> Tensor:
        """The bucket (B,) of each pair's dot product, 0 to dot_buckets - 1."""
        return torch.bucketize(cosine(image_BE, text_BE), self.dot_edges_M)


def cosine(image_BE: Tensor, text_BE: Tensor) -> Tensor:
    """The dot product (B,), float32, of unit embeddings."""
    return torch.nn.functional.cosine_similarity(image_BE.float(), text_BE.float(), dim=1)
