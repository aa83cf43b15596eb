"""The figures of a ViT: what is measured, where it is drawn, and the files."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.report import vit_charts
from evaluators.suites.labelled import Picture, build_labelled
from evaluators.vit_figures import first_images, measure, render, vit_of, write_figures
from models.classifier import Classifier, ClassifierConfig
from models.clip import CLIP, CLIPConfig, TextConfig
from models.vision.resnet import ResNetConfig
from models.vision.vit import ViTConfig
from models.weights import save
from workflows import cli

VISION = ViTConfig((16, 24), 4, 16, 3, 2)


def picture(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def images_of(svg: str) -> list[np.ndarray]:
    """Every picture in an SVG."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_measures_are_of_the_images_that_decode() -> None:
    torch.manual_seed(0)
    model = CLIP(CLIPConfig(VISION, TextConfig(8, 40, 16, 1, 2), 12))
    good = [picture(number) for number in range(3)]
    found = measure(vit_of(model), [good[0], b"no image", *good[1:]])
    assert found.images == 3 and found.distance.shape == (3, 2)
    assert found.similarity is not None and found.similarity.shape == (24, 24)
    assert found.components.shape == (15, 3, 4, 4)  # what 16 filters span about their mean
    again = measure(vit_of(model), good)
    np.testing.assert_array_equal(found.distance, again.distance)
    with pytest.raises(ValueError, match="none of the images can be decoded"):
        measure(vit_of(model), [b"no image"])


def test_dots_stand_where_the_numbers_say() -> None:
    distance = np.array([[4.0, 8.0], [6.0, 10.0], [0.0, 12.0]], np.float32)
    svg = vit_charts.distance_chart(distance, 9.0)
    mark = r'cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>layer (\d), head (\d): ([\d.]+) px'
    dots = re.findall(mark, svg)
    assert len(dots) == 6
    for x, _, layer, head, value in dots:
        assert float(value) == distance[int(layer) - 1, int(head) - 1]
        assert {dot[0] for dot in dots if dot[2] == layer} == {x}
    heights = {float(v): float(y) for _, y, _, _, v in dots}
    assert heights[0.0] - heights[6.0] == pytest.approx(heights[6.0] - heights[12.0], abs=0.2)
    rule = re.search(r'class="rule" x1="[\d.]+" y1="([\d.]+)"', svg)
    assert rule is not None
    assert float(rule[1]) == pytest.approx((heights[8.0] + heights[10.0]) / 2, abs=0.2)
    assert "6.0 pixels on average in the first, 6.0 in the last; 9.0 if all" in svg


def test_each_patch_has_its_map_at_its_place() -> None:
    rows, columns = 2, 3
    similarity = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)
    sheet, key = images_of(vit_charts.similarity_chart(similarity, (rows, columns)))
    cell = 1260 // (3 * 4)
    pitch = ((rows + 1) * cell, (columns + 1) * cell)
    assert sheet.shape == (2 * pitch[0] - cell, 3 * pitch[1] - cell, 4)
    for patch in range(6):
        top, left = patch // columns * pitch[0], patch % columns * pitch[1]
        for other in range(6):
            y, x = top + other // columns * cell, left + other % columns * cell
            wanted = vit_charts.coloured(similarity[patch, other])
            assert sheet[y + cell // 2, x + cell // 2].tolist() == wanted.tolist()
    assert sheet[pitch[0] - 1, 0, 3] == 0  # between tiles one sees through
    assert key[0, 0, :3].tolist() == [31, 95, 139] and key[-1, 0, :3].tolist() == [176, 99, 26]


def test_filters_are_grey_where_zero_and_keep_their_signs() -> None:
    components = np.zeros((8, 3, 2, 2), np.float32)
    components[0, 0, 0, 0], components[0, 2, 1, 1], components[7, 1] = 0.5, -0.25, -3.0
    (sheet,) = images_of(vit_charts.filter_chart(components, np.full(8, 0.1, np.float32)))
    cell = 1260 // (7 * 3)
    assert sheet[0, 0].tolist() == [255, 128, 128, 255]
    assert sheet[cell, cell].tolist() == [128, 128, 64, 255]
    assert sheet[0, cell].tolist() == [128, 128, 128, 255]
    assert sheet[3 * cell, 0].tolist() == [128, 0, 128, 255]  # the eighth begins the second row
    assert sheet[3 * cell, 3 * cell, 3] == 0


def test_colours_are_in_order() -> None:
    assert vit_charts.coloured(np.float32(0)).tolist() == [245, 246, 247, 255]
    blue = vit_charts.coloured(np.linspace(0, 1, 9, dtype=np.float32))[:, 0]
    assert bool((np.diff(blue.astype(int)) < 0).all())


def test_a_model_without_a_table_gets_two_figures() -> None:
    torch.manual_seed(1)
    model = Classifier(ClassifierConfig(replace(VISION, positions="relative"), classes=3))
    found = measure(vit_of(model), [picture(0)])
    page = render(found, "A model")
    assert page.count("<svg") == 2 and "Which positions are alike" not in page


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(2)
    save(Classifier(ClassifierConfig(VISION, classes=3)), str(tmp_path / "model"))
    pictures = [Picture(str(number), picture(number), "noise", "here") for number in range(5)]
    build_labelled(str(tmp_path / "images"), lambda: pictures, ["noise"], config={})
    module, config, _ = cli.RECIPES["figures"]
    recipe = getattr(__import__(module, fromlist=[config]), config)
    arguments = [str(tmp_path / name) for name in ("model", "images", "out")]
    arguments = [arguments[0], "--images", arguments[1], "--out", arguments[2], "--most", "4"]
    assert cli.run("sightmill figures", recipe, arguments) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "figures.html")
    numbers = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert numbers["images"] == 4 and np.shape(numbers["attention_distance_px"]) == (3, 2)
    page = (tmp_path / "out" / "figures.html").read_text()
    assert page.count("<svg") == 3 and "http" not in page.replace("http-equiv", "")


def test_titles_are_escaped(tmp_path: Path) -> None:
    torch.manual_seed(3)
    found = measure(vit_of(Classifier(ClassifierConfig(VISION, classes=3))), [picture(0)])
    page = Path(write_figures(found, str(tmp_path), "a <b> & c")).read_text()
    assert "<h1>a &lt;b&gt; &amp; c</h1>" in page


def test_no_vit_is_an_error() -> None:
    config = ClassifierConfig(ResNetConfig((32, 32), (1, 1, 1, 1), 4, 32), classes=3)
    with pytest.raises(ValueError, match="Classifier has no ViT inside"):
        vit_of(Classifier(config))


def test_only_so_many_images_are_read(tmp_path: Path) -> None:
    pictures = [Picture(str(number), picture(number), "noise", "here") for number in range(5)]
    dataset = build_labelled(str(tmp_path), lambda: pictures, ["noise"], config={})
    assert len(list(first_images(dataset, 3))) == 3
    assert len(list(first_images(dataset, 9))) == 5
