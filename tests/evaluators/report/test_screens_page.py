"""The page on screens out of hand-made inputs."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from evaluators.report.screens import SECTIONS, cards, overlay, render_screens_report, score
from evaluators.report.screens_inputs import Drawn, ScreensInputs


def row(
    suite: str, split: str, metric: str, value: float, model: str = "ours"
) -> dict[str, object]:
    about = {"suite": suite, "split": split, "metric": metric, "model": model}
    return {**about, "dataset": "held-out", "value": value, "n": 120, "standard_error": 0.01}


SCORES = [
    *(row("detection", "all classes", m, 0.5) for m in ("ap50", "ap50_95")),
    *(row("detection", "BUTTON", m, 0.25) for m in ("ap50", "ap50_95", "recall50")),
    row("detection", "what can be pressed", "ap50", 0.125, "OmniParser"),
    row("reading", "1280 x 800, English", "word f1", 0.8),
]
GOALS = {("reading", "1280 x 800, English", "word f1"): 0.85}


def test_without_inputs_every_section_says_what_it_lacks() -> None:
    page = render_screens_report(ScreensInputs("Nothing"))
    for title, why in SECTIONS.values():
        assert f"{title}: {why}." in page


def test_scores_stand_where_they_belong() -> None:
    page = render_screens_report(ScreensInputs("Some", scores=SCORES, goals=GOALS))
    assert "0.500 ± 0.010" in page and "0.125 ± 0.010" in page and "0.250 ± 0.010" in page
    assert "goal 0.85 missed" in page
    assert "Icons named: no classifier of icons was scored." in page
    HTMLParser().feed(page)


def test_cards_tell_goals() -> None:
    found = {card.label: card for card in cards(ScreensInputs("", scores=SCORES, goals=GOALS))}
    assert found["mAP@50, unseen templates"].figure == "0.500"
    assert "goal 0.85: missed" in found["word F1 of texts"].note
    assert "icons top-1, unseen families" not in found


def test_a_score_that_is_not_there_is_none() -> None:
    assert score(SCORES, "detection", "all classes", "recall50") is None


@pytest.mark.parametrize("numbered", [False, True])
def test_an_overlay_escapes_what_a_screen_says(numbered: bool) -> None:
    boxes = [Drawn("TEXT <b>&\"'", (10.0, 10.0, 20.0, 520.0), "#123456", dashed=True)]
    svg = overlay(boxes, numbered)
    assert "<title>TEXT &lt;b&gt;&amp;&quot;&#x27;</title>" in svg
    assert 'width="1"' in svg and 'height="500"' in svg and "dasharray" in svg
    assert ("</b>" in svg) is numbered
