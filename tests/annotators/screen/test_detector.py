from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from annotators.screen.classes import CLASSES
from annotators.screen.detector import CONFIG, WEIGHTS, Detect, Detecting
from annotators.screen.detector_training import DetectorConfig, cut, export_yolo, labels, train
from pipelines import datasets
from pipelines.records import DETECTION, SCREENS, record_id
from pipelines.stages import Step, check

SMALL = DetectorConfig(
    width=0.0625, image_size=96, part=96, parts=1, least_scale=1.0, epochs=2, batch=4, threads=1
)


def png(seed: int, size: tuple[int, int] = (96, 64)) -> tuple[bytes, list[float]]:
    """A screen with one button, and where it is."""
    draw = np.random.default_rng(seed)
    picture = Image.new("RGB", size, "white")
    x, y = (int(draw.integers(2, room - 40)) for room in (size[0], size[1] + 16))
    ImageDraw.Draw(picture).rectangle((x, y, x + 32, y + 18), "#1144cc")
    out = io.BytesIO()
    picture.save(out, "png")
    return out.getvalue(), [x, y, x + 33, y + 19]


def row(seed: int, **other: Any) -> dict[str, Any]:
    image, (x0, y0, x1, y1) = png(seed)
    element = {"kind": "BUTTON", "text": "", "name": "", "state": "", "depth": 0}
    texts = ("source", "template", "page", "detail")
    return {
        **dict.fromkeys(texts, "x"),
        "screen_id": record_id("test", str(seed)),
        "image": image,
        **{"format": "png", "width": 96, "height": 64, "top": 0},
        **{"device": "phone", "theme": "light", "language": "en", "split": "train", "status": "ok"},
        "truth": [element | {"x0": x0, "y0": y0, "x1": x1, "y1": y1}],
        **other,
    }


