"""The demo's clean pairs: pictures with a caption that somebody wrote of what they show.

Picture stamps with their English sentences, and emoji in both served hands with their names, one
caption a picture.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.records import SAMPLES, record_id
from pipelines.web.images import ImageConfig, Picture, process
from workflows.demo_web.galleries import drawing_paths
from workflows.demo_web.picture_sites import stamp_path
from workflows.demo_web.testsets import png
from workflows.demo_web.web import DemoWeb, DemoWebConfig, url_of


@dataclass(frozen=True)
class CleanPair:
    """A picture and its caption."""

    url: str
    file: Path
    caption: str


def clean_pairs(web: DemoWeb, config: DemoWebConfig) -> Iterator[CleanPair]:
    """Every clean pair whose picture is no test picture of the demo's own suites."""
    stamps, withheld = url_of("stamps", config), web.style_test.withheld
    for stamp in web.stamps:
        if "en" in stamp.captions and stamp.file not in withheld:
            url = posixpath.join(stamps, stamp_path(stamp).lstrip("/"))
            yield CleanPair(url, stamp.file, stamp.captions["en"])
    for concept in web.concepts:
        for site, inner in dict(reversed(drawing_paths(concept))).items():
            if site in concept.drawings and not (site == "twitter" and concept.key in web.held):
                url = posixpath.join(url_of(site, config), inner.lstrip("/"))
                yield CleanPair(url, concept.drawings[site], concept.name)


def clean_table(pairs: Iterator[CleanPair], config: ImageConfig, size: int) -> pa.Table:
    """The pairs as rows of `samples`, sorted by image_id; SVG is rendered at size x size pixels."""
    rows = {}
    for pair in pairs:
        with contextlib.suppress(ValueError):  # an SVG without a size
            made = process(png(pair.file, size), config)
            if isinstance(made, Picture):
                rows[record_id(pair.url)] = _row(pair, made)
    return pa.Table.from_pylist([rows[key] for key in sorted(rows)], SAMPLES)


def _row(pair: CleanPair, picture: Picture) -> dict[str, object]:
    text = {
        "pair_id": record_id(pair.url, pair.caption),
        "text": pair.caption,
        "source": "written",
        "page_url": "",
        "language": "en",
        "queries": [],
    }
    looks = {name: getattr(picture, name, None) for name in SAMPLES.names}
    return looks | {"image_id": record_id(pair.url), "image_url": pair.url, "texts": [text]}
