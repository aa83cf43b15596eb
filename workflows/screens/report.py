"""The report of `sightmill screens`: one page, a page of screens with their schemas beside them,
and the schemas in the released form.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow.fs as pafs

from annotators.screen import grammar, released
from annotators.screen.annotate import SECONDS
from annotators.screen.browse import Shown, page
from annotators.screen.classes import CLASSES
from annotators.screen.overlay import COLOURS
from annotators.screen.schema import Element
from evaluators.report.lineage import ancestry
from evaluators.report.screens import render_screens_report
from evaluators.report.screens_inputs import Contents, Drawn, Screen, ScreensInputs, Step
from pipelines.datasets import Dataset
from pipelines.records import uniform
from pipelines.storage import filesystem as filesystem_of
from pipelines.storage import write_bytes, write_file

NAMED, BROWSE, CSV = "index.html", "screens.html", "screens.csv"
DETAILS = 20
"""Reasons that are listed."""
ICONS = 40
"""Names of icons that are listed."""
OVERLAYS = 6
"""Screens drawn on the page itself."""


@dataclass
class Counts:
    """What is counted over the screens."""

    statuses: Counter[str] = field(default_factory=Counter)
    details: Counter[tuple[str, str]] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    """Elements of each class that say something."""
    icons: Counter[str] = field(default_factory=Counter)
    elements: list[int] = field(default_factory=list)
    """Of each screen that is ok."""
    written: int = 0
    """Screens in the released form."""
    exact: int = 0
    """Of them, those that read back as they were."""

    def contents(self) -> Contents:
        """As the page has it."""
        elements = sorted(self.elements)
        details = self.details.most_common(DETAILS)
        return Contents(
            sum(self.statuses.values()),
            dict(self.statuses.most_common()),
            [(status, detail, n) for (status, detail), n in details],
            max(0, len(self.details) - DETAILS),
            [(kind, self.classes[kind], self.said[kind]) for kind in CLASSES if self.classes[kind]],
            self.icons.most_common(ICONS),
            elements[len(elements) // 2] if elements else 0,
            elements[-1] if elements else 0,
            self.written,
            self.exact,
        )


def write_report(folder: str, schemas: Dataset, shown: int) -> str:
    """The pages and the CSV in `folder`; returns the path of the first page."""
    inputs = annotated(folder, schemas, shown)
    return write_page(folder, inputs)


def write_page(folder: str, inputs: ScreensInputs) -> str:
    """The page in `folder`; returns its path. Lone surrogates become question marks."""
    path = posixpath.join(folder, NAMED)
    write_bytes(path, render_screens_report(inputs).encode("utf-8", "replace"))
    return path


def annotated(folder: str, schemas: Dataset, shown: int) -> ScreensInputs:
    """What can be told of annotated screens alone; writes CSV and BROWSE into `folder`."""
    counts = Counts()
    _write_csv(posixpath.join(folder, CSV), schemas, counts)
    drawn = _drawn(schemas, shown)
    screens = page(drawn, "Screens and their schemas")
    write_bytes(posixpath.join(folder, BROWSE), screens.encode("utf-8", "replace"))
    return ScreensInputs(
        title="Screens",
        created=datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        contents=counts.contents(),
        browse=BROWSE,
        csv=CSV,
        overlays=[overlay(one) for one in [o for o in drawn if len(o.schema)][:OVERLAYS]],
        steps=[Step(name, n, seconds) for name, (n, seconds) in times(schemas.path).items()],
        manifests=ancestry([schemas]),
        config=schemas.manifest.config,
    )


def _write_csv(path: str, schemas: Dataset, counts: Counts) -> None:
    """The schemas in the released form, counted on the way."""

    def write(sink: Any) -> None:
        rows = csv.writer(text := io.StringIO())
        rows.writerow(released.COLUMNS)
        for row in _rows(schemas, ["origin", "screen", "status", "detail"]):
            _count(counts, row)
            if row["status"] == "ok":
                schema = grammar.parse(row["screen"])
                rows.writerow((row["origin"], released.write(schema)))
                counts.written += 1
                counts.exact += released.reads_back(schema)
            sink.write(text.getvalue().encode())
            text.seek(0)
            text.truncate()

    write_file(path, write)


def overlay(one: Shown) -> Screen:
    """A screen with every element in its class's colour."""
    return Screen(one.screenshot, one.name, [drawn(element) for element in one.schema], one.note)


def drawn(element: Element, colour: str = "", dashed: bool = False) -> Drawn:
    """An element's box, in its class's colour if no other is given."""
    box = element.box
    label = f"{element.kind} {element.text}".strip()
    edges = (float(box.x0), float(box.x1), float(box.y0), float(box.y1))
    return Drawn(label, edges, colour or COLOURS[element.kind], dashed)


def _rows(schemas: Dataset, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in schemas.batches(columns, batch_size=32):
        yield from batch.to_pylist()


def _count(counts: Counts, row: dict[str, Any]) -> None:
    counts.statuses[row["status"]] += 1
    if row["detail"]:
        counts.details[row["status"], row["detail"]] += 1
    if row["status"] != "ok":
        return
    schema = grammar.parse(row["screen"])
    counts.elements.append(len(schema))
    for element in schema:
        counts.classes[element.kind] += 1
        counts.said[element.kind] += bool(element.text)
        if element.kind == "PICTOGRAM" and element.text:
            counts.icons[element.text] += 1


def _drawn(schemas: Dataset, shown: int) -> list[Shown]:
    """Screens drawn by their ids, and among them some of every status that has a picture."""
    keys = sorted(
        (row["status"] == "ok", uniform(0, "shown", row["image_id"]), row["image_id"])
        for row in _rows(schemas, ["image_id", "status", "format"])
        if row["format"] in ("png", "jpeg", "webp")
    )
    odd = [key for good, _, key in keys if not good][: shown // 4]
    wanted = {*odd, *[key for good, _, key in keys if good][: shown - len(odd)]}
    columns = ["image_id", "origin", "image", "screen", "status", "detail"]
    return [
        Shown(
            row["origin"],
            row["image"],
            grammar.parse(row["screen"]),
            ": ".join(filter(None, (row["status"], row["detail"]))),
        )
        for row in _rows(schemas, columns)
        if row["image_id"] in wanted
    ]


def times(folder: str) -> dict[str, tuple[int, float]]:
    """Screens and seconds of each step over all runs, by the files that the steps left."""
    fs, inner = filesystem_of(posixpath.join(folder, SECONDS))
    found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for info in fs.get_file_info(pafs.FileSelector(inner, allow_not_found=True)):
        if info.path.endswith(".json"):
            with fs.open_input_file(info.path) as file:
                one = json.loads(file.read())
            screens, seconds = found[one["stage"]]
            found[one["stage"]] = screens + one["screens"], seconds + one["seconds"]
    return dict(found)
