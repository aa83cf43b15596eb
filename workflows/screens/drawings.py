"""Drawings of packaged icon families, and crops of them as they appear on screens.

Nine families train, one calibrates, three are held out, whole, for scores: Ionicons, GitHub's
Octicons and Heroicons. All are under MIT, ISC or Apache-2.0, but Font Awesome's free set and
Boxicons (CC BY 4.0).

A crop is what `annotators.screen.icons.cut_out` takes from a made-up piece of screen: the drawing
at 12 to 72 pixels, in ink on paper of a light or dark theme or a colour, sometimes on a disc or a
rounded square, sometimes with a line of text or a rule beside it, its box moved and resized a
little as a detector's would be. All of it is drawn by (seed, drawing, number).
"""

from __future__ import annotations

import functools
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from annotators.screen.icon_names import type_of, unlike_all
from annotators.screen.icons import NONE, Edges4, cut_out
from pipelines.records import uniform
from workflows.demo_web.packages import Package

Part = Literal["train", "calibrate", "held-out"]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Family:
    """An icon family, and what it is for."""

    package: Package
    part: Part
    tags: str = ""
    """Name of a JSON file with tags of the drawings, if the package has one."""


def _npm(name: str, version: str, keep: str) -> Package:
    return Package(name, "npm", "icons", keep, version)


FAMILIES: dict[str, Family] = {
    "mdi": Family(
        _npm("@mdi/svg", "7.4.47", r"(svg/[^/]+\.svg|meta\.json)$"), "train", "meta.json"
    ),
    "fontawesome": Family(
        _npm("@fortawesome/fontawesome-free", "7.3.1", r"package/svgs/.*\.svg$"), "train"
    ),
    "material": Family(_npm("@material-design-icons/svg", "0.14.15", r"\.svg$"), "train"),
    "phosphor": Family(
        _npm("@phosphor-icons/core", "2.1.1", r"assets/(regular|fill|bold)/[^/]+\.svg$"), "train"
    ),
    "boxicons": Family(_npm("boxicons", "2.1.4", r"package/svg/.*\.svg$"), "train"),
    "lucide": Family(
        _npm("lucide-static", "0.544.0", r"package/(icons/[^/]+\.svg|tags\.json)$"),
        "train",
        "tags.json",
    ),
    "tabler": Family(_npm("@tabler/icons", "3.35.0", r"package/icons/outline/.*\.svg$"), "train"),
    "bootstrap": Family(_npm("bootstrap-icons", "1.13.1", r"package/icons/[^/]+\.svg$"), "train"),
    "eva": Family(_npm("eva-icons", "1.1.3", r"package/(fill|outline)/svg/.*\.svg$"), "train"),
    "remix": Family(_npm("remixicon", "4.9.1", r"package/icons/.*\.svg$"), "calibrate"),
    "ionicons": Family(_npm("ionicons", "8.1.0", r"package/dist/svg/[^/]+\.svg$"), "held-out"),
    "octicons": Family(
        _npm("@primer/octicons", "19.42.0", r"package/build/svg/.*-24\.svg$"), "held-out"
    ),
    "heroicons": Family(_npm("heroicons", "2.2.0", r"package/24/.*\.svg$"), "held-out"),
}
PALETTE: tuple[Colour, ...] = (
    *((33, 37, 41), (73, 80, 87), (108, 117, 125), (173, 181, 189), (255, 255, 255)),
    *((13, 110, 253), (102, 16, 242), (214, 51, 132), (220, 53, 69), (253, 126, 20)),
    *((255, 193, 7), (25, 135, 84), (32, 201, 151), (13, 202, 240), (66, 99, 235), (0, 0, 0)),
)
LIGHT: tuple[Colour, ...] = ((255, 255, 255), (248, 249, 250), (233, 236, 239), (227, 242, 253))
DARK: tuple[Colour, ...] = ((18, 18, 18), (33, 37, 41), (30, 41, 59), (52, 58, 64), (0, 0, 0))
CONTRAST = 60.0
"""Least difference of brightness, 0-255, of ink and paper."""


