"""Screenshots to schemas, as steps of Ray Data.

    picture -> look -> See (boxes) -> Read (OCR) -> Name (icons) -> Describe (captions) -> Assemble

Every step takes a table of screens and gives one back, so each model has its own actors and works
on a batch of screens while the others work on the next ones. What cannot be looked at
(`annotators.screen.look`) has a status and passes through untouched.
"""

from __future__ import annotations

import io
import posixpath
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from annotators.captions import Captioner, Prepare
from annotators.screen import grammar
from annotators.screen.icons import NameIcons
from annotators.screen.look import LOOKED, OK, look, put
from annotators.screen.merge import Merged, Merging, Seen, merge
from annotators.screen.ocr import Engine, Line, Pixels, decode
from annotators.screen.schema import Element
from annotators.screen.tiles import Tile, tiles
from pipelines.records import DETECTION, SCHEMAS_OF_SCREENS, SEEN_ELEMENT
from pipelines.stages import Step
from pipelines.storage import write_json

SECONDS = "_seconds"
"""Folder of the times that steps took, beside the shards; no part of the dataset."""
LINE = pa.struct(
    [
        pa.field("text", pa.string()),
        pa.field("confidence", pa.float32()),
        *(pa.field(edge, pa.float32()) for edge in ("left", "right", "top", "bottom")),
    ]
)


class Detector(Protocol):
    """Sees elements; `annotators.screen.detector.Detect` is one."""

    def detect(self, screens: Sequence[Pixels]) -> list[list[dict[str, Any]]]:
        """Of each screen (H, W, 3) RGB what is seen: values of `records.DETECTION`."""


@dataclass(frozen=True)
class Models:
    """What makes each model where it is to run; all picklable."""

    detector: Callable[[], Detector]
    engine: Callable[[], Engine]
    icons: str = ""
    """Folder of a classifier of icons; empty: icons have no names."""
    captioner: Callable[[], Captioner] | None = None
    prepare: Prepare | None = None
    """How the captioner's images are made."""


@dataclass(frozen=True)
class Running:
    """How the models run."""

    batch_rows: int = 8
    """Screens of a table."""
    detectors: int = 1
    """Actors that hold the detector."""
    readers: int = 1
    """Actors that hold the OCR networks."""
    others: int = 1
    """Actors of the other models, each."""
    captions: int = 24
    """Most captions of a screen, of its largest pictures without a name."""
    gpus: float = 0.0
    """Of each actor, fractions allowed."""
    merging: Merging = field(default_factory=Merging)
    """What is believed of what was seen."""


def steps(models: Models, running: Running, folder: str) -> list[Step]:
    """The chain from the columns of `pictures` to those of `schemas`.

    Args:
        folder: of the dataset; the times of the steps go into `SECONDS` in it.
    """

    def step(
        make: Any, reads: Sequence[str], writes: Sequence[str], workers: int, *of: Any
    ) -> Step:
        arguments = (folder, *of)
        return Step(make, reads, writes, (), arguments, running.batch_rows, workers, running.gpus)

    chain = [
        Step(look, ("image", "status"), LOOKED, batch_rows=running.batch_rows, workers=1),
        step(See, See.reads, See.writes, running.detectors, models.detector),
        step(Read, Read.reads, Read.writes, running.readers, models.engine),
        step(Name, NameIcons.reads, NameIcons.writes, running.others, models.icons),
    ]
    if models.captioner is not None:
        arguments = (models.captioner, models.prepare, running.captions)
        chain.append(step(Describe, Describe.reads, Describe.writes, running.others, *arguments))
    chain.append(
        step(Assemble, Assemble.reads, SCHEMAS_OF_SCREENS.names, running.others, running.merging)
    )
    return chain


class Timed:
    """A step that notes how long its batches take, whichever machine it is on."""

    stage = ""
    reads: tuple[str, ...] = ()

    def __init__(self, folder: str) -> None:
        self.folder = posixpath.join(folder, SECONDS)

    def __call__(self, table: pa.Table) -> pa.Table:
        """What `work` makes of the table."""
        started = time.perf_counter()
        done = self.work(table)
        seconds = time.perf_counter() - started
        noted = {"stage": self.stage, "screens": table.num_rows, "seconds": seconds}
        write_json(posixpath.join(self.folder, f"{uuid.uuid4().hex}.json"), noted)
        return done

    def work(self, table: pa.Table) -> pa.Table:
        """The step itself."""
        raise NotImplementedError


