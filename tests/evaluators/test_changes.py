"""Changes between score runs against scipy and hand counts; Holm against closed testing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from evaluators.changes import changes
from evaluators.contenders import Contender
from evaluators.history import read_runs, run_folders, unpaired
from evaluators.paired import holm
from evaluators.predictions import read
from evaluators.score import ScoreConfig, score
from evaluators.suites.kinds import Classification, Retrieval, Source, Suite
from evaluators.suites.labelled import Picture
from pipelines.datasets import DatasetError

from .conftest import COLOURS, ColourEncoder, LabelledMaker, picture, square

FAST = ScoreConfig(resamples=20)
SHADES = range(0, 24, 2)


class Blind(ColourEncoder):
    """Takes every picture for a grey one, but for the red."""

    def encode_image(self, images: list[bytes]) -> np.ndarray:
        seen = super().encode_image(images)
        grey = np.array(COLOURS["grey"], np.float32) - 100
        red = seen @ (np.array(COLOURS["red"], np.float32) - 100) > 20000
        return np.where(red[:, None], seen, grey).astype(np.float32)


@pytest.fixture
def suites(make_labelled: LabelledMaker) -> list[Suite]:
    shades = [picture(name, "shades", shift) for name in COLOURS for shift in SHADES]
    captions = [
        Picture("1", square("red"), "a red square", "box"),
        Picture("2", square("blue"), "a blue square", "box"),
    ]
    return [
        Classification("zero-shot", {"shades": Source(make_labelled("shades", shades))}, ("{}",)),
        Retrieval("captions", {"box": Source(make_labelled("box", captions))}),
    ]


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, suites: list[Suite]) -> Run:
    def one(name: str, load: type, asked: list[Suite] | None = None) -> str:
        model = Contender("CLIP", load, settings={"weights": load.__name__})
        score([model], asked or suites, str(tmp_path / "runs" / name), FAST)
        return str(tmp_path / "runs" / name)

    return one


def test_changes_are_those_of_the_answers_paired_by_item(run: Run, tmp_path: Path) -> None:
    runs = read_runs([run("night-1", ColourEncoder), run("night-2", Blind)])
    assert [(r.name, r.model, r.checkpoint) for r in runs] == [
        ("night-1", "CLIP", "ColourEncoder"),
        ("night-2", "CLIP", "Blind"),
    ]
    found = {(c.dataset, c.metric): c for c in changes(runs)}
    assert set(found) == {
        ("shades", "top1"),
        *(("box", f"{way}_r{k}") for way in ("image_to_text", "text_to_image") for k in (1, 5)),
    }
    tables = [
        {
            r["item"]: r["rank"] == 0
            for r in read(one.predictions).to_pylist()
            if r["suite"][0] == "z"
        }
        for one in runs
    ]
    lost = sum(tables[0][item] and not tables[1][item] for item in tables[0])
    gained = sum(tables[1][item] and not tables[0][item] for item in tables[0])
    one = found["shades", "top1"]
    assert (one.lost, one.gained, one.n, one.unmatched) == (lost, gained, 72, 0)
    assert lost > 30
    assert one.p == pytest.approx(binomtest(lost, lost + gained).pvalue)
    assert one.value_before == np.mean(list(tables[0].values()))
    assert one.difference.value == pytest.approx((gained - lost) / 72)
    assert one.p_adjusted == pytest.approx(5 * one.p)
    assert one.verdict() == "worse" and one.verdict(1e-30) == "no difference shown"
    back = {(c.dataset, c.metric): c for c in changes(runs[::-1])}
    assert back["shades", "top1"].verdict() == "better"


def test_the_last_is_held_against_the_first(run: Run) -> None:
    runs = read_runs([run("a", ColourEncoder), run("b", Blind), run("c", Blind)])
    shades = [(c.before, c.after, c.lost > 0) for c in changes(runs) if c.dataset == "shades"]
    assert shades == [("a", "b", True), ("b", "c", False), ("a", "c", True)]


def test_other_questions_are_set_apart(run: Run, make_labelled: LabelledMaker) -> None:
    some = [picture(name, "shades", shift) for name in COLOURS for shift in SHADES[:3]]
    fewer = Classification("zero-shot", {"shades": Source(make_labelled("few", some))}, ("{}",))
    contest = dataclasses.replace(
        fewer, sets={"shades": Source(make_labelled("few", some), classes=("red", "green"))}
    )
    whole = run("whole", ColourEncoder)
    (one,) = changes(read_runs([whole, run("fewer", ColourEncoder, [fewer])]))
    assert (one.n, one.unmatched) == (18, 54)
    runs = read_runs([whole, run("easier", ColourEncoder, [contest])])
    assert changes(runs) == []
    assert unpaired(runs) == ["captions/box is not in every run: only in whole."]


def test_a_folder_stands_for_the_runs_below_it(run: Run, tmp_path: Path) -> None:
    paths = [run("b", ColourEncoder), run("a", Blind)]
    assert sorted(run_folders([str(tmp_path / "runs")])) == sorted(paths)
    assert run_folders(paths) == paths
    with pytest.raises(DatasetError, match="no finished scores"):
        run_folders([str(tmp_path)])
    with pytest.raises(DatasetError, match="legal: CLIP"):
        read_runs(paths, "BLIP")
    with pytest.raises(ValueError, match="each once"):
        read_runs([paths[0], paths[0]])


def test_holm_is_closed_testing_with_bonferroni() -> None:
    rng = np.random.default_rng(3)
    for m in (0, 1, 2, 5, 7):
        p = (rng.random(m) ** 3).tolist()
        sets = [s for size in range(1, m + 1) for s in combinations(range(m), size)]
        slow = [
            max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(m)
        ]
        assert holm(p) == pytest.approx(slow)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
