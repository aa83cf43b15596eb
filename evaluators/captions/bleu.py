"""BLEU-1 to BLEU-4 (Papineni et al. 2002) as the COCO caption evaluation counts them.

BLEU-n is the geometric mean of the clipped 1- to n-gram precisions times a brevity penalty.
Clipped: an n-gram of the candidate counts at most as often as in the reference that has it most.
The reference length is the one nearest the candidate's, the shorter of two equally near. Of the
COCO code kept: 1e-15 is added to matches and 1e-9 to guesses instead of smoothing, so an image
without a common 4-gram has a BLEU-4 near 1e-4 and not 0; the corpus score sums counts over images
first and is no mean of theirs.

Letters: N images, C captions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.captions.ngrams import Grams, Indices, count_ngrams, look_up
from evaluators.captions.scored import Scored, check_pairing
from evaluators.statistics import Floats

LONGEST = 4
TINY, SMALL = 1e-15, 1e-9


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Scored]:
    """BLEU-1 .. BLEU-4 in [0, 1] of tokenized captions: candidates (N,), references of each."""
    check_pairing(candidates, references)
    n_images = len(candidates)
    captions = [*candidates, *(ref for refs in references for ref in refs)]
    image_C = np.repeat(np.arange(n_images), [len(refs) for refs in references])
    image_C = np.concatenate([np.arange(n_images), image_C])
    length_C = np.array([len(caption.split()) for caption in captions], dtype=np.int64)
    guesses = np.stack([np.maximum(length_C[:n_images] - n, 0) for n in range(LONGEST)], axis=1)
    matches = [_clipped(grams, image_C, n_images) for grams in count_ngrams(captions, LONGEST)]
    lengths = np.stack([length_C[:n_images], _nearest(length_C, image_C, n_images)], axis=1)
    counts = np.concatenate([np.stack(matches, axis=1), guesses, lengths], axis=1).astype(float)
    return {f"BLEU-{n}": _scored(counts, n) for n in range(1, LONGEST + 1)}


def _clipped(grams: Grams, image_C: Indices, n_images: int) -> Floats:
    """Matches an image (N,): each n-gram's count, at most its highest in one reference."""
    key = image_C[grams.caption] * grams.kinds + grams.gram
    own = grams.caption < n_images
    order = np.argsort(key[~own], kind="stable")
    ref_key, ref_count = key[~own][order], grams.count[~own][order]
    first = np.flatnonzero(np.diff(ref_key, prepend=-1))
    most = np.maximum.reduceat(ref_count, first) if len(first) else ref_count
    clipped = np.minimum(grams.count[own], look_up(ref_key[first], most, key[own]))
    weights = clipped.astype(np.float64)
    return np.asarray(np.bincount(grams.caption[own], weights=weights, minlength=n_images))


def _nearest(length_C: Indices, image_C: Indices, n_images: int) -> Indices:
    """The reference length nearest the candidate's, the shorter of two as near (N,)."""
    image, length = image_C[n_images:], length_C[n_images:]
    order = np.lexsort([length, np.abs(length - length_C[image]), image])
    return length[order[np.flatnonzero(np.diff(image[order], prepend=-1))]]


def _scored(counts_NS: Floats, n: int) -> Scored:
    def corpus(sums: Floats) -> Floats:
        matches, guesses = sums[..., :n], sums[..., LONGEST : LONGEST + n]
        precision = ((matches + TINY) / (guesses + SMALL)).prod(axis=-1) ** (1 / n)
        ratio = (sums[..., -2] + TINY) / (sums[..., -1] + SMALL)
        return np.asarray(precision * np.exp(np.minimum(0, 1 - 1 / ratio)))

    return Scored(corpus(counts_NS), counts_NS, corpus)
