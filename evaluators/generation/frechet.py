"""Fréchet distance between two sets of pictures (FID, Heusel et al. 2017, arXiv 1706.08500).

Each set's features pass for a normal distribution: |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2).
The trace of the root is the sum of the roots of the eigenvalues of S1^1/2 S2 S1^1/2, which is
symmetric, so no complex root comes up. The usual FID has the features of an Inception network; here
they are those of the model that the scores name, and figures of other features are other figures.
The distance falls with the number of pictures and is 0 only in the limit: compare at equal n.

Letters: N, M pictures, D width.
"""

from __future__ import annotations

import numpy as np

from evaluators.statistics import Floats, Rate
from evaluators.zero_shot import Vectors

RESAMPLES = 20


def moments(features_ND: Vectors) -> tuple[Floats, Floats]:
    """Mean (D,) and covariance (D, D) over N - 1, float64. Raises ValueError below two pictures."""
    if len(features_ND) < 2:
        raise ValueError(f"{len(features_ND)} pictures; legal: two or more")
    x = features_ND.astype(np.float64)
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))


def distance(mean1: Floats, cov1: Floats, mean2: Floats, cov2: Floats) -> float:
    """The Fréchet distance of two normal distributions."""
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov2 @ root).clip(0)
    trace = np.trace(cov1) + np.trace(cov2) - 2 * np.sqrt(product).sum()
    return float(((mean1 - mean2) ** 2).sum() + trace)


def frechet(real_ND: Vectors, drawn_MD: Vectors, resamples: int = RESAMPLES, seed: int = 0) -> Rate:
    """The distance, over M drawn pictures, with the deviation over bootstrap draws of these."""
    real = moments(real_ND)
    value = distance(*real, *moments(drawn_MD))
    rng = np.random.default_rng(seed)
    draws = [
        distance(*real, *moments(drawn_MD[rng.integers(0, len(drawn_MD), len(drawn_MD))]))
        for _ in range(resamples)
    ]
    error = float(np.std(draws, ddof=1)) if len(draws) > 1 else float("nan")
    return Rate(value, len(drawn_MD), error)
