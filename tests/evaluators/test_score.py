"""Scoring end to end on coloured squares whose right answers are known by hand."""

import dataclasses
from pathlib import Path

import pytest

from evaluators.contenders import Contender
from evaluators.figures import chance
from evaluators.predictions import read
from evaluators.score import ScoreConfig, folder_name, score
from evaluators.suites.kinds import Classification, Retrieval, Source, by_group
from evaluators.suites.labelled import Picture
from pipelines.datasets import open_dataset, verify

from .conftest import COLOURS, AlwaysFirst, ColourEncoder, picture, square

FAST = ScoreConfig(resamples=50)


@pytest.fixture
def suites(make_labelled):
    held = make_labelled(
        "known-hand", [picture(name, "known") for name in ("red", "green", "blue")]
    )
    broken = Picture("broken", b"no image", "green", "new")
    new = make_labelled("new-hand", [*(picture(name, "new", 5) for name in COLOURS), broken])
    captions = [
        Picture("1/a", square("red"), "a red square", "box"),
        Picture("1/b", square("red"), "something red", "box"),
        Picture("2/a", square("blue"), "a blue square", "box"),
        Picture("3/a", square("blue", shift=3), "a blue square", "box"),
    ]
    return [
        Classification(
            "concepts",
            {"known": Source(held), "new": Source(new)},
            ("{}", "a {} square"),
            in_distribution="known",
            shifts=("new",),
        ),
        Retrieval("captions", {"box": Source(make_labelled("box", captions))}),
    ]


@pytest.fixture
def contenders():
    return [
        Contender("Colour CLIP", ColourEncoder),
        Contender("supervised", AlwaysFirst, standard=True),
    ]


def by_place(scores):
    rows = scores.table().to_pylist()
    return {
        (r["suite"], r["dataset"], r["split"], r["metric"], r["model"]): (r["value"], r["n"])
        for r in rows
    }


def test_figures_are_those_counted_by_hand(suites, contenders, tmp_path: Path):
    found = by_place(score(contenders, suites, str(tmp_path / "out"), FAST).scores)
    assert found["concepts", "known", "held", "top1", "Colour CLIP"] == (1.0, 3)
    assert found["concepts", "known", "held", "top1", "supervised"] == (pytest.approx(1 / 3), 3)
    assert found["concepts", "known", "held", "top1", "chance"] == (pytest.approx(1 / 6), 3)
    assert found["concepts", "new", "all", "top1", "supervised"] == (pytest.approx(1 / 6), 6)
    assert found["concepts", "new", "all", "top5", "supervised"] == (pytest.approx(3 / 6), 6)
    assert found["concepts", "new", "held", "top1", "Colour CLIP"] == (1.0, 3)
    assert found["concepts", "new", "held", "gap", "supervised"] == (pytest.approx(0), 3)
    relative = found["concepts", "new", "held", "relative_robustness:supervised", "Colour CLIP"]
    assert relative == (pytest.approx(2 / 3), 3)
    assert found["captions", "box", "all", "image_to_text_r1", "Colour CLIP"] == (1.0, 3)
    assert found["captions", "box", "all", "text_to_image_r1", "Colour CLIP"] == (1.0, 3)
    assert not any(key[0] == "captions" and key[4] == "supervised" for key in found)
    assert not any(key[1] == "known" and key[2] == "all" for key in found)


def test_undecodable_is_unanswered_and_counted(suites, contenders, tmp_path: Path):
    scored = score(contenders, suites, str(tmp_path / "out"), FAST)
    predictions = scored.predictions["Colour CLIP"]
    assert predictions.manifest.dropped == {"undecodable": 1}
    rows = [r for r in read(predictions).to_pylist() if r["rank"] is None]
    assert [(r["truth"], r["dataset"], r["top"]) for r in rows] == [("green", "new", [])]


def test_answers_are_kept(suites, contenders, tmp_path: Path):
    answers = score(contenders, suites, str(tmp_path / "out"), FAST).answers().to_pylist()
    red = next(
        r
        for r in answers
        if r["model"] == "Colour CLIP" and r["dataset"] == "known" and r["truth"] == "red"
    )
    assert (red["rank"], red["candidates"], red["top"][0], len(red["top"])) == (0, 6, "red", 5)
    assert red["top_scores"] == sorted(red["top_scores"], reverse=True)
    assert 0.5 < red["top_scores"][0] <= 1
    blue = next(r for r in answers if r["task"] == "text_to_image" and "blue" in r["item"])
    assert (blue["partners"], blue["candidates"], blue["rank"]) == (2, 3, 0)


