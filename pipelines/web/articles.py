"""Articles of a text corpus, whatever it lies in: JSON lines, a MediaWiki dump, or plain text.

Only what a word count needs: markup is stripped by a few patterns, not parsed. Files are found by
glob and read by Beam, which undoes .gz and .bz2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    import apache_beam as beam

Article = tuple[str, str]
"""Title, empty if it has none, and text."""

HIDDEN = re.compile(
    r"<!--.*?-->|<(ref|math|gallery|timeline|source)\b[^>]*?(/>|>.*?</\1\s*>)|<[^>]*>", re.DOTALL
)
INNERMOST_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}|\{\|[^{}]*\|\}")
MEDIA = re.compile(r"\[\[(?:File|Image|Category)\s*:(?:\[\[[^\]]*\]\]|[^\[\]])*\]\]", re.IGNORECASE)
LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]|\[\w+://[^\s\]]*([^\]]*)\]")


METRICS = "queries"
"""Namespace of the counters in a pipeline's result."""


def count_metric(name: str) -> None:
    """One more of `name` in the running pipeline's metrics."""
    from apache_beam.metrics import Metrics

    Metrics.counter(METRICS, name).inc()


def strip_markup(wikitext: str) -> str:
    """The words that a reader sees: no templates, tables, references, media or link targets."""
    text = HIDDEN.sub(" ", wikitext)
    while (fewer := INNERMOST_TEMPLATE.sub(" ", text)) != text:
        text = fewer
    text = LINK.sub(lambda link: link[1] or link[2] or "", MEDIA.sub(" ", text))
    return re.sub(r"'{2,}|^[=*#:;]+|=+$|__[A-Z]+__", " ", text, flags=re.MULTILINE)


def from_json(line: str) -> Iterator[Article]:
    """A line {"title": ..., "text": ...}; a line that is none counts as not_json."""
    try:
        record = json.loads(line)
        yield str(record.get("title") or ""), str(record["text"])
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError):
        count_metric("not_json")


def from_text(line: str) -> Iterator[Article]:
    """A line of plain text: an article without a title."""
    yield "", line


def from_mediawiki(path: str) -> Iterator[Article]:
    """Articles of a dump in MediaWiki's export format: pages of namespace 0, no redirects."""
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.open(path) as source:
        events = ElementTree.iterparse(source, ("start", "end"))
        _, root = next(events)
        for event, page in events:
            if event == "start" or page.tag.rpartition("}")[2] != "page":
                continue
            if page.findtext("{*}ns", "0") == "0" and page.find("{*}redirect") is None:
                text = page.findtext("{*}revision/{*}text", "")
                yield page.findtext("{*}title", ""), strip_markup(text)
            root.clear()  # or the whole dump would pile up in memory


def read_articles(pipeline: beam.Pipeline, globs: tuple[str, ...]) -> beam.PCollection:
    """All articles of the files that the globs name; OSError where one has none."""
    import apache_beam as beam
    from apache_beam.io import fileio

    def read(glob: str) -> beam.PCollection:
        stem = re.sub(r"\.(gz|bz2|zst)$", "", glob)
        if stem.endswith(".xml"):
            never_empty = fileio.EmptyMatchTreatment.DISALLOW
            files = pipeline | f"Find {glob}" >> fileio.MatchFiles(glob, never_empty)
            paths = files | f"Path {glob}" >> beam.Map(lambda found: found.path) | beam.Reshuffle()
            return paths | f"Parse {glob}" >> beam.FlatMap(from_mediawiki)
        parse = from_json if stem.endswith((".jsonl", ".json")) else from_text
        lines = pipeline | f"Read {glob}" >> beam.io.ReadFromText(glob)
        return lines | f"Parse {glob}" >> beam.FlatMap(parse)

    return tuple(map(read, globs)) | "Articles" >> beam.Flatten(pipeline=pipeline)
