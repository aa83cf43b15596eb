"""Nearest neighbours: the cheapest reference that a learnt model should beat.

Over raw pixels it says how much of a score is mere likeness of the drawings; over a model's
embeddings it says what the image encoder knows without any text. Votes are weighted by exp((cosine
- 1) / temperature), as in the k-NN protocol of Wu et al. (arXiv 1805.01978), with their temperature
0.07. Classes without a vote come after all others, in the order of their nearest image, so that
top-5 means something at one neighbour too.

Letters: N images asked, M images known, C classes, D width, K neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.decoding import decodable, spread
from evaluators.zero_shot import Vectors, normalise

IMAGES_A_BLOCK = 1024


@dataclass(frozen=True)
class NearestConfig:
    """How neighbours vote."""

    neighbours: int = 1
    """K: how many known images vote."""
    temperature: float = 0.07
    """Of the votes' weights: cosine units."""
    side: int = 16
    """Pixels a side that pictures are shrunk to for the pixel baseline."""


def neighbour_votes(
    asked_ND: Vectors,
    known_MD: Vectors,
    labels_M: npt.NDArray[np.int64],
    n_classes: int,
    config: NearestConfig,
) -> Vectors:
    """Votes (N, C): the summed weights of each class among the K nearest known images, in (0, K].

    Classes without a vote score their best cosine less 2, in [-3, -1]; classes without an image -4.
    """
    if not 1 <= config.neighbours <= len(known_MD):
        raise ValueError(
            f"neighbours={config.neighbours}; legal: 1 to {len(known_MD)}, the known images"
        )
    order = np.argsort(labels_M, kind="stable")
    asked_ND, known_MD, labels_M = normalise(asked_ND), normalise(known_MD[order]), labels_M[order]
    classes, starts = np.unique(labels_M, return_index=True)
    scores_NC = np.full((len(asked_ND), n_classes), -4, dtype=np.float32)
    for start in range(0, len(asked_ND), IMAGES_A_BLOCK):
        cosines = asked_ND[start : start + IMAGES_A_BLOCK] @ known_MD.T
        block = scores_NC[start : start + len(cosines)]
        block[:, classes] = np.maximum.reduceat(cosines, starts, axis=1) - 2
        near = np.argsort(-cosines, axis=1, kind="stable")[:, : config.neighbours]
        votes = np.zeros_like(block)
        weights = np.exp((np.take_along_axis(cosines, near, axis=1) - 1) / config.temperature)
        np.add.at(votes, (np.arange(len(near))[:, None], labels_M[near]), weights)
        block[votes > 0] = votes[votes > 0]
    return scores_NC


def pixels(images: Sequence[bytes], side: int = NearestConfig.side) -> Vectors:
    """Pictures as vectors (N, 3 * side * side): on white, shrunk, mean removed; NaN if undecodable.

    The mean leaves a thousandth behind, since a picture of one colour would have no direction
    otherwise.
    """
    decoded, places = decodable(images, (side, side), "pad")
    vectors: Vectors = decoded.reshape(len(decoded), 3 * side * side).astype(np.float32)
    vectors /= 255
    vectors -= vectors.mean(axis=1, keepdims=True) - np.float32(1e-3)
    return spread(vectors, places, len(images))


class PixelNeighbours:
    """A classifier over shrunken pictures; `classes` are the class names, `labels` index them."""

    def __init__(
        self,
        known: Sequence[bytes],
        labels: npt.NDArray[np.int64],
        classes: Sequence[str],
        config: NearestConfig,
    ) -> None:
        known_MD = pixels(known, config.side)
        seen = np.isfinite(known_MD[:, 0])
        self.classes, self.config = list(classes), config
        self.known_MD, self.labels_M = known_MD[seen], labels[seen]

    def class_logits(self, images: Sequence[bytes]) -> Vectors:
        """Votes (N, C); NaN rows where an image cannot be decoded."""
        asked_ND = pixels(images, self.config.side)
        places = np.flatnonzero(np.isfinite(asked_ND[:, 0]))
        known = (self.known_MD, self.labels_M, len(self.classes))
        votes = neighbour_votes(asked_ND[places], *known, self.config)
        return spread(votes, places, len(images))
