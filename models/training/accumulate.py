"""One step's gradient, whole or in micro-batches that fit into memory, exactly the same either way.

A loss that is a mean over examples may be averaged over micro-batches. A contrastive loss may not:
each example is scored against all others. For it the features of all micro-batches are first
computed without a graph, the loss of the whole (global) batch gives the gradient of each feature,
and each micro-batch is then run again and fed its share of that gradient (GradCache, Gao et al.
2021, arXiv 2101.06983). Both runs of a micro-batch start from the same seed, so that patch dropout
drops the same patches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Batch = dict[str, Tensor]


@runtime_checkable
class BatchWide(Protocol):
    """A model whose loss couples the examples of a batch."""

    def features(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the loss needs, a row an example."""

    def losses_of(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """`loss`, and figures to log, of the features of the whole batch."""


def split(batch: Batch, parts: int) -> list[Batch]:
    """`batch` in `parts` equal parts. Raises ValueError where they do not divide it."""
    size = len(next(iter(batch.values())))
    if size % parts:
        raise ValueError(f"micro_batches={parts} must divide the {size} examples of a rank")
    pieces = {key: value.chunk(parts) for key, value in batch.items()}
    return [{key: value[i] for key, value in pieces.items()} for i in range(parts)]


def backward(
    wrapped: nn.Module,
    batch: Batch,
    parts: int,
    reseed: Callable[[int], None],
    autocast: Callable[[], contextlib.AbstractContextManager[Any]],
) -> dict[str, Tensor]:
    """Leaves the gradient of one step in the parameters and returns the losses, detached.

    Args:
        wrapped: the model, or DistributedDataParallel around it.
        reseed: called with the number of the micro-batch before each run of it.
    """
    model = wrapped.module if isinstance(wrapped, DistributedDataParallel) else wrapped
    if parts == 1:
        reseed(0)
        with autocast():
            losses = wrapped(batch)
        losses["loss"].backward()
        return {key: value.detach() for key, value in losses.items()}
    pieces = split(batch, parts)
    if isinstance(model, BatchWide):
        return _cached(wrapped, model, pieces, reseed, autocast)
    return _averaged(wrapped, pieces, reseed, autocast)


def _unsynced(wrapped: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Ranks exchange gradients with the last micro-batch only."""
    if last or not isinstance(wrapped, DistributedDataParallel):
        return contextlib.nullcontext()
    return wrapped.no_sync()


def _averaged(
    wrapped: nn.Module, pieces: list[Batch], reseed: Callable[[int], None], autocast: Any
) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for index, piece in enumerate(pieces):
        reseed(index)
        with _unsynced(wrapped, index == len(pieces) - 1):
            with autocast():
                losses = wrapped(piece)
            (losses["loss"] / len(pieces)).backward()
        for key, value in losses.items():
            total[key] = total.get(key, 0.0) + value.detach() / len(pieces)
    return total


def _cached(
    wrapped: nn.Module,
    model: BatchWide,
    pieces: list[Batch],
    reseed: Callable[[int], None],
    autocast: Any,
) -> dict[str, Tensor]:
    parts: list[tuple[Tensor, ...]] = []
    for index, piece in enumerate(pieces):
        reseed(index)
        with torch.no_grad(), autocast():
            parts.append(model.features(piece))
    whole = tuple(torch.cat(column).requires_grad_() for column in zip(*parts, strict=True))
    losses = model.losses_of(whole)
    gradients = torch.autograd.grad(losses["loss"], whole)
    shares = zip(*(g.chunk(len(pieces)) for g in gradients), strict=True)
    for index, (piece, share) in enumerate(zip(pieces, shares, strict=True)):
        reseed(index)
        with _unsynced(wrapped, index == len(pieces) - 1):
            with autocast():
                features = wrapped(piece, features=True)
            moved = [pair for pair in zip(features, share, strict=True) if pair[0].requires_grad]
        torch.autograd.backward([f for f, _ in moved], [g for _, g in moved])
    return {key: value.detach() for key, value in losses.items()}
