"""Scoring a classifier with classes of its own, next to zero-shot models, on a suite's classes.

A supervised baseline may know fewer classes than the suite, more, or the same in another order.
Classes are joined by name. Its classes that the suite does not have are left out of the contest, as
for ImageNet-R; a suite class that it never learnt scores below all others, so that pictures of it
count as wrong: a classifier cannot open its mouth about what it was not taught, and saying so is
the point of the comparison.

Letters: N images, C the suite's classes, B the classifier's own classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluators.statistics import Rate, mean_per_class
from evaluators.zero_shot import Vectors, ranks, top_k_accuracy

NEVER_LEARNT = np.float32(-np.inf)


def align(logits_NB: Vectors, own_classes: Sequence[str], suite_classes: Sequence[str]) -> Vectors:
    """Logits in the order of the suite's classes (N, C); -inf for a class it never learnt.

    Raises:
        ValueError: logits that do not fit `own_classes`, or no class in common.
    """
    if logits_NB.shape[1] != len(own_classes):
        raise ValueError(
            f"logits have {logits_NB.shape[1]} columns; legal: {len(own_classes)}, one a class"
        )
    column = {name: index for index, name in enumerate(own_classes)}
    source = np.array([column.get(name, -1) for name in suite_classes], dtype=np.int64)
    if not (source >= 0).any():
        raise ValueError(
            f"no class in common: {list(own_classes)[:3]}... and {list(suite_classes)[:3]}..."
        )
    aligned = logits_NB[:, source]
    aligned[:, source < 0] = NEVER_LEARNT
    return aligned


def supervised_ranks(
    logits_NB: Vectors,
    own_classes: Sequence[str],
    suite_classes: Sequence[str],
    labels_N: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Place of each image's true class (N,), 0 the best; a class never learnt comes last."""
    aligned = align(logits_NB, own_classes, suite_classes)
    unknown = np.isneginf(np.take_along_axis(aligned, labels_N[:, None], axis=1))[:, 0]
    return np.where(unknown, len(suite_classes) - 1, ranks(aligned, labels_N))


def score_classifier(
    logits_NB: Vectors,
    own_classes: Sequence[str],
    suite_classes: Sequence[str],
    labels_N: npt.NDArray[np.int64],
) -> dict[str, Rate]:
    """top1, top5 and mean_per_class of a classifier on N labelled images."""
    found = supervised_ranks(logits_NB, own_classes, suite_classes, labels_N)
    return {
        "top1": top_k_accuracy(found, 1),
        "top5": top_k_accuracy(found, 5),
        "mean_per_class": mean_per_class(found < 1, labels_N),
    }
