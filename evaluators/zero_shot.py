"""Zero-shot classification with prompt ensembling, as in CLIP (arXiv 2103.00020, section 3.1.4).

A class is the name put into every template. Each prompt's embedding is L2-normalised, the mean over
templates is taken, and that mean is normalised again: one classifier row a class. An image goes to
the class of the highest cosine. Every top-k figure then follows from one number an image, the rank
of its true class.

Letters: N images, C classes, T templates, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Rate, rate

Vectors = npt.NDArray[np.float32]
IMAGES_A_BLOCK = 4096
"""Images scored at once, so that the (N, C) logits never stand in memory whole."""


def normalise(x: Vectors) -> Vectors:
    """Rows of x (..., D) at length 1. Raises ValueError on rows of length 0 or not finite."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        bad = int((~(np.isfinite(length) & (length > 0))).sum())
        raise ValueError(
            f"{bad} of {length.size} embeddings have no direction (zero, NaN or infinite)"
        )
    return np.asarray(x / length, dtype=np.float32)


def class_embeddings(
    encode_text: Callable[[list[str]], Vectors],
    class_names: Sequence[str],
    templates: Sequence[str],
) -> Vectors:
    """The classifier (C, D), rows of length 1; a template is such as "a photo of a {}"."""
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates:
        raise ValueError(
            f"templates={wrong or list(templates)}; legal: each holds {{}} once, and one or more"
        )
    if len(set(class_names)) != len(class_names):
        twice = sorted({name for name in class_names if class_names.count(name) > 1})
        raise ValueError(
            f"class names {twice[:5]} stand twice; legal: every class has its own name"
        )
    texts = [template.format(name) for name in class_names for template in templates]
    prompts_CTD = normalise(encode_text(texts)).reshape(len(class_names), len(templates), -1)
    return normalise(prompts_CTD.mean(axis=1))


def class_logits(images_ND: Vectors, classes_CD: Vectors) -> Vectors:
    """Cosines (N, C) of image embeddings with the classifier's rows."""
    return normalise(images_ND) @ classes_CD.T


def ranks(logits_NC: Vectors, labels_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Place of each row's true class, 0 the best; ties go to the lower class."""
    if labels_N.size and not 0 <= labels_N.min() <= labels_N.max() < logits_NC.shape[1]:
        raise ValueError(f"labels reach {labels_N.max()}; legal: 0 to {logits_NC.shape[1] - 1}")
    true_N1 = np.take_along_axis(logits_NC, labels_N[:, None], axis=1)
    before = np.arange(logits_NC.shape[1]) < labels_N[:, None]
    return np.asarray(((logits_NC > true_N1) | ((logits_NC == true_N1) & before)).sum(axis=1))


def top_classes(logits_NC: Vectors, k: int) -> npt.NDArray[np.int64]:
    """The k best classes (N, k), best first, ties to the lower index."""
    return np.argsort(-logits_NC, axis=1, kind="stable")[:, :k]


def top_k_accuracy(ranks_N: npt.NDArray[np.int64], k: int) -> Rate:
    """Share of images whose true class is among the k best."""
    return rate(ranks_N < k)


def zero_shot_ranks(
    images_ND: Vectors, classes_CD: Vectors, labels_N: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Ranks of the true classes, a block of images at a time."""
    blocks = range(0, len(labels_N), IMAGES_A_BLOCK)
    parts = [
        ranks(
            class_logits(images_ND[i : i + IMAGES_A_BLOCK], classes_CD),
            labels_N[i : i + IMAGES_A_BLOCK],
        )
        for i in blocks
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
