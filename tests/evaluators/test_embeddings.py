"""Embeddings that are kept: the same as in memory, computed once, keyed by content."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig, embed
from evaluators.embeddings import embeddings, parts, whole
from evaluators.score import ScoreConfig, score
from evaluators.suites.kinds import Classification, Probe, Source
from evaluators.suites.labelled import Picture

from .conftest import COLOURS, ColourEncoder, picture


@pytest.fixture
def squares(make_labelled):
    pictures = [picture(name, split, i) for name in COLOURS for split, i in SHADES]
    return make_labelled("squares", [*pictures, Picture("x", b"broken", "red", "test")])


SHADES = [("train", i) for i in range(8)] + [("test", i) for i in (20, 21, 22)]
CLIP = Contender("Colour CLIP", ColourEncoder)


def config(tmp_path: Path, **changes) -> EmbedConfig:
    return EmbedConfig(batch_size=16, cache=str(tmp_path / "cache"), **changes)


def same(a, b) -> None:
    for name in ("image_id", "content", "class_name", "group", "vectors"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert sorted(a.undecodable) == sorted(b.undecodable) and len(a.undecodable) == 1


def test_kept_embeddings_are_those_in_memory(squares, tmp_path: Path):
    direct = embed(squares, ColourEncoder, EmbedConfig(batch_size=16))
    kept = embeddings(squares, CLIP, config(tmp_path))
    same(whole(kept), direct)
    some = list(parts(kept, rows=10))
    assert len(some) == 7 and sum(len(part.image_id) for part in some) == 66
    assert kept.manifest.parents[-1].content_hash == squares.manifest.content_hash


def test_ray_writes_the_same(squares, tmp_path: Path, ray_session):
    here = embeddings(squares, CLIP, config(tmp_path / "a"))
    there = embeddings(squares, CLIP, config(tmp_path / "b", workers=1))
    assert here.manifest.content_hash == there.manifest.content_hash
    same(whole(here), whole(there))


def test_they_are_computed_once_a_model_and_a_set(squares, make_labelled, tmp_path: Path):
    first = embeddings(squares, CLIP, config(tmp_path))
    blind = dataclasses.replace(CLIP, load=lambda: 1 / 0)
    assert embeddings(squares, blind, config(tmp_path)).path == first.path
    with pytest.raises(ZeroDivisionError):
        embeddings(squares, dataclasses.replace(blind, settings={"x": 1}), config(tmp_path))
    other = make_labelled("other", [picture("red", "test")])
    with pytest.raises(ZeroDivisionError):
        embeddings(other, blind, config(tmp_path))


def test_scores_from_the_cache_are_the_scores(squares, tmp_path: Path):
    classes = tuple(sorted(COLOURS))
    own = Source(squares, "test", classes, tuple(f"{c} one" for c in classes), ("the {}",))
    suites = [
        Classification("zero-shot", {"squares": own}, ("{}",)),
        Probe("probe", {"squares": own}, shots=(1, 2), seeds=2),
    ]
    plain = score([CLIP], suites, str(tmp_path / "a"), ScoreConfig(EmbedConfig(batch_size=16)))
    kept = score([CLIP], suites, str(tmp_path / "b"), ScoreConfig(config(tmp_path)))
    assert plain.scores.manifest.content_hash == kept.scores.manifest.content_hash
    found = {
        (row["suite"], row["split"], row["metric"]): row
        for row in kept.scores.table().to_pylist()
        if row["model"] == "Colour CLIP"
    }
    assert found["zero-shot", "all", "top1"]["n"] == 18
    for split in ("all", "1-shot", "2-shot"):
        row = found["probe", split, "top1"]
        assert row["value"] > 0.8 and row["n"] == 18  # a squared norm costs the nearest colours
    assert found["zero-shot", "all", "calibration_error"]["value"] < 0.2
    dropped = kept.predictions["Colour CLIP"].manifest.dropped
    assert dropped == {"undecodable": 1 + 1 + 2 * 2}


def test_a_set_that_nobody_can_read_is_refused(make_labelled, tmp_path: Path):
    broken = make_labelled("broken", [Picture("x", b"broken", "red", "test")])
    kept = embeddings(broken, CLIP, config(tmp_path))
    with pytest.raises(ValueError, match="none of 1 images"):
        whole(kept)
