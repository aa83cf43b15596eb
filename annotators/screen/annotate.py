"""Screenshots to schemas, as steps of Ray Data.

    picture -> Look -> See (detector) -> Read (OCR) -> NameIcons -> Describe (captions) -> Assemble

Every step takes a table of screens and gives one back, so each model has its own actors and works
on a batch of screens while the others work on the next ones. What cannot be looked at has a status
and passes through untouched:

    undecodable   no picture of a kind that Pillow reads, or one that ends too early
    too_small     shorter side under 16 pixels
    too_large     over 64 million pixels
    blank         one colour all over; its schema is empty
    ok            all else; `detail` says what was done to it: "CMYK", "first of 3 frames", or that
                  texts were not legible

A picture of more than one frame is its first; one in CMYK, of sixteen bits, turned by its camera,
or in a form that no browser shows, is kept as PNG.
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
from annotators.screen.merge import Merged, Merging, Seen, merge
from annotators.screen.ocr import Engine, Line, Pixels, decode
from annotators.screen.schema import Element
from annotators.screen.tiles import tiles
from pipelines.datasets import write_json
from pipelines.records import DETECTION, SCHEMAS_OF_SCREENS, SEEN_ELEMENT
from pipelines.stages import Step

OK, BLANK = "ok", "blank"
UNDECODABLE, TOO_SMALL, TOO_LARGE = "undecodable", "too_small", "too_large"
LEAST, MOST = 16, 64_000_000
"""Pixels of the shorter side, and of the whole picture."""
SECONDS = "_seconds"
"""Folder of the times that steps took, beside the shards; no part of the dataset."""
SHOWN = ("PNG", "JPEG", "WEBP")
"""Formats that are kept as they are."""
MODES = ("RGB", "RGBA", "L", "LA", "P", "1")
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


LOOKED = ("image", "format", "width", "height", "status", "detail")


def look(table: pa.Table) -> pa.Table:
    """The table with the columns of `LOOKED`: every picture as the models may take it."""
    found = [
        looked(image) if status == OK else (image, "", 0, 0, status, detail)
        for image, status, detail in zip(
            *(table[name].to_pylist() for name in ("image", "status", "detail")), strict=True
        )
    ]
    columns = list(zip(*found, strict=True)) or [()] * len(LOOKED)
    for name, values in zip(LOOKED, columns, strict=True):
        table = put(table, name, pa.array(values, SCHEMAS_OF_SCREENS.field(name).type))
    return table


def looked(image: bytes) -> tuple[bytes, str, int, int, str, str]:
    """Image, format, width, height, status and detail of an encoded picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image or b"")) as opened:
            width, height = opened.size
            if width * height > MOST:
                return image, "", width, height, TOO_LARGE, f"{width} x {height} pixels"
            opened.load()
            frames, mode, kind = getattr(opened, "n_frames", 1), opened.mode, opened.format or ""
            turned = opened.getexif().get(0x0112, 1) != 1
            said = [f"first of {frames} frames"] * (frames > 1) + [mode] * (mode not in MODES)
            said += ["turned"] * turned + [kind] * (kind not in SHOWN)
            if said:
                plain = ImageOps.exif_transpose(opened)
                if plain.mode.startswith("I"):  # sixteen bits: Pillow would cut, not scale
                    plain = plain.convert("I").point(lambda value: value / 257).convert("L")
                plain = plain.convert("RGBA" if "A" in plain.mode else "RGB")
                out = io.BytesIO()
                plain.save(out, "png", compress_level=1)
                image, kind, (width, height) = out.getvalue(), "PNG", plain.size
            if min(width, height) < LEAST:
                return image, kind.lower(), width, height, TOO_SMALL, f"{width} x {height} pixels"
        one_colour = all(low == high for low, high in _extrema(image))
    except (UnidentifiedImageError, ImportError):  # ultralytics makes Pillow try a HEIF reader
        return image, "", 0, 0, UNDECODABLE, "no picture of a kind that Pillow reads"
    except Exception as error:  # Pillow's readers raise of all kinds
        return image, "", 0, 0, UNDECODABLE, f"{type(error).__name__}: {error}"[:300]
    status = BLANK if one_colour else OK
    return image, kind.lower(), width, height, status, ", ".join(said)


def _extrema(image: bytes) -> list[tuple[int, int]]:
    pixels = decode(image)
    return [(int(pixels[..., c].min()), int(pixels[..., c].max())) for c in range(3)]


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


def put(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with a column, in place of the one of that name if there is one."""
    at = table.schema.get_field_index(name)
    return table.append_column(name, values) if at < 0 else table.set_column(at, name, values)


def _screens(table: pa.Table, places: Sequence[int]) -> list[Pixels]:
    return [
        decode(image) for image in table["image"].take(pa.array(places, pa.int64())).to_pylist()
    ]


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
        places = good(table)
        cut = [
            (p, tile)
            for p, s in zip(places, _screens(table, places), strict=True)
            for tile in tiles(s)
        ]
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
        places = good(table)
        cut = [
            (p, tile)
            for p, s in zip(places, _screens(table, places), strict=True)
            for tile in tiles(s)
        ]
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
