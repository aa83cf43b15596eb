"""Figures into words."""

import dataclasses

import pytest

from evaluators.report import wording
from evaluators.report.inputs import ReportInputs
from evaluators.statistics import Interval


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.4, "4 s"), (59.6, "1 min"), (65, "1 min 5 s"), (600, "10 min"), (3700, "1 h 1 min")],
)
def test_durations(seconds, words):
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("difference", "words"),
    [(0.123, "+12.3"), (-0.05, "−5.0"), (0.0, "0.0"), (-0.0001, "0.0"), (1, "+100.0")],
)
def test_points(difference, words):
    assert wording.points(difference) == words


@pytest.mark.parametrize(
    ("rate", "words"), [(0.2144, "21.4 %"), (0.00065, "0.07 %"), (0.0, "0.0 %"), (1.0, "100.0 %")]
)
def test_percents(rate, words):
    assert wording.percent(rate).replace("\u202f", " ") == words


def test_unknown_interval_is_called_so():
    nan = float("nan")
    assert wording.span(Interval(0.1, nan, nan, nan)) == "unknown"


def test_two_sentences_with_their_figures(inputs):
    first, second = (s.replace("\u202f", " ") for s in wording.summary(inputs))
    assert first == (
        "1,000 pages became 250 images; CLIP names 25.0 % (± 1.1 %) of 1,500 unseen pictures right "
        "zero-shot, 250 times what guessing gives."
    )
    ours = inputs.shifts[0].models[0]
    assert f"changes by {wording.points(-ours.gap.value)} points" in second
    assert "that of supervised by" in second
    assert second.endswith("to be read with care).")


def test_headline_chooses_the_figure_and_its_shift(inputs):
    rows = [dict(r, dataset="other") for r in inputs.scores[:3]]
    shift = dataclasses.replace(inputs.shifts[0], shifted="other")
    more = dataclasses.replace(
        inputs,
        scores=[*inputs.scores, *rows],
        shifts=[*inputs.shifts, shift],
        headline=("concepts", "other", "all"),
    )
    assert wording.headline(more)[0]["dataset"] == "other"
    assert wording.headline_shift(more)[0].shifted == "other"
    assert wording.headline(inputs)[0]["dataset"] == "unseen"


def test_what_was_not_measured_is_not_mentioned():
    empty = ReportInputs(title="x", model="CLIP")
    assert wording.summary(empty) == []
    assert list(wording.cards(empty)) == []


def test_a_gain_under_shift_is_said_as_one(inputs):
    shift = inputs.shifts[0]
    ours = dataclasses.replace(shift.models[0], gap=Interval(-0.05, -0.1, -0.01, 0.02))
    turned = dataclasses.replace(shift, models=[ours])
    found = dataclasses.replace(inputs, shifts=[turned])
    assert "changes by +5.0 points (95 % interval +1.0 to +10.0)" in wording.summary(found)[
        1
    ].replace("\u202f", " ")
