"""The ablation: t-intervals against scipy's, pairing by seed, and sentences that follow."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from scipy import stats

from evaluators.report.ablation import (
    CAPFILT,
    AblationInputs,
    Outcome,
    ablation_csv,
    ablation_json,
    columns,
    differences,
    render_ablation,
    statements,
    t_interval,
)


def outcomes() -> list[Outcome]:
    """`filter` gains a steady 0.1 in CIDEr over `none`, whatever the seed; R@1 is noise."""
    rng = np.random.default_rng(3)
    found = []
    for seed, level in enumerate((0.2, 0.5, 0.8)):
        r1 = 0.1 + 0.001 * rng.random(2)
        for place, name in enumerate(("none", "filter")):
            cider = level + 0.1 * place + 0.001 * seed * place
            metrics = {"image_to_text_r1": float(r1[place]), "CIDEr": cider, "corpus_texts": 1500.0}
            found.append(Outcome(name, seed, metrics))
    return found


def test_the_interval_is_scipys() -> None:
    values = [0.1, 0.4, 0.35, 0.2]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    one = t_interval(values)
    assert one.value == pytest.approx(np.mean(values))
    assert (one.low, one.high) == pytest.approx((low, high), abs=1e-12)
    assert math.isnan(t_interval([0.3]).low) and math.isnan(t_interval([]).value)
    assert t_interval([0.1, math.nan, 0.3]).value == pytest.approx(0.2)


def test_a_steady_gain_shows_though_seeds_differ_more() -> None:
    found = {d.metric: d for d in differences(outcomes())}
    assert set(found) == {"image_to_text_r1", "CIDEr"}  # a size is no score
    assert found["CIDEr"].gain.value == pytest.approx(0.101) and found["CIDEr"].apart
    paired = stats.ttest_rel([0.3, 0.601, 0.902], [0.2, 0.5, 0.8]).confidence_interval()
    assert (found["CIDEr"].gain.low, found["CIDEr"].gain.high) == pytest.approx(tuple(paired))
    assert not found["image_to_text_r1"].apart


def test_sentences_name_what_is_told_apart_and_no_more() -> None:
    said = statements(outcomes())
    assert said[0].startswith("1 of 2 comparisons") and "0.1 on average" in said[0]
    assert len(said) == 2
    assert said[1].startswith("CIDEr: \u201cfilter\u201d is higher than \u201cnone\u201d by 0.101")
    alone = [one for one in outcomes() if one.seed == 0]
    assert statements(alone) == [
        "No comparison has two seeds or more, so no difference is told apart from chance."
    ]


def test_what_leads_stands_first() -> None:
    told = [Outcome("none", 0, {"BLEU-1": 0.1, "CIDEr": 0.2, "image_to_text_r1": 0.3})]
    assert columns(told, CAPFILT) == ["image_to_text_r1", "CIDEr", "BLEU-1"]
    page = render_ablation(AblationInputs("t", told, 3))
    assert page.index("CIDEr") < page.index("BLEU-1")


def test_a_loss_is_called_lower() -> None:
    turned = [Outcome(o.condition, o.seed, {"CIDEr": 1 - o.metrics["CIDEr"]}) for o in outcomes()]
    assert "is lower than \u201cnone\u201d by 0.101 (0.099 to 0.103" in statements(turned)[1]


def test_only_seeds_of_both_are_compared() -> None:
    some = [o for o in outcomes() if (o.condition, o.seed) != ("filter", 2)]
    assert {d.seeds for d in differences(some)} == {2}


def test_page_and_files_agree() -> None:
    page = render_ablation(AblationInputs("An <ablation>", outcomes(), pictures=332))
    assert "An &lt;ablation&gt;" in page and "1,500" in page and "332 held-out" in page
    found = json.loads(ablation_json(outcomes()))
    mean = found["conditions"]["filter"]["CIDEr"]["value"]
    assert f"{mean:.3f}" in page
    rows = list(csv.DictReader(io.StringIO(ablation_csv(outcomes()))))
    one = next(r for r in rows if (r["condition"], r["metric"]) == ("filter", "CIDEr"))
    assert float(one["mean"]) == mean and one["seeds"] == "3"
    single = json.loads(ablation_json([Outcome("none", 0, {"CIDEr": math.nan})]))
    assert single["conditions"]["none"]["CIDEr"] == {"value": None, "low": None, "high": None}
    render_ablation(AblationInputs("One", [Outcome("none", 0, {"CIDEr": math.nan})], 3))
