"""Zero-shot against scikit-learn's top-k accuracy and a plain loop over templates and classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from evaluators import zero_shot

rng = np.random.default_rng(0)


def hashed_text(texts: list[str]) -> np.ndarray:
    """A stand-in text encoder: a vector that depends on the text alone, of any length but 1."""
    rows = [np.random.default_rng(abs(hash(t)) % 2**32).normal(size=8) * 3 for t in texts]
    return np.array(rows, dtype=np.float32)


def test_ensemble_is_normalised_mean_of_normalised_prompts():
    names, templates = ["cat", "dog", "owl"], ["a {}.", "the big {}", "{} toy"]
    found = zero_shot.class_embeddings(hashed_text, names, templates)
    for c, name in enumerate(names):
        total = np.zeros(8)
        for template in templates:
            v = hashed_text([template.replace("{}", name)])[0].astype(np.float64)
            total += v / np.sqrt((v * v).sum())
        mean = total / len(templates)
        np.testing.assert_allclose(found[c], mean / np.sqrt((mean * mean).sum()), atol=1e-6)


def test_class_names_may_hold_braces():
    plain = zero_shot.class_embeddings(hashed_text, ["{curly}"], ["a {}"])
    np.testing.assert_allclose(plain, zero_shot.normalise(hashed_text(["a {curly}"])), atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_sklearn(k):
    logits = rng.normal(size=(300, 12)).astype(np.float32)
    labels = rng.integers(0, 12, 300)
    ours = zero_shot.top_k_accuracy(zero_shot.ranks(logits, labels), k)
    theirs = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(12))
    assert ours.value == pytest.approx(theirs, abs=1e-12)
    assert ours.n == 300


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=20))
def test_ranks_with_ties_equal_a_stable_sort(rows):
    logits = np.array(rows, dtype=np.float32)
    labels = np.arange(len(rows)) % 4
    found = zero_shot.ranks(logits, labels)
    for row, label, rank in zip(rows, labels, found, strict=True):
        by_score = sorted(range(4), key=lambda c, row=row: (-row[c], c))
        assert by_score.index(label) == rank
    np.testing.assert_array_equal(
        zero_shot.top_classes(logits, 4)[found == 0][:, 0], labels[found == 0]
    )


def test_constant_model_is_at_chance():
    labels = np.repeat(np.arange(10), 7)
    ranks = zero_shot.ranks(np.ones((70, 10), np.float32), labels)
    assert zero_shot.top_k_accuracy(ranks, 1).value == pytest.approx(0.1)


def test_blocks_give_what_one_block_gives(monkeypatch):
    images = rng.normal(size=(50, 8)).astype(np.float32)
    classes = zero_shot.normalise(rng.normal(size=(9, 8)).astype(np.float32))
    labels = rng.integers(0, 9, 50)
    whole = zero_shot.ranks(zero_shot.class_logits(images, classes), labels)
    monkeypatch.setattr(zero_shot, "IMAGES_A_BLOCK", 7)
    np.testing.assert_array_equal(zero_shot.zero_shot_ranks(images, classes, labels), whole)


def test_scale_of_embeddings_does_not_matter():
    images = rng.normal(size=(20, 8)).astype(np.float32)
    classes = zero_shot.normalise(rng.normal(size=(5, 8)).astype(np.float32))
    logits = zero_shot.class_logits(images * 17, classes)
    np.testing.assert_allclose(logits, zero_shot.class_logits(images, classes), atol=1e-6)
    assert np.abs(logits).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("names", "templates", "message"),
    [
        (["cat"], [], "templates"),
        (["cat"], ["a cat"], "a cat"),
        (["cat"], ["{} and {}"], "holds"),
        (["cat", "cat"], ["{}"], "twice"),
    ],
)
def test_bad_prompts_are_named(names, templates, message):
    with pytest.raises(ValueError, match=message):
        zero_shot.class_embeddings(hashed_text, names, templates)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_embeddings_without_direction_are_refused(bad):
    images = np.full((2, 4), bad, dtype=np.float32)
    with pytest.raises(ValueError, match="2 of 2"):
        zero_shot.normalise(images)


def test_label_outside_the_classes_is_refused():
    with pytest.raises(ValueError, match="legal: 0 to 2"):
        zero_shot.ranks(np.ones((1, 3), np.float32), np.array([3]))