def good(table: pa.Table) -> list[int]:
    """Places of the rows whose status is ok."""
    return [place for place, status in enumerate(table["status"].to_pylist()) if status == OK]


def _tiled(table: pa.Table) -> list[tuple[int, Tile]]:
    """The tiles of every screen whose status is ok, each with its row's place."""
    places = good(table)
    images = table["image"].take(pa.array(places, pa.int64())).to_pylist()
    return [(p, tile) for p, i in zip(places, images, strict=True) for tile in tiles(decode(i))]


class See(Timed):
    """Adds `boxes` (`records.DETECTION`): what the detector sees, long screens in tiles."""

    stage = "detect"
    reads = ("image", "status")
    writes = ("boxes",)

    def __init__(self, folder: str, make: Callable[[], Detector]) -> None:
        super().__init__(folder)
        self.detector = make()

    def work(self, table: pa.Table) -> pa.Table:
        """All tiles of all screens go to the detector together."""
        cut = _tiled(table)
        found: list[list[dict[str, Any]]] = [[] for _ in range(table.num_rows)]
        seen = self.detector.detect([tile.pixels for _, tile in cut]) if cut else []
        for (place, tile), boxes in zip(cut, seen, strict=True):
            for box in boxes:
                moved = box | {
                    **{edge: box[edge] + tile.left for edge in ("x0", "x1")},
                    **{edge: box[edge] + tile.top for edge in ("y0", "y1")},
                }
                if tile.owns(moved["x0"], moved["x1"], moved["y0"], moved["y1"]):
                    found[place].append(moved)
        return put(table, "boxes", pa.array(found, pa.list_(DETECTION)))


class Read(Timed):
    """Adds `lines` (`LINE`): what the OCR engine reads, long screens in tiles."""

    stage = "read"
    reads = ("image", "status")
    writes = ("lines",)

    def __init__(self, folder: str, make: Callable[[], Engine]) -> None:
        super().__init__(folder)
        self.engine = make()

    def work(self, table: pa.Table) -> pa.Table:
        """All tiles of all screens go to the engine together."""
        cut = _tiled(table)
        found: list[list[dict[str, Any]]] = [[] for _ in range(table.num_rows)]
        read = self.engine.read([tile.pixels for _, tile in cut]) if cut else []
        for (place, tile), lines in zip(cut, read, strict=True):
            for line in lines:
                left, right, top, bottom = line.edges
                edges = left + tile.left, right + tile.left, top + tile.top, bottom + tile.top
                if tile.owns(*edges):
                    named = dict(zip(("left", "right", "top", "bottom"), edges, strict=True))
                    found[place].append({"text": line.text, "confidence": line.confidence, **named})
        return put(table, "lines", pa.array(found, pa.list_(LINE)))


class Name(Timed):
    """Adds `icons`, a name for each of `boxes`, "" for what is none or is unknown."""

    stage = "icons"
    reads = NameIcons.reads

    def __init__(self, folder: str, icons: str) -> None:
        super().__init__(folder)
        self.names = NameIcons(icons) if icons else None

    def work(self, table: pa.Table) -> pa.Table:
        """Without a classifier no icon has a name."""
        if self.names is not None:
            return self.names(table)
        empty = [[""] * len(boxes) for boxes in table["boxes"].to_pylist()]
        return put(table, "icons", pa.array(empty, pa.list_(pa.string())))