@dataclass(frozen=True)
class Drawing:
    """One drawing of a family."""

    family: str
    path: Path
    kind: str
    """Its type, or `annotators.screen.icons.NONE`."""

    @property
    def origin(self) -> str:
        """Such as mdi/svg/home.svg."""
        return f"{self.family}/{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True)
class Crops:
    """How crops are drawn."""

    side: int = 64
    """Pixels a side."""
    a_type: int = 400
    """Crops of a type, over all its drawings, so that types with few drawings count as much."""
    most: int = 24
    """Crops of one drawing."""
    other: int = 2
    """Crops of a drawing that has no type."""
    most_others: int = 900
    """Drawings without a type that are taken of a family."""
    seed: int = 0


def drawings(name: str, folder: Path, config: Crops) -> list[Drawing]:
    """The drawings of a family that have a type, and those that surely have none."""
    tags = _tags(folder, FAMILIES[name].tags)
    named, others = [], []
    for path in sorted(folder.rglob("*.svg")):
        kind = type_of(path.stem)
        if kind is not None:
            named.append(Drawing(name, path, kind))
        elif unlike_all(path.stem, tags.get(path.stem, ())):
            others.append(Drawing(name, path, NONE))
    others.sort(key=lambda one: uniform(config.seed, "others", one.origin))
    return named + others[: config.most_others]


def _tags(folder: Path, file: str) -> dict[str, list[str]]:
    found = next(iter(sorted(folder.rglob(file))), None) if file else None
    if found is None:
        return {}
    read: Any = json.loads(found.read_text("utf-8"))
    if isinstance(read, Mapping):
        return {name: list(tags) for name, tags in read.items()}
    return {one["name"]: [*one.get("aliases", ()), *one.get("tags", ())] for one in read}


