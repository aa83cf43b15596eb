"""A supervised classifier: an image encoder and one linear layer, the baseline that zero-shot
models are compared with.

Shapes: B batch, D width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from models.training.objectives import classification
from models.vision.encoder import VisionConfig, encoder
from models.vision.vit import ViTConfig


@dataclass(frozen=True)
class ClassifierConfig:
    """The encoder and the number of classes."""

    vision: VisionConfig = field(default_factory=ViTConfig)  # image encoder
    classes: int = 1000  # labels are 0 to classes - 1
    smoothing: float = 0.0  # label smoothing, [0, 1)


class Classifier(nn.Module):
    """Pixels (B, 3, H, W) to logits (B, C). The head starts at zero, as in the ViT paper."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder(config.vision)
        self.head = nn.Linear(config.vision.features, config.classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def logits(self, pixels_BCHW: Tensor) -> Tensor:
        """Logits (B, C) of normalised float pixels."""
        logits_BC: Tensor = self.head(self.encoder(pixels_BCHW))
        return logits_BC

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and `accuracy` of a batch with `pixels` (B, 3, H, W) and `labels` (B,)."""
        return classification(self.logits(batch["pixels"]), batch["labels"], self.config.smoothing)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""
