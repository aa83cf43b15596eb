"""From datasets to the report's inputs, and back to the datasets that a figure came from."""

import hashlib
import io
import posixpath
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evaluators.contenders import Contender
from evaluators.report import collect, examples
from evaluators.report.lineage import ancestry, arcs, lineage
from evaluators.report.pictures import data_uri
from evaluators.score import ScoreConfig, score
from evaluators.suites.kinds import Classification, Retrieval, Source
from evaluators.suites.labelled import Picture
from pipelines import datasets
from pipelines.records import FETCHED, record_id

from ..conftest import COLOURS, AlwaysFirst, ColourEncoder, picture, square


def fetched_row(i: int) -> dict:
    url = f"http://site/{i}.png"
    ok = i % 3 != 0
    texts = [
        {
            "pair_id": record_id(url, "text"),
            "text": f"text {i}",
            "source": "alt",
            "page_url": "http://site/",
            "language": "en",
            "queries": ["text"],
        }
    ]
    row = dict.fromkeys(FETCHED.names)
    row.update(image_id=record_id(url), image_url=url, texts=texts)
    row.update(status="ok" if ok else "http_404", detail="" if ok else "not found")
    if ok:
        image = square("red")
        row.update(image=image, format="png", width=20, height=20, original_width=20)
        row.update(original_height=20, sha256=hashlib.sha256(image).hexdigest(), phash="0" * 16)
        row.update(thumbnail=bytes(768))
    return row


@pytest.fixture
def fetched(tmp_path: Path):
    def write(folder):
        rows = [fetched_row(i) for i in range(60)]
        for part in range(3):
            table = pa.Table.from_pylist(rows[part::3], schema=FETCHED)
            datasets.write_shard(posixpath.join(folder, f"{part}.parquet"), table)
        return {"http_404": 20}

    path = str(tmp_path / "fetched")
    return datasets.build(path, name="fetched", config={}, seed=0, parents=[], write=write)


def test_samples_are_drawn_by_hash_and_the_same_again(fetched):
    one, again = (collect.sample_grid(fetched, 12, seed=1) for _ in range(2))
    other = collect.sample_grid(fetched, 12, seed=2)
    assert one == again != other
    assert len({s.source for s in one}) == 12
    ids = sorted(
        (record_id(f"http://site/{i}.png") for i in range(60)),
        key=lambda i: collect.uniform(1, "report", i),
    )
    assert [record_id(s.source) for s in one] == ids[:12]
    assert one[0].texts == [f"text {one[0].source.split('/')[-1][:-4]}"]


def test_rejected_have_reasons_and_more_than_there_are_is_no_error(fetched):
    found = collect.rejected_grid(fetched, 100)
    assert len(found) == 20
    assert {s.reason for s in found} == {"http_404: not found"}
    assert all(s.image is None for s in found)


def test_stage_takes_counts_from_the_manifest(fetched):
    stage = collect.stage(fetched, "Fetched", "images")
    assert (stage.count, stage.dropped) == (60, {"http_404": 20})


@pytest.fixture
def scored(make_labelled, tmp_path: Path):
    captions = [
        Picture("1/a", square("red"), "a red square", "box"),
        Picture("1/b", square("red"), "something red", "box"),
        Picture("2/a", square("blue"), "a blue square", "box"),
        Picture("x", b"no image", "a grey square", "box"),
    ]
    known = [picture(name, "known") for name in ("red", "green", "blue")]
    suites = [
        Classification(
            "concepts",
            {
                "known": Source(make_labelled("known", known)),
                "new": Source(make_labelled("new", [picture(name, "new", 9) for name in COLOURS])),
            },
            ("{}",),
            "known",
            ("new",),
        ),
        Retrieval("captions", {"box": Source(make_labelled("box", captions))}),
    ]
    contenders = [
        Contender("CLIP", ColourEncoder),
        Contender("supervised", AlwaysFirst, standard=True),
    ]
    config = ScoreConfig(resamples=20)
    found = score(contenders, suites, str(tmp_path / "score"), config)
    return found, suites, config


