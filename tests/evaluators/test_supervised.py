"""A classifier with classes of its own, scored on a suite's, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from evaluators import supervised

rng = np.random.default_rng(5)
NAMES = [f"class {i}" for i in range(8)]


def test_same_classes_in_another_order():
    logits, labels = rng.normal(size=(200, 8)).astype(np.float32), rng.integers(0, 8, 200)
    order = rng.permutation(8)
    shuffled = [NAMES[i] for i in order]
    found = supervised.score_classifier(logits[:, order], shuffled, NAMES, labels)
    assert found["top1"].value == pytest.approx(top_k_accuracy_score(labels, logits, k=1))
    assert found["top5"].value == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    balanced = balanced_accuracy_score(labels, logits.argmax(axis=1))
    assert found["mean_per_class"].value == pytest.approx(balanced)


def test_classes_outside_the_suite_do_not_compete():
    logits = np.array(
        [[9.0, 1.0, 0.0]], np.float32
    )  # the best is a class that the suite does not have
    found = supervised.score_classifier(logits, ["other", *NAMES[:2]], NAMES[:2], np.array([0]))
    assert found["top1"].value == 1


def test_a_class_never_learnt_is_always_wrong():
    logits = np.full((2, 2), -5, np.float32)
    labels = np.array(
        [0, 1]
    )  # the classifier knows class 1 and class 2 only; class 0 has the lowest index
    found = supervised.supervised_ranks(logits, NAMES[1:3], NAMES[:3], labels)
    assert found.tolist() == [2, 0]


def test_no_class_in_common_is_refused():
    with pytest.raises(ValueError, match="no class in common"):
        supervised.align(np.ones((1, 1), np.float32), ["a"], ["b"])


def test_logits_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="legal: 3"):
        supervised.align(np.ones((1, 2), np.float32), ["a", "b", "c"], ["a"])
