"""Great Expectations suites over datasets; their results go into the manifest.

One suite a dataset name. An expectation is critical or a warning: a failed critical one stops the
recipe with a table that says what was expected and what was seen. Columns that hold images are
never loaded for this; text columns are read a shard at a time and the counts are added up, so that
memory stays flat.
"""

from __future__ import annotations

import functools
import logging
import os
import posixpath
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.records import SCHEMAS

if TYPE_CHECKING:
    import pandas as pd

ID = r"^[0-9a-f]{32}$"
URL = r"^https?://[^\s]+$"
ROWS_A_FRAME = 100_000
"""Rows that an expectation sees at a time: what keeps memory flat."""


class QualityError(Exception):
    """A critical expectation failed; the message is a table of the failures."""


@dataclass(frozen=True)
class Expectation:
    """One Great Expectations expectation, by the name of its class there."""

    kind: str
    column: str
    options: dict[str, Any] = field(default_factory=dict)
    critical: bool = True

    def describe(self) -> str:
        """Such as "pair_id: match regex regex=..."."""
        words = "".join(" " + c.lower() if c.isupper() else c for c in self.kind)
        words = words.strip().removeprefix("expect column values to ").removeprefix("expect ")
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.column}: {words}{' (' + options + ')' if options else ''}"


def _matches(column: str, regex: str) -> Expectation:
    return Expectation("ExpectColumnValuesToMatchRegex", column, {"regex": regex})


def _present(*columns: str) -> list[Expectation]:
    return [Expectation("ExpectColumnValuesToNotBeNull", column) for column in columns]


def _unique(column: str) -> Expectation:
    return Expectation("ExpectColumnValuesToBeUnique", column)


def _between(column: str, low: float, high: float | None, critical: bool = True) -> Expectation:
    options = {"min_value": low} if high is None else {"min_value": low, "max_value": high}
    return Expectation("ExpectColumnValuesToBeBetween", column, options, critical)


def _one_of(column: str, *values: str) -> Expectation:
    return Expectation("ExpectColumnValuesToBeInSet", column, {"value_set": list(values)})


_PAIR = [
    _unique("pair_id"),
    _matches("pair_id", ID),
    _matches("image_url", URL),
    _one_of("text_source", "alt", "figcaption", "title"),
    _matches("language", r"^[a-z]{2,3}$"),
    Expectation("ExpectColumnValueLengthsToBeBetween", "text", {"min_value": 1, "max_value": 1000}),
]
_IMAGE = [_unique("image_id"), _matches("image_id", ID), _matches("image_url", URL)]

SUITES: dict[str, list[Expectation]] = {
    "candidates": [*_PAIR, *_present("page_url")],
    "queries": [_unique("query"), *_present("query", "source"), _between("count", 0, None)],
    "matches": _PAIR,
    "pairs": _PAIR,
    "targets": _IMAGE,
    "fetched": [*_IMAGE, *_present("status")],
    "samples": [
        *_IMAGE,
        *_present("width", "height"),
        _one_of("format", "jpeg", "png", "webp"),
        _matches("sha256", r"^[0-9a-f]{64}$"),
        _matches("phash", r"^[0-9a-f]{16}$"),
        _between("width", 1, 65535),
        _between("height", 1, 65535),
        _between("original_width", 64, None, critical=False),
    ],
    "captioned": [*_IMAGE, *_present("status")],
    "embeddings": [_unique("image_id"), _matches("content", ID), *_present("class_name", "group")],
    "labelled": [_unique("image_id"), *_present("class_name", "group"), _between("label", 0, None)],
    "screens": [
        _unique("screen_id"),
        _matches("screen_id", ID),
        _one_of("format", "png", "jpeg", "webp"),
        _one_of("device", "phone", "tablet", "desktop"),
        _one_of("theme", "light", "dark"),
        _one_of("split", "train", "held-out"),
        *_present("source", "template", "page", "status"),
        _between("width", 0, None),
        _between("height", 0, None),
    ],
    "screen_tasks": [
        _unique("image_id"),
        *_present("image_id"),
        _one_of("status", "ok", "unreadable", "nothing_to_ask", "none_kept"),
    ],
    "screen_mixture": [
        _unique("row_id"),
        _matches("row_id", ID),
        _one_of("task", "annotation", "question", "navigation", "summary"),
        *_present("image_id", "prompt", "target"),
        Expectation("ExpectColumnValueLengthsToBeBetween", "prompt", {"min_value": 1}),
        Expectation("ExpectColumnValueLengthsToBeBetween", "target", {"min_value": 1}),
    ],
    "screen_examples": [_unique("image_id"), *_present("image_id", "screen")],
    "screen_answers": [_unique("image_id"), *_present("image_id", "screen")],
    "pictures": [_unique("image_id"), _matches("image_id", ID), *_present("origin", "status")],
    "schemas": [
        _unique("image_id"),
        _matches("image_id", ID),
        *_present("origin", "screen", "status"),
        _between("width", 0, None),
        _between("height", 0, None),
    ],
    "composed_queries": [_unique("image_id"), *_present("reference", "starred", "gallery")],
    "composed_answers": [_unique("image_id"), *_present("status"), _between("candidates", 0, None)],
    "questions": [_unique("image_id"), *_present("class_name", "group", "question")],
    "answers": [_unique("image_id"), *_present("status", "answer", "question")],
    "scores": [*_present("suite", "dataset", "metric", "model", "value"), _between("n", 1, None)],
}


