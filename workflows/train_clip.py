"""A samples dataset to a CLIP checkpoint, on this machine's cores or a cluster's GPUs.

sightmill train-clip --samples corpus/samples --out checkpoints/clip --model ViT-B/32
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import Literal

from models.clip import (
    CLIP_B_16,
    CLIP_B_32,
    CLIP_L_14,
    CLIP_L_14_336,
    CLIP_RN50,
    CLIP_RN50X4,
    CLIP_RN50X16,
    CLIP_RN50X64,
    CLIP_RN101,
    CLIP_SMALL,
    CLIPConfig,
)
from models.vision.vit import ViTConfig
from pipelines.datasets import open_dataset
from pipelines.engines import Engines
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.train import Schedule, train_model

MODELS: dict[str, CLIPConfig] = {
    "small": CLIP_SMALL,
    "ViT-B/32": CLIP_B_32,
    "ViT-B/16": CLIP_B_16,
    "ViT-L/14": CLIP_L_14,
    "ViT-L/14@336": CLIP_L_14_336,
    "RN50": CLIP_RN50,
    "RN101": CLIP_RN101,
    "RN50x4": CLIP_RN50X4,
    "RN50x16": CLIP_RN50X16,
    "RN50x64": CLIP_RN50X64,
}
Model = Literal[
    "small",
    "ViT-B/32",
    "ViT-B/16",
    "ViT-L/14",
    "ViT-L/14@336",
    "RN50",
    "RN101",
    "RN50x4",
    "RN50x16",
    "RN50x64",
]


@dataclass(frozen=True)
class TrainClipConfig:
    """Train a CLIP on a corpus; a killed run goes on from its latest checkpoint."""

    samples: str
    """Folder of the samples dataset."""
    out: str
    """Folder of the checkpoint."""
    model: Model = "small"
    """Size; the named ones have the dimensions of the paper."""
    patch_dropout: float = 0.0
    """Share of the patches left out in training (FLIP); a ResNet has none."""
    schedule: Schedule = field(default_factory=Schedule)
    """How it is trained."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        model = MODELS[self.model]
        if isinstance(model.vision, ViTConfig):
            model = replace(model, vision=replace(model.vision, patch_dropout=self.patch_dropout))
        elif self.patch_dropout:
            raise ValueError(f"patch_dropout={self.patch_dropout} must be 0 for {self.model}")
        out, folder = posixpath.split(self.out.rstrip("/"))
        job = Job(out, self.engines)
        train_model(job, folder, model, open_dataset(self.samples), self.schedule)
        job.console.summary(self.out)
