"""Robustness against a plain bootstrap that draws concepts one by one and refits with polyfit."""

import numpy as np
import pytest
from scipy.special import expit, logit

from evaluators.robustness import Outcome, robustness

rng = np.random.default_rng(4)
K = 120


def simulated(name, p_id, p_shift, difficulty):
    """One picture a concept and side; a hard concept is hard on both sides and for every model."""
    id_hits = (difficulty < p_id).astype(float)
    shift_hits = ((difficulty + rng.normal(0, 0.1, K)) < p_shift).astype(float)
    return Outcome(name, id_hits, np.ones(K), shift_hits, np.ones(K))


def models():
    difficulty = rng.random(K)
    points = [("small", 0.3, 0.15), ("middle", 0.5, 0.3), ("large", 0.7, 0.5), ("clip", 0.6, 0.55)]
    return [simulated(name, a, b, difficulty) for name, a, b in points]


def plain(model, standard, chosen):
    """(gap, rho) over the chosen concepts, duplicates and all."""
    acc = {
        m.model: (m.id_hits[chosen].mean(), m.shift_hits[chosen].mean()) for m in (model, *standard)
    }
    clipped = {name: np.clip(pair, 0.5 / K, 1 - 0.5 / K) for name, pair in acc.items()}
    x, y = np.array([clipped[m.model] for m in standard]).T
    slope, intercept = np.polyfit(logit(x), logit(y), 1)
    ours = clipped[model.model]
    gap = acc[model.model][0] - acc[model.model][1]
    return gap, ours[1] - expit(slope * logit(ours[0]) + intercept)


def test_figures_and_intervals_equal_the_plain_bootstrap():
    *standard, clip = models()
    found = robustness(clip, standard, seed=0, resamples=3000)
    gap, rho = plain(clip, standard, np.arange(K))
    assert found.gap.value == pytest.approx(gap)
    assert found.effective is not None
    assert found.effective.value == pytest.approx(rho)
    draws = np.array([plain(clip, standard, rng.integers(0, K, K)) for _ in range(3000)])
    for one, column in ((found.gap, draws[:, 0]), (found.effective, draws[:, 1])):
        low, high = np.percentile(column, [2.5, 97.5])
        assert (one.low, one.high) == pytest.approx((low, high), abs=0.02)
        assert one.standard_error == pytest.approx(column.std(), rel=0.1)
    assert rho > 0.1
    assert found.effective.low > 0  # a model built to lie above the line is seen to


def test_pairing_by_concept_is_narrower_than_two_samples():
    *_, clip = models()
    found = robustness(clip, [], resamples=2000)
    apart = np.hypot(found.acc_id.standard_error, found.acc_shift.standard_error)
    assert found.gap.standard_error < 0.8 * apart


def test_relative_robustness_is_against_each_standard_model():
    *standard, clip = models()
    found = robustness(clip, standard, resamples=200)
    assert set(found.relative) == {"small", "middle", "large"}
    expected = clip.shift_hits.mean() - standard[0].shift_hits.mean()
    assert found.relative["small"].value == pytest.approx(expected)
    assert set(robustness(standard[0], standard, resamples=50).relative) == {"middle", "large"}


def test_several_pictures_a_concept_weigh_as_pictures():
    one = Outcome(
        "m", np.array([2.0, 0]), np.array([4.0, 1]), np.array([1.0, 1]), np.array([1.0, 2])
    )
    found = robustness(one, [], resamples=10)
    assert found.acc_id.value == pytest.approx(2 / 5)
    assert found.acc_shift.value == pytest.approx(2 / 3)


def test_doubts_travel_with_the_figure():
    *standard, clip = models()
    assert robustness(clip, standard, resamples=10).doubts == ()
    assert "rests on 2" in robustness(clip, standard[:2], resamples=10).doubts[0]
    alone = robustness(clip, [], resamples=10)
    assert alone.effective is None
    assert "no standard model" in alone.doubts[0]


def test_perfect_and_hopeless_models_have_finite_figures():
    perfect = Outcome("perfect", np.ones(9), np.ones(9), np.ones(9), np.ones(9))
    hopeless = Outcome("hopeless", np.zeros(9), np.ones(9), np.zeros(9), np.ones(9))
    found = robustness(perfect, [hopeless], resamples=20)
    assert found.effective is not None
    assert np.isfinite([found.effective.value, found.effective.low, found.gap.value]).all()
    assert found.gap.value == 0


def test_same_seed_same_interval():
    *standard, clip = models()
    assert robustness(clip, standard, 7, 100) == robustness(clip, standard, 7, 100)
    assert robustness(clip, standard, 7, 100) != robustness(clip, standard, 8, 100)


def test_models_over_different_concepts_are_refused():
    *_, clip = models()
    other = Outcome("other", np.ones(3), np.ones(3), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="'other': 3"):
        robustness(clip, [other])
