"""What CapFilt's stages are set to by default: sized for two CPU cores and half an hour."""

from __future__ import annotations

from dataclasses import replace

from models.blip.blip import BLIPConfig
from models.blip.med import MEDConfig, with_words
from models.training.augment import AugmentConfig
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig
from models.training.optimizer import OptimizerConfig
from models.vision.vit import ViTConfig
from workflows.train import Schedule

MODEL = BLIPConfig(
    vision=ViTConfig(image_size=(32, 32), patch_size=8, width=192, depth=3, heads=3),
    text=replace(
        with_words(MEDConfig(context_length=20, width=128, depth=2, heads=2), 4096),
        dropout=0.0,
        attention_dropout=0.0,
    ),
    embedding=128,
    queue=0,
)
"""16 patches an image, two layers of text: what two cores can pre-train in minutes. Contrast within
the batch: in 800 steps of 64 pairs it fell from 4.2 to 2.6 nats, where a queue of 1,024 with its
copies, made for runs a hundred times as long, did not learn.
"""

_LOADING = LoaderConfig(
    augment=AugmentConfig(
        least_area=0.5,
        most_area=1.3,
        rotation=10,
        brightness=0.3,
        contrast=0.3,
        saturation=0.4,
    ),
    fit="pad",
)


def schedule(steps: int, rate: float, batch_size: int = 64) -> Schedule:
    """AdamW with a warm-up of a tenth."""
    return Schedule(
        loading=_LOADING,
        train=TrainConfig(
            steps=steps,
            batch_size=batch_size,
            optimizer=OptimizerConfig(rate=rate, warm_up=steps // 10, weight_decay=0.05),
            log_every=20,
            checkpoint_every=200,
        ),
    )


PRETRAINING = schedule(1000, 4e-4)
CAPTIONER = schedule(600, 3e-4)
MATCHER = schedule(600, 3e-4)