def check(name: str, path: str, files: list[str]) -> dict[str, Any]:
    """Run the suite of dataset `name` over its shards.

    Returns: {"success", "rows", "expectations": [{"expectation", "critical", "success",
        "unexpected", "examples"}]}

    Raises:
        QualityError: a critical expectation failed.
    """
    results = [_run(expectation, name, path, files) for expectation in SUITES[name]]
    failed = [r for r in results if r["critical"] and not r["success"]]
    if failed:
        rows = "\n".join(
            f"  {r['expectation']}: {r['unexpected']} rows, such as {r['examples']}" for r in failed
        )
        raise QualityError(f"{path} ({name}) fails {len(failed)} critical expectations:\n{rows}")
    return {"success": all(r["success"] for r in results), "expectations": results}


def _run(expectation: Expectation, name: str, path: str, files: list[str]) -> dict[str, Any]:
    """One expectation over all rows, so many of them at a time."""
    unexpected, examples = 0, []
    for frame in _frames(expectation, name, [posixpath.join(path, file) for file in files]):
        seen = _validate(expectation, frame)
        unexpected += seen["unexpected_count"]
        examples += seen["partial_unexpected_list"]
    return {
        "expectation": expectation.describe(),
        "critical": expectation.critical,
        "success": unexpected == 0,
        "unexpected": unexpected,
        "examples": [str(value)[:80] for value in examples[:3]],
    }


def _frames(expectation: Expectation, name: str, files: list[str]) -> Iterator[pd.DataFrame]:
    """The expectation's column in frames of about `ROWS_A_FRAME` rows.

    Where values must be unique, equal ones have to meet in one frame: then a frame holds the values
    of one remainder of their hashes, and the files are read once a remainder.
    """
    import pandas as pd

    from pipelines.datasets import row_count, shard_batches

    column, schema = expectation.column, pa.schema([SCHEMAS[name].field(expectation.column)])

    def read() -> Iterator[pd.DataFrame]:
        for file in files:
            for batch in shard_batches(file, [column], ROWS_A_FRAME):
                yield pa.Table.from_batches([batch.cast(schema)]).to_pandas()

    if expectation.kind != "ExpectColumnValuesToBeUnique":
        yield from read()
        return
    parts = 1 + sum(map(row_count, files)) // (4 * ROWS_A_FRAME)
    for part in range(parts):
        found = [f[pd.util.hash_array(f[column].to_numpy(object)) % parts == part] for f in read()]
        if found:
            yield pd.concat(found, ignore_index=True)


@functools.cache
def _context() -> Any:
    """Great Expectations without its analytics, progress bars and disk."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    warnings.filterwarnings("ignore", module="great_expectations")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context.data_sources.add_pandas("shards")


def _validate(expectation: Expectation, frame: pd.DataFrame) -> dict[str, Any]:
    import great_expectations.expectations as gxe

    source = _context()
    asset = next(iter(source.assets), None) or source.add_dataframe_asset("shard")
    batch = asset.add_batch_definition_whole_dataframe if not asset.batch_definitions else None
    definition = batch("whole") if batch else asset.batch_definitions[0]
    kind = getattr(gxe, expectation.kind)
    result = definition.get_batch({"dataframe": frame}).validate(
        kind(column=expectation.column, **expectation.options)
    )
    if result.exception_info.get("raised_exception"):
        raise QualityError(f"{expectation.describe()}: {result.exception_info}")
    found: dict[str, Any] = result.result
    return found
