"""The linear probe beside scikit-learn's logistic regression: same features, same C."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evaluators.logistic import COARSE, FINE, fit, search, sweep
from evaluators.zero_shot import normalise


def features(n: int, seed: int, classes: int = 6, width: int = 16):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    labels = rng.integers(0, classes, n)
    return (centres[labels] + 1.3 * rng.normal(size=(n, width))).astype(np.float32), labels


@pytest.mark.parametrize("c", [0.01, 0.316, 10.0, 1000.0])
def test_predictions_and_accuracy_are_scikit_learns(c):
    x, y = features(600, 0)
    asked, truth = features(2000, 1)
    theirs = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(normalise(x), y)
    ours = fit(x, y, 6, c)
    probabilities = ours.logits(asked).astype(np.float64)
    probabilities = np.exp(probabilities - probabilities.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, theirs.predict_proba(normalise(asked)), atol=2e-3)
    accuracy = (probabilities.argmax(axis=1) == truth).mean()
    assert accuracy == pytest.approx(theirs.score(normalise(asked), truth), abs=0.002)


def test_a_class_without_an_image_is_never_answered():
    x, y = features(200, 0)
    found = fit(x[y != 3], y[y != 3], 6, 1.0)
    assert not (found.logits(x).argmax(axis=1) == 3).any()
    assert np.isneginf(found.logits(x)[:, 3]).all()


def test_the_sweep_finds_the_peak_to_an_eighth_of_a_decade():
    for peak in (-5.0, -1.3, 0.0, 2.7, 5.9):
        asked = []

        def accuracy(c, peak=peak, asked=asked):
            asked.append(c)
            return -abs(np.log10(c) - peak)

        found = np.log10(sweep(accuracy))
        assert abs(found - peak) <= FINE
        assert len(asked) == len(set(asked)) <= len(COARSE) + 8  # of the paper's 96


def test_the_search_is_no_worse_than_any_coarse_value():
    x, y = features(120, 0)
    val, truth = features(500, 2)
    best = search(x, y, val, truth, 6)

    def accuracy(c):
        return (fit(x, y, 6, c).logits(val).argmax(axis=1) == truth).mean()

    assert accuracy(best) >= max(accuracy(10.0**e) for e in COARSE) - 0.004


def test_what_cannot_be_fitted_is_refused():
    x, y = features(10, 0)
    with pytest.raises(ValueError, match="c > 0"):
        fit(x, y, 6, 0.0)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        fit(x, y, 3, 1.0)
