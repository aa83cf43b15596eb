"""Metrics over the order of scores, beside scikit-learn's and a plain reading of VOC's rule."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluators.ranking import average_precision, average_precision_11, roc_auc


def cases():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 200):
        for levels in (2, 5, 1000):  # few levels: many ties
            scores = rng.integers(0, levels, n) / levels
            positive = rng.random(n) < 0.4
            positive[0], positive[-1] = True, False
            yield scores, positive


def test_area_under_the_curve_is_scikit_learns():
    for scores, positive in cases():
        assert roc_auc(scores, positive).value == pytest.approx(
            roc_auc_score(positive, scores), abs=1e-12
        )


def test_its_error_is_the_spread_of_samples():
    rng = np.random.default_rng(1)

    def sample():
        positive = np.arange(120) < 50
        return roc_auc(rng.normal(positive * 1.0, 1), positive)

    found = [sample() for _ in range(400)]
    spread = np.std([one.value for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.15)


def test_one_kind_alone_is_refused():
    with pytest.raises(ValueError, match="0 negatives"):
        roc_auc(np.array([0.1, 0.2]), np.array([True, True]))


def test_average_precision_is_scikit_learns():
    for scores, positive in cases():
        expected = average_precision_score(positive, scores)
        assert average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(average_precision(np.ones(3), np.zeros(3, bool)))


def test_voc_average_precision_is_the_rule_read_plainly():
    for scores, positive in cases():
        total, best_at = positive.sum(), []
        for level in range(11):
            best = 0.0
            for threshold in np.unique(scores):
                taken = scores >= threshold
                recall = (taken & positive).sum() / total
                if recall >= level / 10 - 1e-12:
                    best = max(best, (taken & positive).sum() / taken.sum())
            best_at.append(best)
        assert average_precision_11(scores, positive) == pytest.approx(np.mean(best_at))