def counts(found: Sequence[Drawing], config: Crops) -> list[int]:
    """How many crops of each drawing are made for training."""
    of = Counter(one.kind for one in found)
    shares = {kind: max(1, -(-config.a_type // n)) for kind, n in of.items()}
    shares[NONE] = config.other
    return [min(config.most, shares[one.kind]) for one in found]


def crops(drawing: Drawing, count: int, config: Crops) -> Iterator[bytes]:
    """`count` PNGs (side, side) of a drawing; none of one that draws nothing."""
    from PIL import Image

    for number in range(count):
        draw = Draws(config.seed, f"{drawing.origin}#{number}")
        made = piece(drawing.path, draw)
        if made is None:
            return
        screen, box = made
        square = cut_out(screen, box, config.side)
        out = io.BytesIO()
        Image.fromarray(square).save(out, "png", compress_level=1)
        yield out.getvalue()


@dataclass
class Draws:
    """Random numbers that are a function of a seed and a key, one after the other."""

    seed: int
    key: str
    used: int = field(default=0)

    def one(self, low: float = 0.0, high: float = 1.0) -> float:
        """Uniform in [low, high)."""
        self.used += 1
        return low + (high - low) * uniform(self.seed, self.key, str(self.used))

    def of(self, choices: tuple[Any, ...]) -> Any:
        """One of them."""
        return choices[int(self.one() * len(choices))]


@functools.lru_cache(maxsize=64)
def mask(path: Path, size: int) -> npt.NDArray[np.uint8] | None:
    """Opacity (size, size) of a drawing in 0-255; None if nothing is drawn."""
    from PIL import Image
    from resvg_py import svg_to_bytes

    text = re.sub(r"currentColor", "#000", path.read_text("utf-8"))
    picture = bytes(svg_to_bytes(svg_string=text, width=size, height=size, skip_system_fonts=True))
    with Image.open(io.BytesIO(picture)) as opened:
        alpha = np.asarray(opened.convert("RGBA"))[..., 3]
    missing = [size - extent for extent in alpha.shape]  # resvg keeps the aspect
    alpha = np.pad(alpha, [(gap // 2, gap - gap // 2) for gap in missing])
    return alpha if alpha.max() > 0 else None


def piece(path: Path, draw: Draws) -> tuple[npt.NDArray[np.uint8], Edges4] | None:
    """A piece of screen (H, W, 3) with a drawing on it, and the box that a detector might give."""
    size = int(12 * 6 ** draw.one())
    alpha = mask(path, size)
    if alpha is None:
        return None
    paper: Colour = draw.of(draw.of((LIGHT, LIGHT, DARK, PALETTE)))
    ground = paper
    around = size  # pixels to each side
    screen = np.empty((3 * size, 3 * size, 3), np.float32)
    screen[:] = paper
    if draw.one() < 0.25:
        ground = draw.of(PALETTE)
        _plate(screen, size, ground, draw)
    ink = _ink(ground, draw)
    part = screen[around : around + size, around : around + size]
    opacity = alpha[..., None].astype(np.float32) / 255 * draw.of((1.0, 1.0, 0.75))
    part += (np.array(ink, np.float32) - part) * opacity
    if draw.one() < 0.4:
        _neighbour(screen, size, ink, draw)
    return np.rint(screen).astype(np.uint8), _box(alpha, around, draw)


def _ink(paper: Colour, draw: Draws) -> Colour:
    """A colour that can be told from `paper`."""
    readable = tuple(c for c in PALETTE if abs(_bright(c) - _bright(paper)) >= CONTRAST)
    plain = tuple(c for c in readable if max(c) - min(c) < 20)
    ink: Colour = draw.of(plain if plain and draw.one() < 0.6 else readable)
    return ink


def _bright(colour: Colour) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _plate(screen: npt.NDArray[np.float32], size: int, colour: Colour, draw: Draws) -> None:
    """A disc or a rounded square under the icon."""
    import cv2

    half, middle = size * draw.one(0.7, 0.95), 1.5 * size
    plate = np.zeros(screen.shape[:2], np.uint8)
    centre = int(middle), int(middle)
    if draw.one() < 0.5:
        cv2.circle(plate, centre, int(half), 255, -1, cv2.LINE_AA)
    else:
        low, high = int(middle - half), int(middle + half)
        cv2.rectangle(plate, (low, low), (high, high), 255, -1)
    screen += (np.array(colour, np.float32) - screen) * (plate[..., None].astype(np.float32) / 255)


def _neighbour(screen: npt.NDArray[np.float32], size: int, ink: Colour, draw: Draws) -> None:
    """Text beside the icon, as dashes of letters' size, or a rule above or below it."""
    if draw.one() < 0.5:
        y = int(size * draw.of((0.6, 0.75, 2.2, 2.35)))
        screen[y : y + 1] += (np.array(ink, np.float32) - screen[y : y + 1]) * 0.3
        return
    high = max(2, int(size * draw.one(0.3, 0.6)))
    top, x = int(1.5 * size - high / 2), int(size * draw.one(2.1, 2.4))
    while x < 3 * size:
        wide = max(1, int(high * draw.one(0.1, 0.5)))
        screen[top + int(high * draw.one(0, 0.4)) : top + high, x : x + wide] = ink
        x += wide + max(1, high // 5)


def _box(alpha: npt.NDArray[np.uint8], around: int, draw: Draws) -> Edges4:
    """The drawn part's box or the whole square's, moved and resized a little."""
    size = len(alpha)
    edges = [0.0, 0.0, float(size), float(size)]
    if draw.one() < 0.6:
        rows = np.flatnonzero(alpha.max(axis=1) > 40)
        columns = np.flatnonzero(alpha.max(axis=0) > 40)
        if len(rows) and len(columns):
            edges = [float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0]
    longer = max(edges[2] - edges[0], edges[3] - edges[1])
    moved = [around + edge + longer * draw.one(-0.08, 0.08) for edge in edges]
    grown = longer * draw.one(0.0, 0.12)
    return moved[0] - grown, moved[1] - grown, moved[2] + grown, moved[3] + grown
