"""A caption metric's result: a score an image, and the corpus score with its interval.

A corpus score is a function of sums over images: a mean is (sum of scores) / (sum of ones), BLEU is
made of summed n-gram matches and lengths, METEOR of summed matches and chunks. So each metric keeps
the counts that are summed, and a bootstrap over images is one matrix product: (R, N) draws times
(N, S) counts. CIDEr's document frequencies stay those of the whole set in every draw.

Letters: N images, S counts, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Floats, Interval, bootstrap_weights, interval


@dataclass(frozen=True)
class Scored:
    """Scores of N images (N,), and the counts (N, S) whose sums (..., S) `corpus` makes a score."""

    per_image: Floats
    counts_NS: Floats
    corpus: Callable[[Floats], Floats]

    @property
    def value(self) -> float:
        """The corpus score; NaN over no images."""
        if not len(self.per_image):
            return math.nan
        return float(self.corpus(self.counts_NS.sum(axis=0)))

    def interval(self, resamples: int = 1000, seed: int = 0) -> Interval:
        """The corpus score with its 95 % bootstrap interval over images."""
        if not len(self.per_image):
            return Interval(math.nan, math.nan, math.nan, math.nan)
        weights_RN = bootstrap_weights(len(self.per_image), resamples, seed)
        return interval(self.value, self.corpus(weights_RN @ self.counts_NS))

    def worst(self, k: int) -> npt.NDArray[np.int64]:
        """Indices of the k images of lowest score, lowest first; ties by index."""
        return np.argsort(self.per_image, kind="stable")[:k]


def mean_scored(per_image: Floats) -> Scored:
    """A metric whose corpus score is the mean over images."""
    return Scored(per_image, np.stack([per_image, np.ones_like(per_image)], axis=1), _ratio)


def _ratio(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def check_pairing(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raises ValueError unless every candidate has a list of one or more references."""
    if len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} candidates, {len(references)} lists of references")
    for i, refs in enumerate(references):
        if not refs or isinstance(refs, str):
            raise ValueError(f"references of image {i} are {refs!r}; legal: a list of one or more")
