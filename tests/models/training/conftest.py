"""Small datasets of coloured squares, as `samples` and as `labelled`."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines import datasets, storage
from pipelines.records import SCHEMAS, record_id

Maker = Callable[..., str]


def picture(number: int, side: int = 20, alpha: bool = False) -> bytes:
    """A PNG of random blocks, the same for the same number."""
    channels = 4 if alpha else 3
    blocks = np.random.default_rng(number).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def sample(number: int, texts: int, alpha: bool) -> dict[str, Any]:
    found = [
        {
            "pair_id": record_id(str(number), str(t)),
            "text": f"picture {number} said {t} ways",
            "source": "alt",
            "page_url": "http://here/",
            "language": "en",
            "queries": ["picture"],
        }
        for t in range(texts)
    ]
    return {
        "image_id": record_id(str(number)),
        "image_url": f"http://here/{number}.png",
        "texts": found,
        "image": picture(number, alpha=alpha),
        "format": "png",
        "width": 20,
        "height": 20,
        "original_width": 20,
        "original_height": 20,
        "sha256": "",
        "phash": "",
        "thumbnail": b"\0" * 768,
    }


def labelled(number: int) -> dict[str, Any]:
    return {
        "image_id": record_id(str(number)),
        "image": picture(number),
        "label": number % 5,
        "class_name": str(number % 5),
        "group": "train",
    }


@pytest.fixture
def picture_of() -> Callable[[int], bytes]:
    """The encoded image of a row's number."""
    return picture


@pytest.fixture
def make_data(tmp_path: Path) -> Maker:
    """Writes rows 0 to n - 1 in shards of `per_shard`, in the order given, and a manifest."""

    def make(
        n: int,
        name: str = "samples",
        *,
        folder: str = "data",
        per_shard: int = 1000,
        texts: int = 1,
        alpha: bool = False,
        backwards: bool = False,
    ) -> str:
        numbers = list(range(n))[:: -1 if backwards else 1]
        shards = []
        for first in range(0, n, per_shard):
            chosen = numbers[first : first + per_shard]
            rows = [sample(i, texts, alpha) if name == "samples" else labelled(i) for i in chosen]
            file = f"part-{first:05d}.parquet"
            table = pa.Table.from_pylist(rows, SCHEMAS[name])
            datasets.write_shard(str(tmp_path / folder / file), table)
            shards.append(datasets.Shard(file, len(rows), ""))
        manifest = datasets.Manifest(
            name, [], n, shards, f"hash of {n} {name}", {}, "", 0, "", [], {}, {}
        )
        path = str(tmp_path / folder)
        storage.write_json(f"{path}/manifest.json", dataclasses.asdict(manifest))
        return path

    return make
