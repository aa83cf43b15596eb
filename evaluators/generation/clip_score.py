"""CLIP score (Hessel et al. 2021, arXiv 2104.08718): does a picture show what its prompt says?

100 times the cosine between a picture and its prompt, no less than 0, as torchmetrics computes it;
the paper multiplies by 250. Which CLIP sees decides the level, so it is told with the figure.
"""

from __future__ import annotations

import numpy as np

from evaluators.statistics import Floats
from evaluators.zero_shot import Vectors, normalise


def clip_scores(images_ND: Vectors, texts_ND: Vectors) -> Floats:
    """A score (N,) in [0, 100] a pair."""
    cosines = (normalise(images_ND) * normalise(texts_ND)).sum(axis=1)
    return np.asarray(100.0 * np.maximum(cosines, 0.0), dtype=np.float64)
