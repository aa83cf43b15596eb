"""Elements found on screenshots by a YOLO network: ours, or any weights of ultralytics.

A detector that was trained here is a state dict in safetensors beside a JSON that says what it is.
Other weights are a `.pt` file of ultralytics, which is a pickle (only load files that you trust);
its class names are put into ours by `Detecting.kinds`.
"""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from annotators.screen.classes import CLASSES
from annotators.screen.ocr import Pixels, decode
from pipelines.records import DETECTION

CONFIG, WEIGHTS = "detector.json", "detector.safetensors"
OK, UNDECODABLE = "ok", "undecodable"
TOGETHER = 8
"""Screens that go through the network together."""


@dataclass(frozen=True)
class Detecting:
    """How a detector is run."""

    image_size: int = 0
    """Longer side that a screen is scaled to; 0: as it was trained."""
    confidence: float = 0.25
    """Least confidence of a box that is kept."""
    overlap: float = 0.6
    """Most IoU of two boxes of one class that are kept."""
    exclusive: bool = False
    """Whether boxes of two classes count as one as well: of those only the surest is kept."""
    most: int = 600
    """Most boxes of a screen, the surest."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Class of ours by the name that other weights have for it; names that are ours need none."""
    any_name: bool = False
    """Whether a class of the weights that is none of ours is kept under its own name, for scores
    without classes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Detect:
    """Tables with screenshots to tables with what is seen on them; a `Step` of Ray Data.

    Reads `image` and, where there are such, `status` and `detail`. Writes `boxes`, a list of
    `records.DETECTION` by falling confidence, boxes in pixels of the picture, and `status` and
    `detail`: a picture that does not decode is "undecodable" and has no boxes, nor has a row that
    came with another status than ok, which stays.

    Args:
        weights: folder of a detector that was trained here, or a `.pt` file of ultralytics.

    Raises:
        ValueError: the weights have a class that is neither ours nor in `Detecting.kinds`.
    """

    reads = ("image",)
    writes = ("boxes", "status", "detail")

    def __init__(self, weights: str, config: Detecting | None = None) -> None:
        self.config = config or Detecting()
        self.model, trained_at = load(weights)
        self.image_size = self.config.image_size or trained_at
        self.kinds = [self._kind(self.model.names[place]) for place in sorted(self.model.names)]

    def _kind(self, name: str) -> str:
        kind = self.config.kinds.get(name, name)
        if kind not in CLASSES and not self.config.any_name:
            raise ValueError(
                f"the weights have class {name!r}; legal: {', '.join(CLASSES)}, or one of these "
                "for it in `kinds`"
            )
        return kind

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the columns of `writes`."""
        status = _column(table, "status", OK)
        detail = _column(table, "detail", "")
        screens: dict[int, Pixels] = {}
        for place, image in enumerate(table.column("image").to_pylist()):
            if status[place] == OK:
                try:
                    screens[place] = decode(image or b"")
                except Exception as error:  # Pillow's readers raise of all kinds
                    reason = f"{type(error).__name__}: {error}"
                    status[place], detail[place] = UNDECODABLE, reason[:300]
        found = dict(zip(screens, self.detect(list(screens.values())), strict=True))
        boxes = [found.get(place, []) for place in range(table.num_rows)]
        table = _with(table, "boxes", pa.array(boxes, pa.list_(DETECTION)))
        table = _with(table, "status", pa.array(status, pa.string()))
        return _with(table, "detail", pa.array(detail, pa.string()))

    def detect(self, screens: Sequence[Pixels]) -> list[list[dict[str, Any]]]:
        """What is seen on each screen (H, W, 3) RGB: values of `records.DETECTION`.

        Screens of one shape go through the network together, so that no screen gets borders for
        another's sake.
        """
        out: list[list[dict[str, Any]]] = [[] for _ in screens]
        for places in _alike(screens):
            for start in range(0, len(places), TOGETHER):
                part = places[start : start + TOGETHER]
                pictures = [shrunk(screens[place][..., ::-1], self.image_size) for place in part]
                for place, result in zip(part, self._predict(pictures), strict=True):
                    out[place] = list(self._values(result, screens[place].shape))
        return out

    def _predict(self, pictures: list[Pixels]) -> Iterable[Any]:
        """ultralytics' results; it wants BGR."""
        config = self.config
        results: Iterable[Any] = self.model.predict(
            pictures,
            imgsz=self.image_size,
            conf=config.confidence,
            iou=config.overlap,
            agnostic_nms=config.exclusive,
            max_det=config.most,
            device=device(config.device),
            verbose=False,
            save=False,
        )
        return results

    def _values(self, result: Any, shape: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The boxes in pixels of the picture, whose shape is (H, W, 3)."""
        found, seen = result.boxes, result.orig_shape
        wide, high = shape[1] / seen[1], shape[0] / seen[0]
        for (x0, y0, x1, y1), sure, place in zip(
            found.xyxy.tolist(), found.conf.tolist(), found.cls.tolist(), strict=True
        ):
            edges = {"x0": max(0.0, x0 * wide), "y0": max(0.0, y0 * high)}
            edges |= {"x1": min(float(shape[1]), x1 * wide)}
            edges |= {"y1": min(float(shape[0]), y1 * high)}
            if edges["x0"] < edges["x1"] and edges["y0"] < edges["y1"]:
                yield {"kind": self.kinds[int(place)], "confidence": sure, **edges}


def shrunk(pixels: Pixels, longer_side: int) -> Pixels:
    """(H, W, 3) with the longer side at most so long, every pixel the mean of what it covers.

    ultralytics by itself would take one pixel of several, and letters would break.
    """
    import cv2

    height, width = pixels.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized: Pixels = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    return resized


def load(weights: str) -> tuple[Any, int]:
    """A network ready to run, and the longer side in pixels that it was trained at."""
    from annotators.screen import yolo

    if weights.endswith(".pt"):
        model = yolo.pickled(weights)
        return model, int(model.overrides.get("imgsz", 640))
    from safetensors.torch import load as parse

    from models.weights import read_bytes

    described = json.loads(read_bytes(posixpath.join(weights, CONFIG)))
    with tempfile.TemporaryDirectory() as folder:
        model = yolo.fresh(described["network"], folder, 0)
    model.model.load_state_dict(parse(read_bytes(posixpath.join(weights, WEIGHTS))))
    model.model.names = dict(enumerate(described["classes"]))
    return model, described["image_size"]


def device(wanted: str) -> str:
    """A GPU where "auto" finds one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def _alike(screens: Sequence[Pixels]) -> list[list[int]]:
    """Places of the screens of each shape."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, screen in enumerate(screens):
        groups.setdefault(screen.shape, []).append(place)
    return list(groups.values())


def _column(table: pa.Table, name: str, default: str) -> list[str]:
    if name not in table.column_names:
        return [default] * table.num_rows
    return [default if value is None else value for value in table.column(name).to_pylist()]


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
