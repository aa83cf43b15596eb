"""Losses against open_clip's and transformers'; two gloo processes against one global batch."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from open_clip.loss import ClipLoss
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from models.clip import CLIP, CLIPConfig, TextConfig
from models.training.accumulate import backward
from models.training.objectives import classification, contrastive, gather_rows, rank_mean
from models.vision.vit import ViTConfig

SMALL = CLIPConfig(
    ViTConfig((16, 16), patch_size=8, width=16, depth=1, heads=2),
    TextConfig(context_length=8, vocab_size=40, width=16, depth=1, heads=2),
    embedding=12,
)


def unit(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 6, generator=generator), dim=1)


def test_contrastive_is_open_clips_and_transformers() -> None:
    image, text, scale = unit(7, 0), unit(7, 1), torch.tensor(14.0)
    ours = contrastive(image, text, scale)["loss"]
    torch.testing.assert_close(ours, ClipLoss()(image, text, scale))
    torch.testing.assert_close(ours, image_text_contrastive_loss(scale * text @ image.T))


def test_accuracy_counts_own_texts() -> None:
    image = torch.eye(4)
    out = contrastive(image, image[[0, 1, 3, 2]], torch.tensor(10.0))
    assert float(out["accuracy"]) == 0.5


def test_classification_is_cross_entropy() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    out = classification(logits, labels, 0.1)
    torch.testing.assert_close(out["loss"], F.cross_entropy(logits, labels, label_smoothing=0.1))
    assert float(out["accuracy"]) == float((logits.argmax(1) == labels).float().mean())


def test_one_process_gathers_nothing() -> None:
    rows = unit(3, 0)
    assert gather_rows(rows) is rows
    assert rank_mean({"a": torch.tensor(2.0)}) == {"a": 2.0}


def make_batch(rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(1, 38, (rows, 8), generator=generator)
    tokens[torch.arange(rows), torch.arange(rows) % 6 + 2] = 39
    return {"pixels": torch.randn(rows, 3, 16, 16, generator=generator), "tokens": tokens}


def _rank(rank: int, folder: str, micro_batches: int) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    model = CLIP(SMALL)
    batch = {key: value.chunk(2)[rank] for key, value in make_batch(8).items()}
    wrapped = DistributedDataParallel(model)
    losses = backward(wrapped, batch, micro_batches, lambda part: None, contextlib.nullcontext)
    means = rank_mean(losses)
    if rank == 0:
        gradients = {name: p.grad for name, p in model.named_parameters()}
        torch.save({**gradients, "loss": torch.tensor(means["loss"])}, f"{folder}/out.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_two_ranks_have_the_gradient_of_the_global_batch(
    micro_batches: int, tmp_path: Path
) -> None:
    mp.start_processes(_rank, (str(tmp_path), micro_batches), nprocs=2, start_method="fork")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.manual_seed(0)
    model = CLIP(SMALL)
    losses = model(make_batch(8))
    losses["loss"].backward()
    torch.testing.assert_close(found.pop("loss"), losses["loss"].detach(), atol=1e-6, rtol=1e-6)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        gap = (found[name] - parameter.grad).abs().max() / parameter.grad.abs().max()
        assert gap < 1e-5, name
