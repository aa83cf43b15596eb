"""What can be scored: a model that embeds images and texts, or one with classes of its own.

These are typing protocols, so a model from elsewhere needs no base class of ours, only the methods.
A contender adds what the scoring needs to know about it: its name, how a worker loads it, and the
dataset it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from evaluators.zero_shot import Vectors
from pipelines.datasets import Dataset


@runtime_checkable
class Encoder(Protocol):
    """A model with images and texts in one space, such as CLIP; it need not normalise them."""

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before a softmax; 100 for OpenAI's CLIP."""

    def encode_image(self, images: Sequence[bytes]) -> Vectors:
        """Encoded images to (N, D) float32; a NaN row where one cannot be decoded."""

    def encode_text(self, texts: list[str]) -> Vectors:
        """Texts to (N, D) float32."""


@runtime_checkable
class Classifier(Protocol):
    """A supervised model with classes of its own."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the logits."""

    def class_logits(self, images: Sequence[bytes]) -> Vectors:
        """Encoded images to (N, len(classes)) float32; a NaN row where one cannot be decoded."""


@runtime_checkable
class ImageEncoder(Protocol):
    """A model of images alone: it can be probed, but neither names nor matches."""

    def encode_image(self, images: Sequence[bytes]) -> Vectors:
        """Encoded images to (N, D) float32; a NaN row where one cannot be decoded."""


Model = Encoder | Classifier | ImageEncoder
Precision = Literal["float32", "bfloat16"]
"""Of a model's matrix products; what they add up to, and its weights, are float32 either way."""


@dataclass(frozen=True)
class Contender:
    """A model under test."""

    name: str
    """As it stands in every table and figure."""
    load: Callable[[], Model]
    """Makes the model where it is to run; Ray pickles it: a class, or a functools.partial."""
    made_from: tuple[Dataset, ...] = ()
    """Its checkpoint, or the data of a nearest-neighbour model: the scores' lineage and plan."""
    settings: object = None
    """What else its answers depend on, such as how images are fitted, as JSON values."""
    standard: bool = False
    """Whether it is one of the models that robustness is measured from (`evaluators.trend`)."""
