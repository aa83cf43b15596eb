"""Image-text retrieval, R@k both ways, as on COCO and Flickr30k.

An image may have several texts and a text several images (two clip arts called "house"), so
relevance is a list of (image, text) pairs. A query is a hit at k if ANY of its partners is among
the k nearest by cosine: with five captions an image, image-to-text counts the best placed one. What
is kept is that best place, from which every R@k follows. Rows are handled in blocks: no (N, M)
matrix and no one-hot of it stands in memory.

Letters: N images, M texts, P relevant pairs, Q queries, G gallery, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Rate
from evaluators.zero_shot import Vectors, normalise, top_k_accuracy

Indices = npt.NDArray[np.int64]
QUERIES_A_BLOCK = 1024
RECALL_AT = (1, 5, 10)


@dataclass(frozen=True)
class Retrieved:
    """Each query's best partner's place (Q,), 0 the best, and its nearest items (Q, top)."""

    ranks: Indices
    nearest: Indices
    cosines: Vectors


def retrieve(
    queries_QD: Vectors,
    gallery_GD: Vectors,
    pairs_P2: Indices,
    top: int = 5,
    excluded_Q: Indices | None = None,
) -> Retrieved:
    """Best partner's place for every query; ties go to the lower gallery index.

    Args:
        pairs_P2: (query index, gallery index) of every relevant pair; each query needs one or more.
        excluded_Q: a gallery index that each query does not search, or -1: in composed retrieval
            the picture that the query is made of.

    Raises:
        ValueError: a query without partner, or an index outside its side.
    """
    queries_QD, gallery_GD = normalise(queries_QD), normalise(gallery_GD)
    _check(pairs_P2, len(queries_QD), len(gallery_GD))
    pairs_P2 = pairs_P2[np.argsort(pairs_P2[:, 0], kind="stable")]
    places, nearest, cosines = [], [], []
    for start in range(0, len(queries_QD), QUERIES_A_BLOCK):
        scores = queries_QD[start : start + QUERIES_A_BLOCK] @ gallery_GD.T
        if excluded_Q is not None:
            hidden = excluded_Q[start : start + len(scores)]
            scores[np.flatnonzero(hidden >= 0), hidden[hidden >= 0]] = -np.inf
        lo, hi = np.searchsorted(pairs_P2[:, 0], [start, start + len(scores)])
        places.append(_best_places(scores, pairs_P2[lo:hi] - np.array([start, 0])))
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        nearest.append(best)
        cosines.append(np.take_along_axis(scores, best, axis=1))
    return Retrieved(np.concatenate(places), np.concatenate(nearest), np.concatenate(cosines))


def _best_places(scores_QG: Vectors, pairs_P2: Indices) -> Indices:
    """The place of each query's best partner, which is the first one of the highest cosine."""
    q, g = pairs_P2.T
    starts = np.flatnonzero(np.diff(q, prepend=-1))
    best_score = np.maximum.reduceat(scores_QG[q, g], starts)
    is_best = scores_QG[q, g] == np.repeat(best_score, np.diff(starts, append=len(q)))
    best_index = np.minimum.reduceat(np.where(is_best, g, scores_QG.shape[1]), starts)
    before = np.arange(scores_QG.shape[1]) < best_index[:, None]
    ahead = (scores_QG > best_score[:, None]) | ((scores_QG == best_score[:, None]) & before)
    return np.asarray(ahead.sum(axis=1))


def _check(pairs_P2: Indices, queries: int, gallery: int) -> None:
    alone = np.setdiff1d(np.arange(queries), pairs_P2[:, 0])
    if len(alone):
        raise ValueError(
            f"query {alone[0]} (and {len(alone) - 1} more) has no partner; legal: one or more each"
        )
    if pairs_P2.min() < 0 or pairs_P2[:, 0].max() >= queries or pairs_P2[:, 1].max() >= gallery:
        raise ValueError(f"pairs reach {pairs_P2.max(axis=0)}; legal: below {(queries, gallery)}")


def recalls(ranks_Q: Indices) -> dict[int, Rate]:
    """R@1, R@5 and R@10."""
    return {k: top_k_accuracy(ranks_Q, k) for k in RECALL_AT}
