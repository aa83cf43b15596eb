"""Objectives: numbers to be made small, as functions of features or logits.

The contrastive loss is CLIP's (Radford et al. 2021, figure 3): cross-entropy over the rows and over
the columns of the matrix of scaled cosines, halved. On W ranks each rank scores its own B rows
against all W B columns, so the matrix costs B x WB and not WB x WB; the gather carries gradients
back to the rank that made the feature, and the mean of the ranks' gradients (what DDP computes) is
exactly the gradient of the one-process loss over the global batch.

Shapes: B rows of this rank, A rows of all ranks, E width of the joint embedding, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F


def world() -> tuple[int, int]:
    """(rank, number of ranks); (0, 1) outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def rank_mean(values: dict[str, Tensor]) -> dict[str, float]:
    """The mean over ranks of each scalar; all ranks must call it together."""
    means = torch.stack([value.detach().float() for value in values.values()])
    if world()[1] > 1:
        dist.all_reduce(means)
    return dict(zip(values, (means / world()[1]).tolist(), strict=True))


class _Gather(torch.autograd.Function):
    """All ranks' rows in rank order; backward sums every rank's gradient and keeps the own rows."""

    @staticmethod
    def forward(ctx: Any, rows_BE: Tensor) -> Tensor:
        parts = [torch.empty_like(rows_BE) for _ in range(world()[1])]
        dist.all_gather(parts, rows_BE.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient_AE: Tensor) -> Tensor:
        rank, ranks = world()
        gradient_AE = gradient_AE.contiguous()
        dist.all_reduce(gradient_AE)
        return gradient_AE.chunk(ranks)[rank]


def gather_rows(rows_BE: Tensor) -> Tensor:
    """(B, E) of this rank to (A, E) of all, differentiably. Every rank must bring the same B."""
    if world()[1] == 1:
        return rows_BE
    gathered_AE: Tensor = _Gather.apply(rows_BE)
    return gathered_AE


def contrastive(image_BE: Tensor, text_BE: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """CLIP's symmetric loss of L2-normalised rows; row i of one belongs to row i of the other.

    `scale` is the multiplier itself (not its logarithm). Returns `loss` (with gradient) and,
    detached, both halves and the share of images whose own text scored highest.
    """
    first = world()[0] * len(image_BE)
    targets_B = torch.arange(first, first + len(image_BE), device=image_BE.device)
    with torch.autocast(image_BE.device.type, enabled=False):  # cosines times 100 need 24 bits
        image_logits_BA = scale * image_BE.float() @ gather_rows(text_BE.float()).T
        text_logits_BA = scale * text_BE.float() @ gather_rows(image_BE.float()).T
        image_loss = F.cross_entropy(image_logits_BA, targets_B)
        text_loss = F.cross_entropy(text_logits_BA, targets_B)
    with torch.no_grad():
        accuracy = (image_logits_BA.argmax(dim=1) == targets_B).float().mean()
    return {
        "loss": (image_loss + text_loss) / 2,
        "image_to_text": image_loss.detach(),
        "text_to_image": text_loss.detach(),
        "accuracy": accuracy,
    }


def classification(
    logits_BC: Tensor, labels_B: Tensor, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Cross-entropy against class indices, with label smoothing in [0, 1)."""
    loss = F.cross_entropy(logits_BC.float(), labels_B, label_smoothing=smoothing)
    with torch.no_grad():
        accuracy = (logits_BC.argmax(dim=1) == labels_B).float().mean()
    return {"loss": loss, "accuracy": accuracy}
