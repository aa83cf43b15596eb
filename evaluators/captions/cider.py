"""CIDEr-D (Vedantam, Zitnick and Parikh, arXiv 1411.5726), what the COCO evaluation calls CIDEr.

Captions are tf-idf vectors of their n-grams, n = 1 .. 4; the score is the cosine between candidate
and reference, averaged over references and n, times 10. The "D": the candidate's weights are
clipped at the reference's, and a difference in length of d costs a factor exp(-d^2 / 72). Document
frequencies are counted over the images' reference sets of the set that is scored, as in the COCO
evaluation: a score therefore depends on the whole set, and over a single image every weight is
log 1 = 0 and the score 0. Papers print 100 times the corpus score.

Of the COCO code kept: a caption's length is its number of bigrams.

Letters: N images, C captions, E (caption, n-gram) triples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.captions.ngrams import Grams, Indices, count_ngrams, look_up
from evaluators.captions.scored import Scored, check_pairing, mean_scored
from evaluators.statistics import Floats

LONGEST = 4
SIGMA = 6.0


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """CIDEr-D in [0, 10] of tokenized captions: candidates (N,), references of each."""
    check_pairing(candidates, references)
    n_images = len(candidates)
    captions = [*candidates, *(ref for refs in references for ref in refs)]
    refs_N = np.array([len(refs) for refs in references], dtype=np.int64)
    image_C = np.concatenate([np.arange(n_images), np.repeat(np.arange(n_images), refs_N)])
    bigrams_C = np.array([max(len(caption.split()) - 1, 0) for caption in captions])
    by_n = [_cosines(g, image_C, n_images) for g in count_ngrams(captions, LONGEST)]
    difference = bigrams_C[image_C[n_images:]] - bigrams_C[n_images:]
    similar = np.mean(by_n, axis=0) * np.exp(-(difference**2) / (2 * SIGMA**2))
    per_image = np.bincount(image_C[n_images:], weights=similar, minlength=n_images) / refs_N
    return mean_scored(10 * per_image)


def _cosines(grams: Grams, image_C: Indices, n_images: int) -> Floats:
    """Clipped cosine of every reference with its image's candidate (C - N,)."""
    weight = grams.count * _idf(grams, image_C, n_images)[grams.gram]
    norm_C = np.sqrt(np.bincount(grams.caption, weights=weight**2, minlength=len(image_C)))
    own = grams.caption < n_images
    image, ref_weight = image_C[grams.caption[~own]], weight[~own]
    wanted = image * grams.kinds + grams.gram[~own]
    candidate_weight = look_up(grams.key[own], weight[own], wanted)
    dot_C = np.bincount(
        grams.caption[~own],
        weights=np.minimum(candidate_weight, ref_weight) * ref_weight,
        minlength=len(image_C),
    )[n_images:]
    norms = norm_C[image_C[n_images:]] * norm_C[n_images:]
    return np.asarray(dot_C / np.where(norms > 0, norms, 1))


def _idf(grams: Grams, image_C: Indices, n_images: int) -> Floats:
    """log(N / images with the n-gram in a reference); log N for one that no reference has."""
    of_refs = grams.caption >= n_images
    seen = np.unique(image_C[grams.caption[of_refs]] * grams.kinds + grams.gram[of_refs])
    documents = np.bincount(seen % grams.kinds, minlength=grams.kinds)
    return np.asarray(np.log(max(n_images, 1)) - np.log(np.maximum(documents, 1)))
