"""Screens scored, against plain loops, scipy's matching and every possible pairing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from evaluators.screens import (
    Counts,
    Found,
    annotation_f1,
    iou,
    maximum_matching,
    navigation,
    pair,
)

SPAN = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)
BOX = st.tuples(SPAN, SPAN).map(lambda spans: (*spans[0], *spans[1]))
ELEMENTS = st.lists(st.tuples(st.sampled_from(["TEXT", "BUTTON"]), BOX), max_size=5)


def cells(box: tuple[int, ...]) -> set[tuple[int, int]]:
    """The unit squares of a box."""
    return set(itertools.product(range(box[0], box[1]), range(box[2], box[3])))


def plain_iou(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    union = cells(one) | cells(other)
    return len(cells(one) & cells(other)) / len(union) if union else float(one == other)


def most_pairs(
    predicted: list[Found], true: list[Found], threshold: float, same_class: bool
) -> int:
    """The best of all ways to pair."""
    short, long = sorted([predicted, true], key=len)
    return max(
        sum(
            plain_iou(a[1], b[1]) >= threshold and (not same_class or a[0] == b[0])
            for a, b in zip(short, chosen, strict=True)
        )
        for chosen in itertools.permutations(long, len(short))
    )


@given(st.lists(BOX, max_size=4), st.lists(BOX, max_size=4))
def test_iou_equals_counting_squares(ours: list[tuple], theirs: list[tuple]) -> None:
    found = iou(ours, theirs)
    assert found.shape == (len(ours), len(theirs))
    for p, t in itertools.product(range(len(ours)), range(len(theirs))):
        assert found[p, t] == pytest.approx(plain_iou(ours[p], theirs[t]), abs=1e-12)


@given(ELEMENTS, ELEMENTS, st.sampled_from([0.1, 0.5, 0.75]), st.booleans())
def test_pairs_are_legal_and_as_many_as_can_be(
    predicted: list[Found], true: list[Found], threshold: float, same_class: bool
) -> None:
    pairs = pair(predicted, true, threshold, same_class)
    for side in zip(*pairs, strict=True):
        assert len(set(side)) == len(side)
    for p, t in pairs:
        assert plain_iou(predicted[p][1], true[t][1]) >= threshold - 1e-12
        assert predicted[p][0] == true[t][0] or not same_class
    assert len(pairs) == most_pairs(predicted, true, threshold, same_class)


@pytest.mark.parametrize("seed", range(6))
def test_large_matchings_are_as_large_as_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (int(n) for n in rng.integers(1, 300, 2))
    fits = rng.random((left, right)) < rng.choice([0.003, 0.01, 0.03])
    pairs = maximum_matching([np.flatnonzero(row).tolist() for row in fits], right)
    theirs = maximum_bipartite_matching(csr_matrix(fits), perm_type="column")
    assert len(pairs) == int((theirs >= 0).sum())
    assert all(fits[p, t] for p, t in pairs)
    assert len({p for p, _ in pairs}) == len({t for _, t in pairs}) == len(pairs)


def test_a_greedy_choice_would_pair_fewer() -> None:
    true = [("TEXT", (0, 10, 0, 10)), ("TEXT", (0, 10, 6, 16))]
    predicted = [("TEXT", (0, 10, 2, 12)), ("TEXT", (0, 10, 0, 4))]
    assert iou([predicted[0][1]], [true[0][1]])[0, 0] > iou([predicted[0][1]], [true[1][1]])[0, 0]
    assert pair(predicted, true, 0.1) == [(0, 1), (1, 0)]


@given(st.lists(st.tuples(ELEMENTS, ELEMENTS), min_size=1, max_size=4), st.booleans())
def test_f1_equals_precision_and_recall_over_all_elements(
    screens: list[tuple[list[Found], list[Found]]], same_class: bool
) -> None:
    found = annotation_f1(screens, 0.5, same_class, resamples=10)
    pairs = sum(most_pairs(ours, theirs, 0.5, same_class) for ours, theirs in screens)
    predicted, true = (sum(len(s[side]) for s in screens) for side in (0, 1))
    assert found.counts == Counts(pairs, predicted, true) and found.screens == len(screens)
    if pairs:
        p, r = pairs / predicted, pairs / true
        assert (found.counts.precision, found.counts.recall) == (p, r)
        assert found.f1.value == pytest.approx(2 * p * r / (p + r))
    else:
        assert found.f1.value == 0 if predicted + true else math.isnan(found.f1.value)
    if same_class:
        columns = zip(
            *((c.pairs, c.predicted, c.true) for c in found.by_class.values()), strict=True
        )
        totals = tuple(map(sum, columns)) or (0, 0, 0)
        assert totals == (pairs, predicted, true)
    else:
        assert found.by_class == {}


def test_two_predictions_of_one_element_count_once_and_classes_matter() -> None:
    box = (0, 10, 0, 10)
    screens = [([("TEXT", box), ("BUTTON", box)], [("TEXT", box)])]
    assert annotation_f1(screens).by_class == {"TEXT": Counts(1, 1, 1), "BUTTON": Counts(0, 1, 0)}
    wrong = [([("BUTTON", box)], [("TEXT", box)])]
    assert annotation_f1(wrong).f1.value == 0
    assert annotation_f1(wrong, same_class=False).f1.value == 1


def test_the_error_is_that_of_drawing_screens() -> None:
    """Screens of one element are right or wrong: F1 is an accuracy, and its error binomial."""
    box, other = (0, 10, 0, 10), (50, 60, 50, 60)
    screens = [([("TEXT", box if n % 4 else other)], [("TEXT", box)]) for n in range(200)]
    found = annotation_f1(screens, resamples=4000)
    assert found.f1.value == 0.75
    assert found.f1.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 200), rel=0.05)
    assert found.f1.low < 0.75 < found.f1.high
    assert found == annotation_f1(screens, resamples=4000)


def test_no_screens() -> None:
    found = annotation_f1([])
    assert found.screens == 0 and math.isnan(found.f1.value)
    assert math.isnan(found.counts.precision) and math.isnan(found.counts.recall)


@given(st.lists(st.tuples(st.one_of(st.none(), BOX), BOX), min_size=1, max_size=6))
def test_navigation_equals_a_plain_loop(asked: list[tuple]) -> None:
    found = navigation([ours for ours, _ in asked], [theirs for _, theirs in asked])
    hits = overlaps = 0
    for ours, (x0, x1, y0, y1) in asked:
        if ours is not None:
            x, y = np.mean(ours[:2]), np.mean(ours[2:])
            hits += x0 <= x <= x1 and y0 <= y <= y1
            overlaps += plain_iou(ours, (x0, x1, y0, y1)) >= 0.1
    assert found.centre.value == pytest.approx(hits / len(asked))
    assert found.overlap.value == pytest.approx(overlaps / len(asked))
    assert found.unanswered == sum(ours is None for ours, _ in asked)
    assert found.centre.n == found.overlap.n == len(asked)


def test_navigation_wants_an_answer_or_none_for_each() -> None:
    with pytest.raises(ValueError, match="1 predicted, 2 true"):
        navigation([None], [(0, 1, 0, 1)] * 2)
