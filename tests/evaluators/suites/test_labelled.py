"""Labelled sets: the schema, ids, shards, and what is refused."""

from pathlib import Path

import pytest

from evaluators.suites import labelled
from evaluators.suites.kinds import Classification, Source, by_group, class_names, datasets_of
from evaluators.suites.labelled import Picture, build_labelled
from pipelines.datasets import verify
from pipelines.records import LABELLED, record_id


def pictures(n):
    return [Picture(f"box/{i}", b"image %d" % i, f"class {i % 3}", "box") for i in range(n)]


def test_rows_follow_the_schema_over_several_shards(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(labelled, "ROWS_A_SHARD", 4)
    names = ["class 0", "class 1", "class 2"]
    found = build_labelled(str(tmp_path / "set"), lambda: pictures(10), names, config={})
    assert len(found.shards) == 3
    table = found.table()
    assert table.schema.equals(LABELLED)
    assert table["label"].to_pylist() == [i % 3 for i in range(10)]
    assert table["image_id"][4].as_py() == record_id("box/4", "class 1")
    assert verify(found.path) == []


def test_pictures_are_not_read_again_once_the_set_stands(tmp_path: Path):
    names = ["class 0", "class 1", "class 2"]
    build_labelled(str(tmp_path / "set"), lambda: pictures(3), names, config={})
    again = build_labelled(str(tmp_path / "set"), lambda: 1 / 0, names, config={})
    assert again.manifest.rows == 3


def test_unknown_class_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"box/1: 'class 1' is none of the 1 classes"):
        build_labelled(str(tmp_path / "set"), lambda: pictures(2), ["class 0"], config={})


def test_classes_of_a_suite_are_the_union_by_name(make_labelled):
    a = make_labelled("a", [Picture("1", b"x", "owl", "a"), Picture("2", b"y", "cat", "a")])
    b = make_labelled("b", [Picture("3", b"z", "bear", "b"), Picture("4", b"z", "cat", "b")])
    suite = Classification("animals", {"a": Source(a), "b": Source(b)}, ("{}",))
    assert class_names(suite) == ["bear", "cat", "owl"]


def test_in_distribution_must_be_one_of_the_sets(make_labelled):
    a = make_labelled("a", [Picture("1", b"x", "owl", "a")])
    with pytest.raises(ValueError, match=r"legal: names of \['a'\]"):
        Classification("animals", {"a": Source(a)}, ("{}",), in_distribution="b")
    with pytest.raises(ValueError, match="no shifts without"):
        Classification("animals", {"a": Source(a)}, ("{}",), shifts=("a",))


def test_classes_and_groups_of_one_dataset(make_labelled):
    both = make_labelled("both", [Picture("1", b"x", "owl", "a"), Picture("2", b"y", "cat", "b")])
    sets = by_group(both)
    assert class_names(Classification("animals", {"b": sets["b"]}, ("{}",))) == ["cat"]
    assert datasets_of(sets.values()) == [both]