@pytest.fixture(scope="module")
def screens(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    rows = [row(seed) for seed in range(14)]
    rows += [row(20, split="held-out"), row(21, status="failed", image=None, truth=None)]

    def write(folder: str) -> dict[str, int]:
        datasets.write_shard(f"{folder}/00000.parquet", pa.Table.from_pylist(rows, SCREENS))
        return {}

    folder = str(tmp_path_factory.mktemp("screens") / "screens")
    return datasets.build(folder, name="screens", config={}, seed=0, parents=[], write=write)


@pytest.fixture(scope="module")
def detector(screens: datasets.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    data = export_yolo(screens, str(folder / "work" / "data"), SMALL)
    train(data, str(folder), str(folder / "work"), SMALL)
    return folder


def test_labels_are_shares_of_the_picture() -> None:
    element = {"kind": "TEXT", "x0": 10, "y0": 20, "x1": 30, "y1": 40}
    place = list(CLASSES).index("TEXT")
    assert labels([element], 100, 200) == [f"{place} 0.200000 0.150000 0.200000 0.100000"]


def test_the_layout_has_training_screens_only(screens: datasets.Dataset, tmp_path: Path) -> None:
    export_yolo(screens, str(tmp_path), replace(SMALL, checked=0.3))
    found = {path.stem for path in tmp_path.rglob("*.png")}
    assert found == {record_id("test", str(seed)) + "-0" for seed in range(14)}
    parts = [len(list((tmp_path / "labels" / part).iterdir())) for part in ("train", "val")]
    assert sum(parts) == 14
    assert min(parts) > 0


def test_an_element_is_where_it_is_seen_on_each_part() -> None:
    config = DetectorConfig(image_size=160, part=64, parts=40, least_scale=0.6)
    screen = row(3, image=png(3, (200, 120))[0])
    x0, y0, x1, y1 = png(3, (200, 120))[1]
    screen["truth"][0] |= {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    parts = list(cut(screen, config))
    assert len(parts) == 40
    assert {len(truth) for _, truth in parts} == {0, 1}
    for pixels, truth in parts:
        assert max(pixels.shape[:2]) <= 64
        blue = pixels[..., 0] < 140
        if not truth:  # less than a third of 33 x 19 at most at the largest scale
            assert blue.sum() < 0.4 * 33 * 19 * 0.8**2
            continue
        down, right = np.nonzero(blue)
        seen = [right.min(), down.min(), right.max() + 1, down.max() + 1]
        said = [truth[0][edge] for edge in ("x0", "y0", "x1", "y1")]
        assert said == pytest.approx(seen, abs=1.0)


def test_parts_hang_on_the_screen_and_the_seed_alone() -> None:
    config = DetectorConfig(image_size=90, part=48, parts=2)
    first, again = (list(cut(row(1), config)) for _ in range(2))
    assert all((a[0] == b[0]).all() and a[1] == b[1] for a, b in zip(first, again, strict=True))
    other = next(cut(row(1), replace(config, seed=1)))
    assert other[0].shape != first[0][0].shape or (other[0] != first[0][0]).any()


def test_a_dataset_without_training_screens_is_refused(tmp_path: Path) -> None:
    def write(folder: str) -> dict[str, int]:
        table = pa.Table.from_pylist([row(0, split="held-out")], SCREENS)
        datasets.write_shard(f"{folder}/00000.parquet", table)
        return {}

    held = datasets.build(
        str(tmp_path / "d"), name="screens", config={}, seed=0, parents=[], write=write
    )
    with pytest.raises(ValueError, match="has 0 training screens"):
        export_yolo(held, str(tmp_path / "w"), SMALL)


def test_a_trained_detector_is_kept_and_loaded(detector: Path) -> None:
    import torch

    from annotators.screen import yolo

    assert (detector / CONFIG).exists()
    assert (detector / WEIGHTS).exists()
    best = yolo.pickled(str(detector / "work" / "run" / "weights" / "best.pt")).model
    ours = Detect(str(detector)).model.model
    pixels = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected, found = (net.float().eval()(pixels)[0] for net in (best, ours))
    torch.testing.assert_close(found, expected)


def test_what_does_not_decode_has_a_status_and_the_rest_goes_on(detector: Path) -> None:
    detect = Detect(str(detector), Detecting(confidence=0.0))
    images = [png(1)[0], b"no picture", b"", None, png(2, (60, 200))[0], png(3)[0]]
    states = ["ok", "ok", "ok", "ok", "ok", "timeout"]
    table = pa.table({"screen_id": list("abcdef"), "image": images, "status": states})
    found = detect(table)
    assert found["status"].to_pylist() == ["ok", *["undecodable"] * 3, "ok", "timeout"]
    assert found["boxes"].type == pa.list_(DETECTION)
    boxes = found["boxes"].to_pylist()
    assert [bool(one) for one in boxes] == [True, False, False, False, True, False]
    assert all(0 <= b["x0"] < b["x1"] <= 60 and b["y1"] <= 200 for b in boxes[4])
    assert [b["confidence"] for b in boxes[0]] == sorted(
        (b["confidence"] for b in boxes[0]), reverse=True
    )


def test_what_is_found_does_not_depend_on_the_other_screens(detector: Path) -> None:
    detect = Detect(str(detector), Detecting(confidence=0.0, most=20))
    images = [png(seed, size)[0] for seed, size in enumerate([(96, 64), (64, 96), (96, 64)])]
    together = detect(pa.table({"image": images}))["boxes"].to_pylist()
    for place, image in enumerate(images):
        alone = detect(pa.table({"image": [image]}))["boxes"].to_pylist()[0]
        assert [b["kind"] for b in together[place]] == [b["kind"] for b in alone]
        for key in ("confidence", "x0", "y0", "x1", "y1"):
            ours, theirs = ([b[key] for b in boxes] for boxes in (together[place], alone))
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-2)


def test_other_weights_need_a_class_of_ours_for_each_of_theirs(detector: Path) -> None:
    detect = Detect(str(detector))
    detect.config = Detecting(kinds={"icon": "PICTOGRAM"})
    assert detect._kind("icon") == "PICTOGRAM"
    with pytest.raises(ValueError, match="'thing'"):
        detect._kind("thing")


def test_it_fits_a_chain_of_steps() -> None:
    step = Step(Detect, Detect.reads, Detect.writes, arguments=("folder",))
    check(["screen_id", "image"], [step], ["screen_id", "boxes", "status"])
