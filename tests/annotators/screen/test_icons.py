from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from annotators.screen.icon_names import plain, type_of, types, unlike_all
from annotators.screen.icons import CONFIG, NONE, IconNames, NameIcons, chosen, cut_out, tight
from models.classifier import Classifier, ClassifierConfig
from models.vision.resnet import ResNetConfig
from models.weights import save
from pipelines.records import DETECTION


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("arrow_back", "arrow backward"),
        ("arrow-back-outline", "arrow backward"),
        ("bx-arrow-back", "arrow backward"),
        ("magnifying-glass-bold", "magnifying glass"),
        ("bxl-facebook", "facebook"),
        ("trash-2", "delete"),
        ("calendar-plus", None),
        ("anchor", None),
    ],
)
def test_a_drawing_is_of_the_type_that_its_name_says(name: str, kind: str | None) -> None:
    assert type_of(name) == kind


def test_no_name_stands_for_two_types() -> None:
    names: dict[str, str] = {}
    for kind, of in types().items():
        for name in {plain(kind), *map(plain, of)}:
            assert names.setdefault(name, kind) == kind
    assert len(types()) == 88


def test_what_may_look_like_a_type_is_no_example_of_the_rest() -> None:
    assert unlike_all("anchor")
    assert not unlike_all("calendar-plus")
    assert not unlike_all("sliders", tags=["Settings", "mixer"])


def test_a_cut_out_is_a_square_around_the_box_with_the_border_repeated() -> None:
    screen = np.zeros((40, 60, 3), np.uint8)
    screen[10:20, 20:50] = 255
    square = cut_out(screen, (20, 10, 50, 20), 30, margin=1.0)
    assert square.shape == (30, 30, 3)
    assert square[10:20].min() == 255
    assert square[:9].max() == square[21:].max() == 0
    corner = cut_out(np.full((5, 5, 3), 7, np.uint8), (0, 0, 5, 5), 16, margin=3.0)
    assert np.unique(corner).tolist() == [7]


def test_a_box_is_drawn_in_to_what_is_in_it() -> None:
    screen = np.full((60, 80, 3), 200, np.uint8)
    screen[20:30, 40:44] = 90
    assert tight(screen, (10.4, 5.0, 70.0, 55.6)) == (40.0, 20.0, 44.0, 30.0)
    assert tight(screen, (0.0, 0.0, 20.0, 15.0)) == (0.0, 0.0, 20.0, 15.0)
    assert tight(screen, (41.0, 22.0, 43.0, 24.0)) == (41.0, 22.0, 43.0, 24.0)


def test_a_name_needs_its_threshold_and_to_beat_none() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0.45, 0.3, 0.25], [0.45, 0.05, 0.5]], np.float32)
    found = chosen(chances, ["home", "star", NONE], 0.4)
    assert [one.name for one in found] == ["home", "home", ""]
    assert chosen(chances[1:2], ["home", "star", NONE], 0.5)[0].name == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A classifier that takes white for a home and black for none of the types."""
    path = tmp_path_factory.mktemp("icons")
    torch.manual_seed(0)
    vision = ResNetConfig((32, 32), layers=(1, 1, 1, 1), width=8, head_width=32)
    model = Classifier(ClassifierConfig(vision, classes=3)).eval()
    pixels = torch.stack([torch.full((3, 32, 32), value) for value in (2.0, -2.0)])
    with torch.inference_mode():
        white, black = model.encoder(pixels)
    along = (white - black) / (white - black).square().sum()
    model.head.weight.data[0], model.head.weight.data[2] = 40 * along, -40 * along
    middle = 40 * along @ ((white + black) / 2)
    model.head.bias.data[0], model.head.bias.data[2] = -middle, middle
    save(model, str(path))
    (path / CONFIG).write_text(json.dumps({"classes": ["home", "star", NONE], "threshold": 0.6}))
    return str(path)


def png(colour: str) -> bytes:
    import io

    out = io.BytesIO()
    Image.new("RGB", (80, 60), colour).save(out, "png")
    return out.getvalue()


def test_icons_are_named_row_by_row(folder: str) -> None:
    icon = {"kind": "PICTOGRAM", "confidence": 1.0, "x0": 5.0, "y0": 5.0, "x1": 25.0, "y1": 25.0}
    boxes = [[icon, icon | {"kind": "TEXT"}, icon | {"kind": "other"}], [icon], [icon], []]
    table = pa.table(
        {
            "image": [png("white"), png("black"), b"", png("white")],
            "status": ["ok", "ok", "undecodable", "ok"],
            "boxes": pa.array(boxes, pa.list_(DETECTION)),
        }
    )
    found = NameIcons(folder)(table)["icons"].to_pylist()
    assert found == [["home", "", "home"], [""], [""], []]


def test_a_batch_changes_no_name(folder: str) -> None:
    names = IconNames(folder)
    squares = [np.full((32, 32, 3), value, np.uint8) for value in (0, 90, 160, 255)]
    alone = np.concatenate([names.chances([square]) for square in squares])
    np.testing.assert_allclose(names.chances(squares), alone, atol=1e-5)
    assert names.chances([]).shape == (0, 3)
