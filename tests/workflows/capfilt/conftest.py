"""Pairs of coloured sheets and what they are, as a noisy web corpus or a clean set."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.records import SAMPLES, record_id
from pipelines.web.images import ImageConfig, Picture, process

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 220)}
SHAPES = ("plain", "striped", "dotted")


def _picture(colour: str, shape: str, number: int) -> bytes:
    chance = np.random.default_rng(number)
    pixels = np.full((64, 64, 3), COLOURS[colour], np.float64)
    if shape == "striped":
        pixels[::8] = pixels[1::8] = 240
    if shape == "dotted":
        pixels[::8, ::8] = pixels[1::8, 1::8] = 20
    pixels += chance.normal(0, 12, pixels.shape) + chance.uniform(-25, 25, (6, 1, 3))[:1]
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def _rows(site: str, count: int, noise: bool) -> Iterator[dict[str, Any]]:
    for number in range(count):
        colour, shape = list(COLOURS)[number % 3], SHAPES[number // 3 % 3]
        made = process(_picture(colour, shape, number), ImageConfig(image_size=64))
        assert isinstance(made, Picture)
        url = f"http://{site}.example/{number}.png"
        text = f"img_{number}.png" if noise and number % 3 == 0 else f"a {shape} {colour} sheet"
        found = {
            "pair_id": record_id(url, text),
            "text": text,
            "source": "alt",
            "page_url": f"http://{site}.example/",
            "language": "en",
            "queries": [],
        }
        looks = {name: getattr(made, name, None) for name in SAMPLES.names}
        yield looks | {"image_id": record_id(url), "image_url": url, "texts": [found]}


def _build(path: Path, table: list[dict[str, Any]]) -> Dataset:
    def write(folder: str) -> dict[str, int]:
        datasets.write_shard(f"{folder}/0.parquet", pa.Table.from_pylist(table, SAMPLES))
        return {}

    return datasets.build(str(path), name="samples", config={}, seed=0, parents=[], write=write)


@pytest.fixture(scope="session")
def sheets() -> Callable[..., Dataset]:
    """Makes a samples dataset: its folder, its site, how many pairs, and whether every third text
    is a file's name.
    """
    return lambda path, site, count, noise: _build(path, list(_rows(site, count, noise)))
