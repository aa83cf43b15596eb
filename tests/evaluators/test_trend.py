"""The line of standard models against numpy's least squares, and what it says of itself."""

import numpy as np
import pytest
from scipy.special import expit, logit

from evaluators import trend

rng = np.random.default_rng(3)


def test_fit_equals_lstsq_on_logits():
    x = rng.uniform(0.1, 0.9, 12)
    y = expit(0.8 * logit(x) - 0.5 + rng.normal(0, 0.1, 12))
    found = trend.fit_trend(x.tolist(), y.tolist())
    design = np.stack([logit(x), np.ones(12)], axis=1)
    slope, intercept = np.linalg.lstsq(design, logit(y), rcond=None)[0]
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))
    assert found.predict(0.5) == pytest.approx(expit(intercept))


def test_points_on_a_line_are_foretold_exactly():
    x = np.array([0.2, 0.5, 0.7])
    line = trend.fit_trend(x.tolist(), expit(0.9 * logit(x) - 1).tolist())
    assert line.predict(0.9) == pytest.approx(expit(0.9 * logit(0.9) - 1))


def test_one_model_gives_slope_one_through_it():
    line = trend.fit_trend([0.4], [0.2])
    assert line.slope == 1
    assert line.predict(0.4) == pytest.approx(0.2)


def test_rows_are_fitted_apart():
    x, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    slope, intercept = trend.least_squares(x, y)
    for r in range(5):
        assert (slope[r], intercept[r]) == pytest.approx(tuple(np.polyfit(x[r], y[r], 1)))


def test_doubts():
    line = trend.fit_trend([0.3, 0.5, 0.7], [0.2, 0.3, 0.5])
    assert line.doubts(0.6) == ()
    assert "extrapolated" in line.doubts(0.8)[0]
    assert "extrapolated" in line.doubts(0.1)[0]
    two = trend.fit_trend([0.3, 0.5], [0.2, 0.3])
    assert "2 standard models" in two.doubts(0.4)[0]
    assert any("slope 1" in doubt for doubt in trend.fit_trend([0.3, 0.3], [0.2, 0.4]).doubts(0.3))


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([0.0], [0.5]), ([0.5], [1.0]), ([0.5], [0.5, 0.6])]
)
def test_what_has_no_logit_is_refused(x, y):
    with pytest.raises(ValueError, match="legal"):
        trend.fit_trend(x, y)
