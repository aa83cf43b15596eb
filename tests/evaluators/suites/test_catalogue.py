"""The catalogue against what CLIP's table 9 and the set's own package say."""

import json
from pathlib import Path

import pytest

from evaluators.suites import catalogue as module
from evaluators.suites.catalogue import ClassList, catalogue, class_list, load_file


def test_the_sets_of_the_paper_are_there():
    assert len(load_file("clip27")) == 27
    shifts = load_file("shifts")
    assert len(shifts) == 7 and {spec.shift_of for spec in shifts} == {"imagenet"}
    assert {spec.name for spec in load_file("retrieval")} == {"flickr30k", "mscoco"}
    known = catalogue()
    for spec in known.values():
        assert spec.templates and all(t.count("{}") == 1 for t in spec.templates), spec.name
        assert spec.get and (not spec.shift_of or spec.shift_of in known), spec.name


def test_prompts_are_clips():
    counts = {"cifar10": 18, "caltech101": 34, "ucf101": 48, "kinetics700": 28, "imagenet": 80}
    assert {name: len(catalogue()[name].templates) for name in counts} == counts
    for name, count in counts.items():
        assert len(set(catalogue()[name].templates)) == count


def test_names_are_clip_benchmarks_and_open_clips():
    import clip_benchmark
    import open_clip

    folder = Path(clip_benchmark.__file__).parent / "datasets"
    theirs = json.loads((folder / "en_classnames.json").read_text())
    for ours, name in (("imagenet", "imagenet1k"), ("gtsrb", "gtsrb"), ("pets", "pets")):
        spec = catalogue()[ours]
        assert spec.classes is not None and list(spec.classes.names) == theirs[name]
    templates = [template("X") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert sorted(t.format("X") for t in catalogue()["imagenet"].templates) == sorted(templates)


def test_two_classes_of_one_name_are_told_apart_in_every_list():
    whole, part = class_list("imagenet"), class_list("imagenet-a")
    assert whole is not None and part is not None
    assert len(set(whole.unique())) == 1000 > len(set(whole.names))
    assert set(part.unique()) <= set(whole.unique())
    assert ClassList(("a", "b", "a")).unique() == ("a (0)", "b", "a (2)")


def test_a_wrong_entry_is_named():
    row = {"name": "x", "title": "X", "n_classes": 3, "sizes": {}, "metric": "top1"}
    row |= {"templates": ["{}"], "classes": ["a", "b"], "wds": "x", "layouts": [], "get": "g"}
    with pytest.raises(ValueError, match="x: 2 classes, 3 promised"):
        module._spec(row, "classification", "")
    with pytest.raises(ValueError, match="x: metric 'best'"):
        module._spec({**row, "n_classes": 2, "metric": "best"}, "classification", "")