class Describe(Timed):
    """Adds `captions`, one for each of `boxes` that is an image or an icon without a name."""

    stage = "captions"
    reads = ("image_id", "image", "boxes", "icons", "status", "detail")
    writes = ("captions", "detail")

    def __init__(
        self, folder: str, make: Callable[[], Captioner], prepare: Prepare, most: int
    ) -> None:
        super().__init__(folder)
        self.captioner, self.prepare, self.most = make(), prepare, most

    def work(self, table: pa.Table) -> pa.Table:
        """What the captioner could not do is counted in `detail`."""
        rows = table.select(["image_id", "image", "boxes", "icons", "detail"]).to_pylist()
        captions = [[""] * len(row["boxes"]) for row in rows]
        asked = [(r, b) for r in good(table) for b in self._wanted(rows[r])]
        images = [self.prepare(_crop(rows[r]["image"], rows[r]["boxes"][b])) for r, b in asked]
        keys = [f"{rows[r]['image_id']}/{b}" for r, b in asked]
        written = self.captioner.captions(images, keys) if images else []
        failed: dict[int, Counter[str]] = {}
        for (r, b), one in zip(asked, written, strict=True):
            captions[r][b] = one.texts[0] if one.texts else ""
            if one.status != OK:
                failed.setdefault(r, Counter())[one.status] += 1
        details = [row["detail"] for row in rows]
        for r, count in failed.items():
            said = ", ".join(f"{n} captions {why}" for why, n in sorted(count.items()))
            details[r] = ", ".join(filter(None, (details[r], said)))
        table = put(table, "captions", pa.array(captions, pa.list_(pa.string())))
        return put(table, "detail", pa.array(details, pa.string()))

    def _wanted(self, row: Mapping[str, Any]) -> list[int]:
        """Places of the boxes to describe, the largest first."""
        boxes = row["boxes"]
        found = [
            place
            for place, box in enumerate(boxes)
            if box["kind"] == "IMAGE" or (box["kind"] == "PICTOGRAM" and not row["icons"][place])
        ]
        return sorted(found, key=lambda place: -_area(boxes[place]))[: self.most]


def _area(box: Mapping[str, float]) -> float:
    return (box["x1"] - box["x0"]) * (box["y1"] - box["y0"])


def _crop(image: bytes, box: Mapping[str, float]) -> bytes:
    """A part of a picture as PNG."""
    from PIL import Image

    screen = decode(image)
    x0, y0 = int(box["x0"]), int(box["y0"])
    x1, y1 = max(x0 + 1, round(box["x1"])), max(y0 + 1, round(box["y1"]))
    out = io.BytesIO()
    Image.fromarray(screen[y0:y1, x0:x1]).save(out, "png", compress_level=1)
    return out.getvalue()


class Assemble(Timed):
    """The rows of `schemas`: everything that was seen, merged, nested and in reading order."""

    stage = "assemble"
    reads = (
        *("image_id", "origin", "image", "format", "width", "height"),
        *("boxes", "lines", "icons", "status", "detail"),
    )

    def __init__(self, folder: str, merging: Merging) -> None:
        super().__init__(folder)
        self.merging = merging

    def work(self, table: pa.Table) -> pa.Table:
        """Rows of another status have an empty schema."""
        rows = [self._row(row) for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, SCHEMAS_OF_SCREENS)

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        merged = Merged(grammar.parse(""))
        if row["status"] == OK:
            merged = merge(seen_of(row), self.merging)
        said = [row["detail"]]
        said += ["nothing found"] * (row["status"] == OK and not merged.schema.elements)
        said += [f"{merged.illegible} texts not legible"] * bool(merged.illegible)
        said += [f"{merged.over} elements too many"] * bool(merged.over)
        kept = {name: row[name] for name in SCHEMAS_OF_SCREENS.names if name in row}
        return kept | {
            "elements": [element_row(element) for element in merged.schema],
            "screen": grammar.render(merged.schema),
            "detail": ", ".join(filter(None, said)),
        }


def seen_of(row: Mapping[str, Any]) -> Seen:
    """What the models said of a row."""
    lines = [
        Line(one["text"], (one["left"], one["right"], one["top"], one["bottom"]), one["confidence"])
        for one in row["lines"]
    ]
    captions = row.get("captions") or ()
    return Seen(row["width"], row["height"], row["boxes"], lines, row["icons"], captions)


def element_row(element: Element) -> dict[str, Any]:
    """As `records.SEEN_ELEMENT`."""
    box = element.box._asdict()
    found = {"kind": element.kind, "text": element.text, "depth": element.depth, **box}
    return {name: found[name] for name in (field.name for field in SEEN_ELEMENT)}
