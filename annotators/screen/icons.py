"""Names of icons on screenshots: a classifier over the types of `icon_names`, which may say that it
does not know.

An icon's box is drawn in to what is in it, since detectors give a button's padding with its icon;
then the icon is cut out as a square, a little larger, and brought to the side that the network
takes. The network has one class more than there are types, for what is
none of them; a name is given where a type is the likeliest class and its probability reaches the
threshold that calibration chose on a family of its own (`workflows.screens.icons`).

Letters: N icons, K classes.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annotators.screen.classes import CLASSES
from annotators.screen.ocr import Pixels, decode

CONFIG = "icons.json"
"""Beside the weights: classes and threshold."""
NONE = "none of these"
"""The class of what is no type of ours."""
UNKNOWN = ""
MARGIN = 1.2
"""Side of what is cut out, in longer sides of the icon's box."""
TOGETHER = 256
"""Icons that go through the network together."""

Edges4 = tuple[float, float, float, float]
"""x0 y0 x1 y1 in pixels."""


INK = 40
"""Least difference, of 255 in any colour, from the ground around an icon."""


@dataclass(frozen=True)
class Named:
    """What an icon is taken for."""

    name: str
    """A type, or "" where it is unknown."""
    probability: float
    """Of the likeliest type, named or not."""


def cut_out(screen: Pixels, box: Edges4, side: int, margin: float = MARGIN) -> Pixels:
    """The square (side, side, 3) around `box` x0 y0 x1 y1; the border is repeated outside."""
    import cv2

    x0, y0, x1, y1 = box
    half = max(1.0, margin * max(x1 - x0, y1 - y0) / 2)
    left, top = round((x0 + x1) / 2 - half), round((y0 + y1) / 2 - half)
    length = max(1, round(2 * half))
    rows = np.clip(np.arange(top, top + length), 0, screen.shape[0] - 1)
    columns = np.clip(np.arange(left, left + length), 0, screen.shape[1] - 1)
    square = np.ascontiguousarray(screen[rows[:, None], columns])
    method = cv2.INTER_AREA if length > side else cv2.INTER_CUBIC
    resized: Pixels = cv2.resize(square, (side, side), interpolation=method)
    return resized


def tight(screen: Pixels, box: Edges4) -> Edges4:
    """`box` without the ground around what is in it, the ground being the median of its border; as
    it was where nothing stands out or all of it does.
    """
    x0, y0 = (max(0, int(edge)) for edge in box[:2])
    x1, y1 = (int(np.ceil(edge)) for edge in box[2:])
    part = screen[y0:y1, x0:x1].astype(np.int16)
    if min(part.shape[:2]) < 3:
        return box
    border = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    ink_HW = np.abs(part - np.median(border, axis=0)).max(axis=2) > INK
    rows, columns = np.flatnonzero(ink_HW.any(axis=1)), np.flatnonzero(ink_HW.any(axis=0))
    if not len(rows):
        return box
    left, right, top, bottom = (int(e) for e in (columns[0], columns[-1], rows[0], rows[-1]))
    return float(x0 + left), float(y0 + top), x0 + right + 1.0, y0 + bottom + 1.0


def chosen(
    chances_NK: npt.NDArray[np.float32], classes: Sequence[str], threshold: float
) -> list[Named]:
    """Names by the rule above; the last class is `NONE`."""
    best_N = chances_NK[:, :-1].argmax(axis=1)
    found = []
    for chances_K, best in zip(chances_NK, best_N.tolist(), strict=True):
        sure = float(chances_K[best])
        known = sure >= threshold and sure > chances_K[-1]
        found.append(Named(classes[best] if known else UNKNOWN, sure))
    return found


class IconNames:
    """A trained classifier of icons.

    Args:
        folder: a checkpoint of `sightmill train-icons`.

    Raises FileNotFoundError where the folder has no `icons.json`.
    """

    def __init__(self, folder: str) -> None:
        import torch

        from models.weights import load, read_bytes

        kept = json.loads(read_bytes(posixpath.join(folder, CONFIG)))
        self.classes: list[str] = kept["classes"]
        self.threshold: float = kept["threshold"]
        model: Any = load(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.side: int = model.config.vision.image_size[0]

    def chances(self, squares: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """Probabilities (N, K) of squares (side, side, 3)."""
        import torch

        from models.pixels import normalise

        parts = [np.empty((0, len(self.classes)), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(squares), TOGETHER):
                pixels = np.stack(squares[start : start + TOGETHER]).transpose(0, 3, 1, 2)
                pixels_N3HW = normalise(torch.from_numpy(pixels.copy()).to(self.device))
                parts.append(self.model.logits(pixels_N3HW).float().softmax(dim=1).cpu().numpy())
        return np.concatenate(parts)

    def name(
        self, screens: Sequence[Pixels], boxes: Sequence[Sequence[Edges4]]
    ) -> list[list[Named]]:
        """The icons at `boxes` of each screen, all in one go."""
        squares = [
            cut_out(screen, tight(screen, box), self.side)
            for screen, of in zip(screens, boxes, strict=True)
            for box in of
        ]
        found = iter(chosen(self.chances(squares), self.classes, self.threshold))
        return [[next(found) for _ in of] for of in boxes]


class NameIcons:
    """Tables with `image`, `boxes` and `status` to tables with `icons`; a `Step` of Ray Data.

    `icons` has a name for each of `boxes` (`records.DETECTION`), "" for what is no icon or is
    unknown. Asked about are PICTOGRAMs, and boxes of classes that are none of ours, since other
    weights may not tell icons from buttons. Rows of another status than ok have no names.
    """

    reads = ("image", "boxes", "status")
    writes = ("icons",)

    def __init__(self, folder: str) -> None:
        self.names = IconNames(folder)

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the column `icons`."""
        rows = table.select(["image", "boxes", "status"]).to_pylist()
        good = [
            place
            for place, row in enumerate(rows)
            if row["status"] == "ok" and any(map(_is_icon, row["boxes"]))
        ]
        asked = [[_edges(box) for box in rows[place]["boxes"] if _is_icon(box)] for place in good]
        found = self.names.name([decode(rows[place]["image"]) for place in good], asked)
        answers = dict(zip(good, found, strict=True))
        column = [
            list(_spread(row["boxes"] or [], iter(answers.get(place, ()))))
            for place, row in enumerate(rows)
        ]
        return table.append_column("icons", pa.array(column, pa.list_(pa.string())))


def _is_icon(box: dict[str, Any]) -> bool:
    return box["kind"] == "PICTOGRAM" or box["kind"] not in CLASSES


def _spread(boxes: Sequence[dict[str, Any]], found: Iterator[Named]) -> Iterator[str]:
    for box in boxes:
        named = next(found, None) if _is_icon(box) else None
        yield named.name if named else UNKNOWN


def _edges(box: dict[str, Any]) -> Edges4:
    return box["x0"], box["y0"], box["x1"], box["y1"]
