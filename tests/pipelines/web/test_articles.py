"""Articles out of every kind of corpus file."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pytest

from pipelines.engines import Engines, beam_pipeline
from pipelines.web.articles import Article, from_json, read_articles, strip_markup

DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">
  <siteinfo><sitename>W</sitename></siteinfo>
  <page><title>Cat</title><ns>0</ns><revision>
    <text>A '''cat''' is a [[pet|small pet]].&lt;ref&gt;book&lt;/ref&gt;</text></revision></page>
  <page><title>Kitty</title><ns>0</ns><redirect title="Cat"/>
    <revision><text>#REDIRECT [[Cat]]</text></revision></page>
  <page><title>Talk:Cat</title><ns>1</ns><revision><text>meow</text></revision></page>
  <page><title>Dog</title><ns>0</ns><revision><text>Barks.</text></revision></page>
</mediawiki>"""


def read(*globs: str) -> list[Article]:
    import apache_beam as beam

    found: list[Article] = []
    with beam_pipeline(Engines()) as pipeline:
        folder = Path(globs[0]).parent
        joined = read_articles(pipeline, globs) | beam.combiners.ToList()
        _ = joined | beam.Map(lambda a: (folder / "out").write_text(json.dumps(a)))
    found = [(title, text) for title, text in json.loads((folder / "out").read_text())]
    return sorted(found)


def test_reads_every_format_and_compression(tmp_path: Path) -> None:
    rows = [{"title": "A", "text": "one"}, {"text": "two"}, {"title": None, "text": "three"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines + "not json\n[1]\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("vier\nfünf\n".encode()))
    (tmp_path / "c.xml.bz2").write_bytes(bz2.compress(DUMP.encode()))
    names = ("*.jsonl", "b.txt.gz", "*.xml.bz2")
    found = read(*(str(tmp_path / name) for name in names))
    words = [(title, " ".join(text.split())) for title, text in found]
    untitled = [("", text) for text in ("fünf", "three", "two", "vier")]
    assert words == [*untitled, ("A", "one"), ("Cat", "A cat is a small pet."), ("Dog", "Barks.")]


def test_a_glob_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        read(str(tmp_path / "nothing-*.txt"))


def test_a_json_line_has_a_text() -> None:
    assert list(from_json('{"title": "T", "text": "x"}')) == [("T", "x")]
    assert [list(from_json(line)) for line in ("{", "3", '{"title": "T"}')] == [[], [], []]


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("a {{b {{c}} d}} e", "a e"),
        ("{| class=x\n| cell\n|}after", "after"),
        ("[[File:x.png|thumb|a [[cat]] here]] text", "text"),
        ("[[cat]]s and [[Dog (animal)|dogs]]", "cats and dogs"),
        ("[http://a.example label] [http://b.example]", "label"),
        ("one<ref name=x/> two<ref>three</ref><br/>four<!-- five -->", "one two four"),
        ("== Head ==\n* ''item''", "Head item"),
    ],
)
def test_strip_markup_leaves_what_a_reader_sees(markup: str, words: str) -> None:
    assert " ".join(strip_markup(markup).split()) == words
