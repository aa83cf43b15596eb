"""The page: whole, self-contained, escaped, and honest about what it does not have."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluators.report.inputs import ReportInputs
from evaluators.report.render import SECTIONS, render
from evaluators.report.tables import score_tables
from evaluators.report.write import write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}
SVG_VOID = {"line", "circle", "polyline", "path"}


class Page(HTMLParser):
    """Reads a page: tags must balance; ids, links, requests and alt texts are kept."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.alts, self.words = (
            [],
            [],
            [],
            [],
            [],
            [],
        )
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []
        if tag == "img":
            self.alts.append(found["alt"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def text(self):
        return " ".join(" ".join(self.words).split())


def test_every_section_is_there_and_linked(inputs):
    page = Page(render(inputs))
    assert [i for i in page.ids if i in SECTIONS] == list(SECTIONS)
    assert [link.lstrip("#") for link in page.links] == list(SECTIONS)
    assert len(set(page.ids)) == len(page.ids)


def test_the_page_asks_nobody_for_anything(inputs):
    page = Page(render(inputs))
    assert page.sources
    assert all(source.startswith("data:image/webp;base64,") for source in page.sources)
    assert all(link.startswith("#") for link in page.links)
    assert "url(" not in render(inputs)
    assert "@import" not in render(inputs)


def test_texts_of_the_web_are_escaped(inputs):
    html = render(inputs)
    assert "<script>alert" not in html
    assert html.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in html
    assert "<title>A &lt;small&gt; report</title>" in html


def test_pictures_have_alt_texts_and_broken_ones_a_frame(inputs):
    page = Page(render(inputs))
    assert "an owl; <script>alert(1)</script>" in page.alts
    assert all(page.alts)
    assert page.text().count("no picture") == 2  # one never fetched, one undecodable
    assert 'role="img" aria-label="loss' in render(inputs)


def test_figures_reach_the_page(inputs):
    text = Page(render(inputs)).text().replace("\u202f", " ")
    for expected in (
        "25.0 % ± 1.1 %",
        "250 times chance",
        "1,000 pages became 250 images",
        "near duplicate −34",
        "too many pixels: 20000 x 20000",
        "bat unseen",
        "right text at place 8: an owl",
        "1 of 1 failed",
        "unknown",
        "The stamps were left out.",
        "4 min of training",
    ):
        assert expected in text, expected


def test_an_empty_report_says_what_is_missing():
    text = Page(render(ReportInputs(title="Nothing", model="CLIP"))).text()
    for title, why in SECTIONS.values():
        assert f"{title}: {why}." in text


@pytest.mark.parametrize("name", list(SECTIONS))
def test_each_section_can_be_missing_alone(inputs, name):
    fields = {
        "funnel": ["funnel"],
        "balance": ["queries"],
        "samples": ["samples", "rejected"],
        "training": ["runs"],
        "scores": ["scores"],
        "shift": ["shifts"],
        "testbed": ["testbed"],
        "fine_tuned": ["fine_tuned"],
        "shots": ["shots"],
        "classes": ["classes", "confusions"],
        "significance": ["significance"],
        "sets": ["audits"],
        "namings": ["namings"],
        "mistakes": ["mistakes"],
        "matches": ["matches"],
        "bias": ["bias"],
        "quality": ["manifests"],
        "overlap": ["overlap"],
        "described": ["descriptions"],
        "lineage": ["manifests"],
        "config": ["config", "commands"],
    }[name]
    empty = {f: None if f == "queries" else type(getattr(inputs, f))() for f in fields}
    page = Page(render(ReportInputs(**{**vars(inputs), **empty})))
    assert name not in page.ids
    title, why = SECTIONS[name]
    assert f"{title}: {why}." in page.text()


def test_report_json_and_csv_say_the_same(inputs, tmp_path: Path):
    path = write_report(inputs, str(tmp_path / "out"))
    assert Path(path).read_text(encoding="utf-8") == render(inputs)
    rows = json.loads((tmp_path / "out/scores.json").read_text())
    assert rows[0]["value"] == 0.25
    assert rows[-1]["standard_error"] is None  # NaN is no JSON
    table = list(csv.DictReader(io.StringIO((tmp_path / "out/scores.csv").read_text())))
    assert [float(r["value"]) for r in table] == [r["value"] for r in rows]
    assert table[-1]["standard_error"] == ""
    assert list(table[0])[-3:] == ["value", "n", "standard_error"]


def test_lone_surrogates_of_the_web_do_not_stop_it(inputs, tmp_path: Path):
    odd = ReportInputs(**{**vars(inputs), "introduction": "bad \ud800 text"})
    assert Path(write_report(odd, str(tmp_path))).exists()


def test_tables_have_a_row_a_figure_and_a_column_a_model(inputs):
    concepts, captions = score_tables(inputs)
    assert concepts.models == ["CLIP", "supervised"]
    (line,) = concepts.lines  # the gap is no rate and belongs to the shift's table
    assert [cell.best for cell in line.cells] == [True, False]
    assert (line.chance, line.n) == (0.001, 1500)
    assert captions.models == ["CLIP"]


def test_our_model_is_the_first_column_whatever_the_order(inputs):
    turned = ReportInputs(**{**vars(inputs), "scores": list(inputs.scores)[::-1]})
    assert score_tables(turned)[1].models == ["CLIP", "supervised"]


def test_sorting_reads_the_cells_own_values(inputs):
    cells = re.findall(r'<td class="n best" data-value="([^"]+)"', render(inputs))
    assert [float(value) for value in cells] == [0.25, 0.5, 0.1]
