from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotators.screen.icons import NONE
from models.training.loop import TrainConfig
from models.training.on_ray import Workers
from models.vision.resnet import ResNetConfig
from pipelines.datasets import open_dataset
from workflows.job import Job
from workflows.screens.drawings import FAMILIES, Crops, Draws, counts, crops, drawings, mask, piece
from workflows.screens.icons import SCHEDULE, TrainIconsConfig, threshold, train_icons

SHAPES = {
    "home": "M12 3L2 12h3v8h14v-8h3z",
    "home-outline": "M12 3L2 12h3v8h6v-6h2v6h6v-8h3z",
    "plus": "M10 3h4v7h7v4h-7v7h-4v-7H3v-4h7z",
    "anchor": "M11 2h2v14h5l-6 6-6-6h5z",
    "zigzag": "M2 8l5-4 5 4 5-4 5 4v4l-5-4-5 4-5-4-5 4z",
    "plus-square": "M3 3h18v18H3z",
}


def family(folder: Path, wide: int = 24) -> Path:
    folder.mkdir(parents=True)
    for name, path in SHAPES.items():
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} 24">'
        (folder / f"{name}.svg").write_text(f'{head}<path fill="currentColor" d="{path}"/></svg>')
    return folder


def test_drawings_have_a_type_or_surely_none(tmp_path: Path) -> None:
    found = {
        one.path.stem: one.kind for one in drawings("boxicons", family(tmp_path / "a"), Crops())
    }
    expected = {"home": "home", "home-outline": "home", "plus": "plus"}
    assert found == expected | {"anchor": NONE, "zigzag": NONE}
    few = drawings("boxicons", tmp_path / "a", Crops(most_others=1))
    assert [one.kind for one in few].count(NONE) == 1


def test_tags_take_a_drawing_from_those_without_a_type(tmp_path: Path) -> None:
    folder = family(tmp_path / "a")
    (folder / "tags.json").write_text(json.dumps({"anchor": ["x", "settings"], "zigzag": ["wave"]}))
    found = {one.path.stem for one in drawings("lucide", folder, Crops())}
    assert "anchor" not in found
    assert "zigzag" in found


def test_types_count_alike_however_many_drawings_they_have(tmp_path: Path) -> None:
    found = drawings("boxicons", family(tmp_path / "a"), Crops())
    many = dict(zip((one.path.stem for one in found), counts(found, Crops(a_type=20)), strict=True))
    assert many == {"home": 10, "home-outline": 10, "plus": 20, "anchor": 2, "zigzag": 2}


@pytest.mark.parametrize("wide", [12, 24, 48])
def test_a_mask_is_square_and_a_piece_shows_the_drawing_in_its_box(
    wide: int, tmp_path: Path
) -> None:
    path = family(tmp_path / "a", wide) / "plus.svg"
    alpha = mask(path, 40)
    assert alpha is not None
    assert alpha.shape == (40, 40)
    for number in range(20):
        made = piece(path, Draws(0, str(number)))
        assert made is not None
        screen, (x0, y0, x1, y1) = made
        inside = screen[int(max(0, y0)) : int(y1), int(max(0, x0)) : int(x1)].astype(int)
        assert inside.max(axis=(0, 1)).sum() - inside.min(axis=(0, 1)).sum() > 30


def test_crops_are_a_function_of_seed_and_drawing(tmp_path: Path) -> None:
    (one, *_) = drawings("boxicons", family(tmp_path / "a"), Crops())
    first = list(crops(one, 3, Crops()))
    assert first == list(crops(one, 3, Crops()))
    assert first != list(crops(one, 3, Crops(seed=1)))
    assert Image.open(io.BytesIO(first[0])).size == (64, 64)


def test_the_threshold_lets_so_many_false_names_through() -> None:
    draw = np.random.default_rng(0)
    chances = draw.dirichlet(np.full(5, 0.5), 400).astype(np.float32)
    for share in (0.0, 0.05, 0.3):
        least = threshold(chances, share)
        best = chances[:, :-1].max(axis=1)
        false = (best >= least) & (best > chances[:, -1])
        assert false.mean() <= share
        lower = (best >= least - 0.02) & (best > chances[:, -1])
        assert share == 0.0 or lower.mean() > share - 0.03


def test_the_recipe_on_three_small_families(tmp_path: Path, ray_session: None) -> None:
    folders = {name: family(tmp_path / name) for name in ("boxicons", "remix", "ionicons")}
    assert [FAMILIES[name].part for name in folders] == ["train", "calibrate", "held-out"]
    small = replace(SCHEDULE.loading, threads=1)
    config = TrainIconsConfig(
        out=str(tmp_path / "out"),
        crops=Crops(side=32, a_type=8),
        network=ResNetConfig((32, 32), layers=(1, 1, 1, 1), width=8, head_width=32),
        schedule=replace(
            SCHEDULE,
            loading=small,
            train=TrainConfig(steps=3, batch_size=8),
            workers=Workers(cpus=1),
        ),
    )
    names, found = train_icons(Job(config.out), config, folders)
    kept = json.loads((Path(names.path) / "icons.json").read_text())
    assert kept["classes"][-1] == NONE
    assert 0 <= kept["threshold"] <= 1
    rows = found.table().to_pylist()
    scores = {(row["split"], row["metric"]): row for row in rows}
    assert scores["ionicons", "top_1"]["n"] == 3
    assert scores["all", "false_names"]["n"] == 2
    held = open_dataset(str(tmp_path / "out" / "held-out")).table(["class_name", "group"])
    assert set(held["group"].to_pylist()) == {"ionicons"}
