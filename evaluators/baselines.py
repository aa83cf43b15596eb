"""Baselines that need no training: nearest neighbours over pixels, from a `labelled` dataset."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import numpy as np

from evaluators.contenders import Contender
from evaluators.nearest import NearestConfig, PixelNeighbours
from pipelines.datasets import Dataset, open_dataset


def pixel_contender(name: str, known: Dataset, config: NearestConfig) -> Contender:
    """Nearest pixels among `known`: a standard model, for it uses labels of the same images."""
    load = partial(_pixel_neighbours, known.path, config)
    return Contender(name, load, (known,), asdict(config), standard=True)


def _pixel_neighbours(path: str, config: NearestConfig) -> PixelNeighbours:
    """Loaded where it runs; classes without a known image get no votes, so they are left out."""
    rows = open_dataset(path).table(["image", "class_name"])
    classes = sorted(set(rows["class_name"].to_pylist()))
    place = {name: index for index, name in enumerate(classes)}
    labels = np.array([place[name] for name in rows["class_name"].to_pylist()], np.int64)
    return PixelNeighbours(rows["image"].to_pylist(), labels, classes, config)
