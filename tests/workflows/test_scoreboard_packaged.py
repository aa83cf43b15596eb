"""Packaged sets out of small packages of the same layout, and whole where they are cached."""

import gzip
import io
import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from evaluators.suites.catalogue import catalogue
from workflows.demo_web.packages import CACHE, cached
from workflows.scoreboard import packaged
from workflows.scoreboard.packaged import WANTED

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
LINE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M2 {y}h20" '
LINE += 'stroke="currentColor" stroke-width="2"/></svg>'


def pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)))


def test_digits_come_out_as_the_package_has_them(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((6, 784)).round(3)
    (tmp_path / "digits").mkdir()
    data = [*values.reshape(-1).tolist(), 0.5]  # a torn seventh digit
    (tmp_path / "digits" / "7.json").write_text(json.dumps({"data": data}))
    found = list(packaged.mnist(tmp_path))
    assert [p.group for p in found] == ["test", "train", "train", "train", "train", "test"]
    for picture, expected in zip(found, values, strict=True):
        assert picture.class_name == "7"
        np.testing.assert_allclose(pixels(picture.image).reshape(-1), expected * 255, atol=0.51)
    rows = "\n".join(",".join(map(str, [*range(17), *[0.0] * 47, label])) for label in (3, 9))
    (tmp_path / "digits.csv.gz").write_bytes(gzip.compress(rows.encode()))
    eight = list(packaged.scikit_digits(tmp_path))
    assert [p.class_name for p in eight] == ["3", "9"] and eight[0].group == "test"
    assert pixels(eight[0].image).reshape(-1)[16] == 255  # level 16 of 16


def test_every_face_draws_ten_digits_apart_or_is_left_out() -> None:
    found = list(packaged.font_digits([FONTS]))
    faces = {p.origin.split("/")[1] for p in found}
    assert "DejaVuSans.ttf" in faces and len(found) == 10 * len(faces)
    assert {p.class_name for p in found} == set("0123456789")
    assert len({p.image for p in found if "DejaVuSans.ttf" in p.origin}) == 10


def test_a_long_word_is_shrunk_until_it_fits() -> None:
    for word in ("joy", "discombobulatedly"):
        ink = pixels(packaged.rendered(word, FONTS / "DejaVuSans.ttf")) < 128
        assert ink.any() and not ink[:, [0, -1]].any() and not ink[[0, -1]].any()


def test_words_are_those_that_people_agreed_on(tmp_path: Path) -> None:
    lines = ["good\t1.9\t0.9\t[2]", "awful\t-2.0\t0.5\t[-2]", "meh\t-0.3\t1\t[0]"]
    lines += [":-)\t1.8\t0.4\t[2]", "good\t1.9\t0.9\t[2]"]
    (tmp_path / "vader_lexicon.txt").write_text("\n".join(lines))
    found = {p.origin: p.class_name for p in packaged.sentiment_words(tmp_path, FONTS)}
    assert found == {"vader/good": "positive", "vader/awful": "negative"}


def test_icons_are_those_that_all_families_name(tmp_path: Path) -> None:
    families = {"a": tmp_path / "a", "b": tmp_path / "b"}
    for family, names in (("a", ("arrow-left", "bell")), ("b", ("arrow-left", "cat"))):
        families[family].mkdir()
        for name in names:
            (families[family] / f"{name}.svg").write_text(LINE.format(y=12))
    icons = packaged.icon_names(families)
    assert list(icons) == ["arrow-left"] and set(icons["arrow-left"]) == {"a", "b"}
    drawn = pixels(packaged._on_white(icons["arrow-left"]["a"]))
    assert drawn[0, 0] == 255 and drawn[48, 48] == 0  # black on white


def test_the_whole_packages_make_the_catalogues_sets(tmp_path: Path) -> None:
    found = cached(CACHE, WANTED)
    if found.missing:
        pytest.skip(f"not in the cache: {', '.join(found.missing)}")
    digits = list(packaged.mnist(found.paths["mnist"]))
    sizes = {split: sum(p.group == split for p in digits) for split in ("train", "test")}
    assert sizes == catalogue()["mnist-10k"].sizes
    icons = packaged.icon_names(
        {name: found.paths[package.name] for name, package in packaged.FAMILIES.items()}
    )
    assert len(icons) > 150