def test_a_finished_score_is_not_computed_again(suites, contenders, tmp_path: Path):
    first = score(contenders, suites, str(tmp_path / "out"), FAST)
    blind = [dataclasses.replace(c, load=lambda: 1 / 0) for c in contenders]
    again = score(blind, suites, str(tmp_path / "out"), FAST)
    assert again.scores.manifest == first.scores.manifest
    assert verify(first.scores.path) == verify(first.predictions["supervised"].path) == []


def test_a_killed_run_goes_on_with_the_missing_sets(suites, contenders, tmp_path: Path):
    class Dies(ColourEncoder):
        def encode_text(self, texts):
            if any("something" in text for text in texts):
                raise KeyboardInterrupt
            return super().encode_text(texts)

    whole = score(contenders, suites, str(tmp_path / "whole"), FAST)
    with pytest.raises(KeyboardInterrupt):
        score([Contender("Colour CLIP", Dies), contenders[1]], suites, str(tmp_path / "out"), FAST)
    shard = tmp_path / "out/predictions/colour-clip/concepts.new.parquet"
    before = shard.stat().st_mtime_ns
    resumed = score(contenders, suites, str(tmp_path / "out"), FAST)
    assert shard.stat().st_mtime_ns == before
    assert resumed.scores.manifest.content_hash == whole.scores.manifest.content_hash
    assert resumed.predictions["Colour CLIP"].manifest.dropped == {"undecodable": 1}


def test_lineage_leads_from_the_scores_to_the_sets(suites, contenders, tmp_path: Path):
    scored = score(contenders, suites, str(tmp_path / "out"), FAST)
    parents = scored.scores.manifest.parents
    assert [p.name for p in parents] == ["predictions", "predictions"]
    predictions = open_dataset(f"{scored.scores.path}/{parents[0].path}")
    assert [p.content_hash for p in predictions.manifest.parents] == [
        s.dataset.manifest.content_hash for suite in suites for s in suite.sets.values()
    ]


def test_groups_of_one_dataset_score_as_datasets_of_their_own(
    suites, contenders, make_labelled, tmp_path: Path
):
    hands = [picture(name, "known") for name in ("red", "green", "blue")]
    hands += [picture(name, "new", 5) for name in COLOURS]
    hands.append(Picture("broken", b"no image", "green", "new"))
    grouped = by_group(make_labelled("hands", hands))
    assert list(grouped) == ["known", "new"]
    apart = by_place(score(contenders, suites, str(tmp_path / "apart"), FAST).scores)
    together = [dataclasses.replace(suites[0], sets=grouped), suites[1]]
    scored = score(contenders, together, str(tmp_path / "together"), FAST)
    assert by_place(scored.scores) == apart
    assert scored.predictions["Colour CLIP"].manifest.dropped == {"undecodable": 1}
    assert len(scored.predictions["Colour CLIP"].manifest.parents) == 2


def test_other_settings_of_a_contender_are_another_run(suites, contenders, tmp_path: Path):
    score(contenders, suites, str(tmp_path / "out"), FAST)
    changed = dataclasses.replace(contenders[0], settings={"fit": "pad"}, load=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score([changed, contenders[1]], suites, str(tmp_path / "out"), FAST)


def test_prompts_are_encoded_once_a_suite(suites, tmp_path: Path):
    asked = []

    class Counts(ColourEncoder):
        def encode_text(self, texts):
            asked.append(len(texts))
            return super().encode_text(texts)

    score([Contender("Colour CLIP", Counts)], suites[:1], str(tmp_path / "out"), FAST)
    assert asked == [2 * len(COLOURS)]


def test_names_that_share_a_folder_are_refused(suites, contenders, tmp_path: Path):
    twin = dataclasses.replace(contenders[0], name="colour clip!")
    with pytest.raises(ValueError, match="share a folder"):
        score([*contenders, twin], suites, str(tmp_path / "out"), FAST)
    assert folder_name("CLIP (ours), 5 min.") == "clip-ours-5-min"


def test_a_set_whose_name_is_no_file_name_is_refused(suites, contenders, tmp_path: Path):
    bad = dataclasses.replace(suites[1], sets={"a/b": suites[1].sets["box"]})
    with pytest.raises(ValueError, match="'a/b'"):
        score(contenders, [bad], str(tmp_path / "out"), FAST)


def test_chance_is_what_blind_draws_give():
    import numpy as np

    rng = np.random.default_rng(0)
    for candidates, partners, k in ((10, 1, 1), (10, 3, 5), (4, 2, 3), (3, 1, 10)):
        draws = [(rng.permutation(candidates)[:k] < partners).any() for _ in range(4000)]
        told = chance(np.array([candidates]), np.array([partners]), k)[0]
        assert told == pytest.approx(np.mean(draws), abs=0.03)
