"""Our checkpoints as models under test: a CLIP that encodes, a classifier with its classes.

Each loads once, where it runs, onto a GPU if there is one. Images pass through the same decoding as
in training (`models.pixels`); `fit` should be the training's.

Shapes: N images or texts, S decodable images, D embedding width, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from evaluators.contenders import Contender
from evaluators.decoding import decodable, spread
from evaluators.zero_shot import Vectors
from models import weights
from models.classifier import Classifier
from models.clip import CLIP
from models.pixels import Fit, normalise
from pipelines.datasets import Dataset

TEXTS_A_BATCH = 256


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _forward(
    images: Sequence[bytes],
    size: tuple[int, int],
    fit: Fit,
    network: Callable[[Tensor], Tensor],
    device: str,
) -> Vectors:
    pixels, places = decodable(images, size, fit)
    filled = np.zeros(
        (len(images), 3, *size), dtype=np.uint8
    )  # broken images keep the batch's size
    filled[places] = pixels
    with torch.inference_mode():
        out = network(normalise(torch.from_numpy(filled).to(device))).float().cpu().numpy()
    return spread(out[places], places, len(images))


class CLIPEncoder:
    """The CLIP in the folder `path` as an `evaluators.contenders.Encoder`."""

    def __init__(self, path: str, fit: Fit = "crop") -> None:
        self.device, self.fit = _device(), fit
        self.network = cast(CLIP, weights.load(path)).to(self.device)
        self.tokenizer = weights.load_tokenizer(path)
        self.config = self.network.config

    @property
    def logit_scale(self) -> float:
        """What training learnt, at most 100."""
        return float(self.network.logit_scale.detach().exp())

    def encode_image(self, images: Sequence[bytes]) -> Vectors:
        """Encoded images to (N, D); NaN rows where one cannot be decoded."""
        size = self.config.vision.image_size
        return _forward(images, size, self.fit, self.network.encode_image, self.device)

    def encode_text(self, texts: list[str]) -> Vectors:
        """Texts to (N, D)."""
        parts = [
            self._encode(texts[i : i + TEXTS_A_BATCH]) for i in range(0, len(texts), TEXTS_A_BATCH)
        ]
        return np.concatenate(parts)

    def _encode(self, texts: list[str]) -> Vectors:
        tokens_BL = self.tokenizer(texts, self.config.text.context_length).to(self.device)
        with torch.inference_mode():
            encoded: Vectors = self.network.encode_text(tokens_BL).float().cpu().numpy()
        return encoded


class SupervisedClassifier:
    """The classifier in `path` as a `Classifier` to be scored; `classes` are its names."""

    def __init__(self, path: str, classes: Sequence[str], fit: Fit = "crop") -> None:
        self.device, self.fit, self.classes = _device(), fit, list(classes)
        self.network = cast(Classifier, weights.load(path)).to(self.device)
        if self.network.config.classes != len(self.classes):
            raise ValueError(
                f"{path} has {self.network.config.classes} classes, {len(self.classes)} names were "
                "given; legal: one name a class"
            )

    def class_logits(self, images: Sequence[bytes]) -> Vectors:
        """Encoded images to (N, classes); NaN rows where one cannot be decoded."""
        size = self.network.config.vision.image_size
        return _forward(images, size, self.fit, self.network.logits, self.device)


def clip_contender(name: str, path: str, checkpoint: Dataset, fit: Fit = "crop") -> Contender:
    """Our CLIP: its folder of weights, and the dataset that stands for it in the lineage."""
    return Contender(name, partial(CLIPEncoder, path, fit), (checkpoint,))


def supervised_contender(
    name: str, path: str, checkpoint: Dataset, classes: Sequence[str], fit: Fit = "crop"
) -> Contender:
    """A supervised baseline: a standard model, one that effective robustness is measured from."""
    load = partial(SupervisedClassifier, path, tuple(classes), fit)
    return Contender(name, load, (checkpoint,), standard=True)
