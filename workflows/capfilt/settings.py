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
    vision=ViTConfig(image_size=(32, 32), patch_size=16, width=256, depth=2, heads=4),
    text=replace(
        with_words(MEDConfig(context_length=20, width=128, depth=2, heads=2), 4096),
        dropout=0.0,
        attention_dropout=0.0,
    ),
    embedding=128,
    queue=0,
    hardness=0.0,
)
"""Four patches an image, two layers of text: two cores see some 500 pairs a second with all three
losses, 1,600 with contrast alone. Contrast within the batch: a queue of 1,024 with its copies, made
for runs a hundred times as long, did not learn in 800 steps. Wrong pairs are drawn at random: with
the hardest of the batch the matching loss stayed at 0.637, what knowing nothing costs, for 40,000
pairs; at random it fell to 0.25 within as many.
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


def schedule(steps: int, rate: float, batch_size: int = 256) -> Schedule:
    """AdamW with a warm-up of a twentieth."""
    return Schedule(
        loading=_LOADING,
        train=TrainConfig(
            steps=steps,
            batch_size=batch_size,
            optimizer=OptimizerConfig(rate=rate, warm_up=steps // 20, weight_decay=0.05),
            log_every=20,
            checkpoint_every=200,
        ),
    )


CONTRAST = schedule(1000, 1e-3)
PRETRAINING = schedule(500, 1e-3)
CAPTIONER = schedule(500, 1e-3)
MATCHER = schedule(300, 1e-3)
"""The filter knows the 3,311 clean pairs by heart after some 300 steps: on pairs that it has not
seen, 800 gave no better ranking, and a probability under 0.5 to half of the true ones.
"""
FRESH_CONTRAST = schedule(200, 1e-3)
FRESH = schedule(120, 1e-3)
"""Of the ablation's twenty-one models: two minutes of two cores each."""
