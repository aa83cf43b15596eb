"""CapFilt's page: figures as given, words that follow from them, nothing fetched, all escaped."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from evaluators.pair_filter import Curve, curve, score_filter
from evaluators.report.capfilt import SECTIONS, render_capfilt
from evaluators.report.capfilt_charts import found_chart, kept_chart
from evaluators.report.capfilt_inputs import (
    Block,
    CapFiltInputs,
    CaptionTable,
    Example,
    KeptShares,
    MetricLine,
    ShownText,
    Swaps,
)
from evaluators.report.capfilt_words import cards, figure, summary
from evaluators.report.inputs import Run, Stage
from evaluators.statistics import Interval

VOID = {"meta", "img", "br"}


class Balanced(HTMLParser):
    """Tags must balance; addresses and ids are kept."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [str(found[key]) for key in ("src", "href") if key in found]
        self.ids += [str(found["id"])] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return None

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def between(value: float, low: float, high: float) -> Interval:
    return Interval(value, low, high, (high - low) / 4)


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 30), "teal").save(out, "png")
    return out.getvalue()


def swaps() -> Swaps:
    rng = np.random.default_rng(0)
    wrong = rng.random(200) < 0.3
    probability = np.where(wrong, 0.2, 0.7) + rng.normal(0, 0.15, 200)
    whole = curve(-probability, wrong)
    flipped = (-whole.thresholds, whole.precision, whole.recall, whole.kept)
    under = float(np.nextafter(-0.5, math.inf))
    return Swaps(
        Curve(*(column[::-1] for column in flipped)),
        score_filter(-probability, wrong, threshold=under),
        0.05,
    )


def captions(difference: Interval) -> CaptionTable:
    cells = [between(0.3, 0.2, 0.4), between(0.5, 0.4, 0.6)]
    nan = [between(0.1, math.nan, math.nan)] * 2
    lines = [MetricLine("CIDEr", cells, difference), MetricLine("distinct-1", nan)]
    return CaptionTable("Beside the web's", 81, ["captions", "web texts"], lines, compares=True)


@pytest.fixture
def inputs() -> CapFiltInputs:
    steps = np.linspace(0, 1, 11)
    shares = (between(0.5, 0.4, 0.6), between(0.75, 0.7, 0.8))
    shown = ShownText("a <b>red</b> house", "web", 0.912, -0.25, "kept")
    other = ShownText("a house", "synthetic", 0.1, math.nan, "synthetic_unmatched")
    return CapFiltInputs(
        title="A <small> report",
        threshold=0.5,
        by="probability",
        swaps=swaps(),
        kept=KeptShares(steps, 1 - steps, 1 - steps**2, 1234, 99, *shares),
        captions=[captions(between(-0.2, -0.3, -0.1))],
        retrieval={"image_to_text_r1": between(0.123, 0.1, 0.15)},
        funnel=[
            Stage("Web", 1234, "texts"),
            Stage("Filter", 700, "texts", dropped={"web_unmatched": 534}),
        ],
        blocks=[
            Block("Web texts kept", [Example(png(), shown, other)], [Example(None, shown)], 617),
            Block("Written captions dropped", [], [], 0),
        ],
        runs=[Run("Filter", [{"step": float(s), "loss": 3.0 / s} for s in range(1, 9)])],
        config={"seed": 7},
        commands=["sightmill capfilt"],
    )


def test_a_whole_page_asks_nobody_and_says_what_it_lacks(inputs: CapFiltInputs) -> None:
    page = render_capfilt(inputs)
    found = Balanced(page)
    assert all(a.startswith(("data:image/webp;", "#")) for a in found.addresses)
    assert "<b>red</b>" not in page and "a &lt;b&gt;red&lt;/b&gt; house" in page
    assert "A &lt;small&gt; report" in page
    assert set(SECTIONS) - {"lineage"} <= set(found.ids) and "lineage" not in found.ids
    assert "Lineage: no manifests were given." in page
    assert "probability 0.912, cosine \u22120.25" in page and "probability 0.100</span>" in page
    assert "12.3\u202f%" in page and "1,234" in page and "no picture" in page


def test_an_empty_report_is_a_page_too() -> None:
    page = render_capfilt(CapFiltInputs("Nothing", 0.5, "probability"))
    Balanced(page)
    assert all(f"{title}: {why}." in page for title, why in SECTIONS.values())


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (between(-0.2, -0.3, -0.1), "are worse than the web's texts"),
        (between(0.2, 0.1, 0.3), "are better than the web's texts"),
        (between(0.2, -0.1, 0.5), "neither is shown to be better"),
    ],
)
def test_which_captions_are_better_is_said_by_the_interval(
    inputs: CapFiltInputs, difference: Interval, words: str
) -> None:
    said = " ".join(summary(replace(inputs, captions=[captions(difference)])))
    assert words in said
    others = {"are worse than", "are better than", "neither is shown"}
    assert sum(other in said for other in others) == 1


def test_cards_show_the_figures_given(inputs: CapFiltInputs) -> None:
    found = {card.label: card.figure for card in cards(inputs)}
    score = swaps().score
    assert found["average precision on swaps"] == f"{score.average_precision.value:.3f}"
    assert found["CIDEr of written captions"] == "0.300" and found["CIDEr of web texts"] == "0.500"
    assert found["of web texts kept"] == "50.0\u202f%"


def test_a_filter_no_better_than_guessing_is_called_so(inputs: CapFiltInputs) -> None:
    blind = swaps()
    average = between(0.31, 0.25, 0.4)
    blind = replace(blind, score=replace(blind.score, average_precision=average))
    said = "not told apart from guessing"
    assert said in summary(replace(inputs, swaps=blind))[0]
    assert said not in summary(inputs)[0]


def test_a_filter_that_drops_nothing_has_no_precision(inputs: CapFiltInputs) -> None:
    idle = swaps()
    nothing = between(math.nan, math.nan, math.nan)
    idle = replace(idle, score=replace(idle.score, precision=nothing), noise_left=0.3)
    page = render_capfilt(replace(inputs, swaps=idle))
    assert "it drops none of them" in page
    assert re.search(r"\bnan\b", re.sub(r'"data:[^"]*"', "", page)) is None


def test_curves_go_through_their_points(inputs: CapFiltInputs) -> None:
    assert inputs.kept is not None
    drawn = kept_chart(inputs.kept, 0.5, "probability")
    x0, x1, y0, y1 = 54.0, 446.0, 276.0, 14.0
    middle = f"{(x0 + x1) / 2:.1f},{y0 + 0.5 * (y1 - y0):.1f}"
    assert middle in drawn  # half of the web's texts at 0.5
    assert f"{(x0 + x1) / 2:.1f},{y0 + 0.75 * (y1 - y0):.1f}" in drawn
    assert f'x1="{(x0 + x1) / 2:.1f}"' in drawn  # the rule
    assert "threshold of similarity" in found_chart(swaps(), 0.1, "similarity")


def test_figures_in_words() -> None:
    assert (
        figure(between(-0.0001, 0, 0)) == "0.000" and figure(between(-0.5, 0, 0)) == "\u22120.500"
    )
    assert figure(between(math.nan, 0, 0)) == "unknown"
