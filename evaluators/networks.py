"""Our networks behind the protocols: a CLIP that encodes, a classifier with its classes.

Each loads once, where it runs, onto a GPU if there is one. Images pass through the same decoding as
in training (`models.pixels`); `fit` should be the training's. In bfloat16 the weights stay float32
and products are rounded to 8 bits of mantissa (`torch.autocast`): what a figure of three digits
does not show, on hardware that has it (CUDA, AMX) several times as fast. This module imports torch;
`evaluators.checkpoints` names these models without doing so.

Shapes: N images or texts, D embedding width, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from evaluators.contenders import Precision
from evaluators.decoding import decodable, spread
from evaluators.zero_shot import Vectors
from models import weights
from models.classifier import Classifier
from models.clip import CLIP
from models.pixels import Fit, normalise

TEXTS_A_BATCH = 256


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _products(device: str, precision: Precision) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")


def _forward(
    images: Sequence[bytes],
    size: tuple[int, int],
    fit: Fit,
    network: Callable[[Tensor], Tensor],
    device: str,
    precision: Precision = "float32",
) -> Vectors:
    pixels, places = decodable(images, size, fit)
    filled = np.zeros(
        (len(images), 3, *size), dtype=np.uint8
    )  # broken images keep the batch's size
    filled[places] = pixels
    with torch.inference_mode(), _products(device, precision):
        out = network(normalise(torch.from_numpy(filled).to(device))).float().cpu().numpy()
    return spread(out[places], places, len(images))


class CLIPEncoder:
    """The CLIP in the folder `path` as an `evaluators.contenders.Encoder`."""

    def __init__(self, path: str, fit: Fit = "crop", precision: Precision = "float32") -> None:
        self.device, self.fit, self.precision = _device(), fit, precision
        self.network = cast(CLIP, weights.load(path)).to(self.device)
        self.tokenizer = weights.load_tokenizer(path)
        self.config = self.network.config

    @property
    def logit_scale(self) -> float:
        """What training learnt, at most 100."""
        return float(self.network.logit_scale.detach().exp())

    def encode_image(self, images: Sequence[bytes]) -> Vectors:
        """Encoded images to (N, D); NaN rows where one cannot be decoded."""
        size, network = self.config.vision.image_size, self.network.encode_image
        return _forward(images, size, self.fit, network, self.device, self.precision)

    def encode_text(self, texts: list[str]) -> Vectors:
        """Texts to (N, D); those of like length share a batch, so that little is padding."""
        tokens_NL = self.tokenizer(texts, self.config.text.context_length)
        ends = (tokens_NL == self.config.text.end_of_text).int().argmax(dim=1)
        order = ends.argsort(stable=True)
        batches = (order[i : i + TEXTS_A_BATCH] for i in range(0, len(texts), TEXTS_A_BATCH))
        parts = [self._encode(tokens_NL[rows]) for rows in batches]
        out = np.empty((len(texts), self.config.embedding), dtype=np.float32)
        out[order.numpy()] = np.concatenate(parts)
        return out

    def _encode(self, tokens_BL: Tensor) -> Vectors:
        with torch.inference_mode(), _products(self.device, self.precision):
            encoded = self.network.encode_text(tokens_BL.to(self.device)).float().cpu().numpy()
        return np.asarray(encoded)


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
