"""Precision, recall and average precision against scikit-learn; intervals against plain draws."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from evaluators import pair_filter
from evaluators.pair_filter import curve, score_filter


def drawn(seed, pairs, levels=None, share=0.4):
    rng = np.random.default_rng(seed)
    labels = rng.random(pairs) < share
    labels[0] = True
    scores = rng.normal(size=pairs) + labels
    return (scores if levels is None else np.round(scores * levels) / levels), labels


@pytest.mark.parametrize(
    ("seed", "pairs", "levels", "share"),
    [(0, 500, None, 0.4), (1, 300, 2, 0.1), (2, 40, 1, 0.9), (3, 1, None, 1.0), (4, 60, 3, 0.0)],
)
def test_curve_equals_scikit_learn(seed, pairs, levels, share):
    scores, labels = drawn(seed, pairs, levels, share)
    found = curve(scores, labels)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(found.thresholds, thresholds, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.precision, precision[:-1], atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.recall, recall[:-1], atol=1e-9, rtol=0)
    theirs = average_precision_score(labels, scores)
    assert found.average_precision == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_best_threshold_has_the_best_f1(seed):
    scores, labels = drawn(seed, 200, levels=4)
    best = curve(scores, labels).best_threshold()
    by_hand = {t: f1_score(labels, scores >= t) for t in np.unique(scores)}
    assert by_hand[best] == pytest.approx(max(by_hand.values()), abs=1e-9)
    found = score_filter(scores, labels, resamples=10)
    assert found.threshold == best
    assert found.f1.value == pytest.approx(by_hand[best], abs=1e-9)


def test_threshold_for_a_precision_keeps_the_most():
    scores, labels = np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True])
    found = curve(scores, labels)
    assert found.threshold_for(0.6) == pytest.approx(0.2)
    assert found.threshold_for(1.0) == pytest.approx(0.4)
    assert found.kept.tolist() == [1, 0.75, 0.5, 0.25]
    with pytest.raises(ValueError, match=r"at most 0\.5"):
        curve(scores, ~labels & (scores > 0.15)).threshold_for(0.9)


def test_recall_may_weigh_more():
    scores, labels = drawn(5, 400)
    found = curve(scores, labels)
    assert found.best_threshold(beta=3) < found.best_threshold() < found.best_threshold(beta=0.3)


@pytest.mark.parametrize("block", [3, 64])
def test_intervals_draw_whole_images(monkeypatch, block):
    monkeypatch.setattr(pair_filter, "RESAMPLES_A_BLOCK", block)
    scores, labels = drawn(7, 90, levels=5)
    images = np.repeat([f"image {i}" for i in range(30)], 3)
    found = score_filter(scores, labels, images, threshold=0.5, resamples=20, seed=3)
    weights = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), size=20)
    names = np.unique(images)
    average, precision, recall, best = [], [], [], []
    for row in weights:
        take = np.concatenate(
            [np.flatnonzero(images == names[g]) for g in np.repeat(range(30), row)]
        )
        s, y = scores[take], labels[take]
        average.append(average_precision_score(y, s))
        precision.append(y[s >= 0.5].mean())
        recall.append((s[y] >= 0.5).mean())
        best.append(curve(s, y).best_threshold())
    for interval, draws in (
        (found.average_precision, average),
        (found.precision, precision),
        (found.recall, recall),
        (found.best_threshold, best),
    ):
        assert (interval.low, interval.high) == pytest.approx(
            tuple(np.percentile(draws, [2.5, 97.5])), abs=1e-9
        )


def test_images_drawn_whole_are_less_sure_than_pairs():
    rng = np.random.default_rng(0)
    of_image = rng.random(60) < 0.5  # an image's ten texts are right or wrong together
    labels = np.repeat(of_image, 10)
    scores = labels + np.repeat(rng.normal(size=60), 10) + 0.01 * rng.normal(size=600)
    by_image = score_filter(scores, labels, np.repeat(np.arange(60), 10), seed=1)
    by_pair = score_filter(scores, labels, seed=1)
    assert by_image.average_precision.value == by_pair.average_precision.value
    errors = [f.average_precision.standard_error for f in (by_image, by_pair)]
    assert errors[0] > 2 * errors[1]
    assert (by_pair.pairs, by_pair.matching) == (600, int(labels.sum()))


def test_nothing_kept_has_no_precision():
    scores, labels = drawn(1, 50)
    found = score_filter(scores, labels, threshold=99.0, resamples=20)
    assert np.isnan(found.precision.value) and found.recall.value == 0 and found.f1.value == 0


@pytest.mark.parametrize(
    ("scores", "labels", "told"),
    [
        (np.ones(3), np.ones(2, bool), "legal"),
        (np.ones(3), np.ones(3, int), "bool"),
        (np.array([1, np.nan]), np.ones(2, bool), "score 1 is not finite"),
        (np.ones(3), np.zeros(3, bool), "none of 3 pairs"),
    ],
)
def test_wrong_input_is_refused(scores, labels, told):
    with pytest.raises(ValueError, match=told):
        curve(scores, labels)


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="one a score"):
        score_filter(np.ones(3), np.ones(3, bool), groups=["a", "b"])
