"""Baselines without a network: nearest neighbours over pixels, logistic regression on pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from evaluators.contenders import Contender
from evaluators.nearest import NearestConfig, PixelNeighbours, pixels
from evaluators.zero_shot import Vectors
from pipelines.datasets import Dataset, open_dataset


def pixel_contender(name: str, known: Dataset, config: NearestConfig) -> Contender:
    """Nearest pixels among `known`: a standard model, for it uses labels of the same images."""
    load = partial(_pixel_neighbours, known.path, config)
    return Contender(name, load, (known,), asdict(config), standard=True)


def pixel_probe(name: str, side: int = 8) -> Contender:
    """Shrunken pixels as features: its probe is what a network should beat."""
    return Contender(name, partial(Pixels, side), settings={"pixels": side})


class Pixels:
    """An `ImageEncoder`: pictures on white, side x side, mean removed."""

    def __init__(self, side: int) -> None:
        self.side = side

    def encode_image(self, images: Sequence[bytes]) -> Vectors:
        """(N, 3 * side * side); NaN rows where undecodable."""
        return pixels(images, self.side)


def _pixel_neighbours(path: str, config: NearestConfig) -> PixelNeighbours:
    """Loaded where it runs; classes without a known image get no votes, so they are left out."""
    rows = open_dataset(path).table(["image", "class_name"])
    classes = sorted(set(rows["class_name"].to_pylist()))
    place = {name: index for index, name in enumerate(classes)}
    labels = np.array([place[name] for name in rows["class_name"].to_pylist()], np.int64)
    return PixelNeighbours(rows["image"].to_pylist(), labels, classes, config)