def test_namings_show_pictures_that_were_right_and_wrong(scored):
    found, suites, _ = scored
    right = examples.namings(found.answers(), "CLIP", suites[0], "new", n=3)
    assert [one.rank for one in right] == [0, 0, 0]
    assert all(one.image == square(one.truth, 9) for one in right)
    assert all(one.top[0][0] == one.truth for one in right)
    mixed = examples.namings(found.answers(), "supervised", suites[0], "new", n=2)
    assert [one.rank > 0 for one in mixed] == [False, True, True]  # it knows one class of six


def test_mistakes_are_the_surest_wrong_answers_set_by_set(scored):
    found, suites, _ = scored
    assert examples.mistakes(found.answers(), "CLIP", suites) == []
    shown = examples.mistakes(found.answers(), "supervised", [*suites, suites[0]], n=3)
    rows = [
        r
        for r in found.answers().to_pylist()
        if r["model"] == "supervised" and r["task"] == "zero_shot" and r["rank"]
    ]
    for name, count in (("known", 2), ("new", 3)):
        wrong = sorted(
            (-r["top_scores"][0], r["item"], r["truth"]) for r in rows if r["dataset"] == name
        )[:3]
        ours = [one for one in shown if one.dataset == name]
        assert [(-one.top[0][1], one.truth) for one in ours] == [(p, t) for p, _, t in wrong]
        assert len(ours) == count and all(one.top[0][0] != one.truth for one in ours)
        shift = 9 if name == "new" else 0
        assert all(one.image == square(one.truth, shift) for one in ours)


def test_matches_mark_every_right_partner(scored):
    found, suites, _ = scored
    rows = examples.matches(found.answers(), "CLIP", suites[1], "box", n=4)
    texts = {row.query_text: row for row in rows if row.query_image is None}
    assert set(texts) == {"a red square", "something red", "a blue square"}
    assert texts["something red"].found[0] == ("a red square", square("red"), True)
    asked = next(row for row in rows if row.query_image == square("red"))
    assert sum(hit for *_, hit in asked.found) == 2
    assert {text for text, _, hit in asked.found if hit} == {"a red square", "something red"}


def test_shift_views_are_the_figures_of_the_scores(scored):
    found, suites, config = scored
    (view,) = collect.shift_views(found.answers(), suites, ["supervised"], config)
    assert (view.in_distribution, view.shifted, view.standard) == ("known", "new", ("supervised",))
    rows = found.scores.table().to_pylist()
    gaps = {r["model"]: r["value"] for r in rows if r["metric"] == "gap"}
    assert {m.model: m.gap.value for m in view.models} == gaps


def test_ancestry_goes_up_to_the_sets_parents_first(scored, tmp_path: Path):
    found, _, _ = scored
    manifests = ancestry([found.scores], root=str(tmp_path))
    names = list(manifests)
    assert set(names) == {
        "score/scores",
        "score/predictions/clip",
        "score/predictions/supervised",
        "sets/known",
        "sets/new",
        "sets/box",
    }
    for name, manifest in manifests.items():
        for parent in manifest["parents"]:
            above = posixpath.normpath(posixpath.join(name, parent["path"]))
            assert names.index(above) < names.index(name)
    drawn = lineage(manifests)
    assert drawn["arcs"].count('class="arc"') == 2 + 3 + 3
    assert [path for path, _ in drawn["rows"]] == names


def test_a_parent_that_is_gone_is_left_out(scored, tmp_path: Path):
    found, _, _ = scored
    (tmp_path / "sets/box/manifest.json").unlink()
    assert "sets/box" not in ancestry([found.scores], root=str(tmp_path))


def test_arcs_of_a_table_without_parents():
    assert 'class="arc"' not in arcs([[], []])


def test_pictures_shrink_onto_white_and_broken_ones_are_empty():
    import base64

    out = io.BytesIO()
    Image.new("RGBA", (300, 150), (255, 0, 0, 0)).save(out, "png")
    uri = data_uri(out.getvalue(), 100)
    small = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert small.size == (100, 50)
    assert np.asarray(small.convert("RGB")).min() > 250
    assert (
        data_uri(b"broken", 100) == data_uri(None, 100) == data_uri(out.getvalue()[:60], 100) == ""
    )
