"""Calibration error and reliability bins, beside a loop over the items."""

import numpy as np
import pytest

from evaluators.calibration import calibration_error, reliability


def slow(confidence, hit, bins):
    total = 0.0
    for b in range(bins):
        inside = [
            i
            for i, c in enumerate(confidence)
            if (b / bins < c <= (b + 1) / bins) or (b == 0 and c == 0)
        ]
        if inside:
            gap = np.mean([hit[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            total += len(inside) / len(confidence) * abs(gap)
    return total


def test_the_error_is_the_loops():
    rng = np.random.default_rng(0)
    for bins in (1, 7, 15):
        confidence = rng.random(300)
        hit = rng.random(300) < confidence**2
        found = calibration_error(confidence, hit, bins)
        assert found.value == pytest.approx(slow(confidence, hit, bins), abs=1e-12)
        assert found.n == 300 and 0 < found.standard_error < 0.1


def test_a_model_that_is_as_right_as_it_says_has_none():
    confidence = np.repeat([0.25, 0.75], 400)
    hit = np.tile([True, False, False, False], 100).tolist() + [True, True, True, False] * 100
    assert calibration_error(confidence, np.array(hit)).value == pytest.approx(0, abs=1e-12)


def test_bins_hold_every_item_once():
    confidence = np.array([0.0, 0.1, 0.2, 0.2001, 1.0])
    bins = reliability(confidence, np.array([0, 1, 1, 0, 1], bool), 5)
    assert [one.n for one in bins] == [3, 1, 0, 0, 1]
    assert bins[0].accuracy == pytest.approx(2 / 3) and np.isnan(bins[2].accuracy)


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(ValueError, match="legal: 0 to 1"):
        calibration_error(np.array([3.0]), np.array([True]))
