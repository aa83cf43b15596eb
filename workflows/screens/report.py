"""The report of `sightmill screens`: a page of counts, reasons and times, a page of screens with
their schemas over them, and the schemas in the released form.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from annotators.screen import grammar, released
from annotators.screen.annotate import SECONDS
from annotators.screen.browse import Shown, page
from annotators.screen.classes import CLASSES
from pipelines.datasets import Dataset
from pipelines.records import uniform
from pipelines.storage import filesystem as filesystem_of
from pipelines.storage import write_bytes, write_file

NAMED, BROWSE, CSV = "index.html", "screens.html", "screens.csv"
DETAILS = 20
"""Reasons that are listed."""


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


def write_report(folder: str, schemas: Dataset, shown: int) -> str:
    """The pages and the CSV in `folder`; returns the path of the first page."""
    counts = Counts()

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

    write_file(posixpath.join(folder, CSV), write)
    screens = page(_drawn(schemas, shown), "Screens and their schemas")
    write_bytes(posixpath.join(folder, BROWSE), screens.encode())
    write_bytes(posixpath.join(folder, NAMED), _html(counts, schemas, shown).encode())
    return posixpath.join(folder, NAMED)


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


def _html(counts: Counts, schemas: Dataset, shown: int) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    took = times(schemas.path)
    elements = sorted(counts.elements)
    return environment.get_template("report.html").render(
        counts=counts,
        rows=schemas.manifest.rows,
        hash=schemas.manifest.content_hash,
        config=json.dumps(schemas.manifest.config, indent=1, sort_keys=True),
        details=counts.details.most_common(DETAILS),
        more=max(0, len(counts.details) - DETAILS),
        classes=[kind for kind in CLASSES if counts.classes[kind]],
        median=elements[len(elements) // 2] if elements else 0,
        most=elements[-1] if elements else 0,
        took=took,
        total=sum(seconds for _, seconds in took.values()) or 1.0,
        shown=shown,
        browse=BROWSE,
        csv=CSV,
    )
