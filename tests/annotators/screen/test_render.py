"""Pages of our own, rendered by the Chromium that is here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotators.screen import render
from annotators.screen.render import NoBrowserError, Sources, file_of
from annotators.screen.templates import Language, Shot, Template

TEMPLATE = Template("ours", "test 1", "site", r".*\.html", instead={r"cdn\.test/(.*)": r"lib/\1"})
SHOT = Shot(TEMPLATE, "page.html", 0, "desktop", "light", "en", "")
STYLE = """
body { margin: 0; font: 16px 'DejaVu Sans', sans-serif; background: #fff }
.bar { background: #224; color: #fff; height: 50px }
.frame { border: 1px solid #888; border-radius: 4px; width: 400px; height: 220px; margin: 20px }
nav { padding: 8px } td { padding: 9px 30px }
.off { position: absolute; left: -9999px }
.cut { overflow: hidden; height: 20px; width: 90px; white-space: nowrap }
.over { position: relative } .over b { position: absolute; inset: 0; background: #fff }
button { border: 1px solid #000; background: #ddd; width: 90px; height: 30px }
"""
PAGE = f"""<!doctype html><meta charset=utf-8><style>{STYLE}</style>
<header class=bar>Ledger <a href=#>Help</a></header>
<nav><a href=#1>First</a> <a href=#2>Second</a></nav>
<div class=frame><h3>Invoices</h3><button disabled>Pay</button>
<label for=q>Amount</label><input id=q value=12.50 required>
<label for=more>More</label><input id=more type=checkbox hidden>
<input type=checkbox checked><input type=radio><input type=range value=30>
<select><option>Euro<option>Dollar</select><progress value=0.5></progress></div>
<p class=off>Nobody sees this</p><p style="opacity:0">Nor this</p><p hidden>Nor that</p>
<div class=cut>Here words are cut off at the end of the line</div>
<div class=over><i>Under a sheet</i><b></b></div>
<table><tr><td>a<td>b<tr><td>c<td>d</table>
<img alt="A square" width=120 height=80 src="data:image/gif;base64,
R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==">
<script>fetch('https://elsewhere.test/x').catch(() => document.title = 'refused');
setTimeout(() => {{
document.querySelector('h3').textContent += ' of ' + new Date().getFullYear() }}, 500)</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("package")
    (folder / "site").mkdir()
    (folder / "lib").mkdir()
    (folder / "site" / "page.html").write_text(PAGE, encoding="utf-8")
    (folder / "site" / "blank.html").write_text("<p></p>", encoding="utf-8")
    (folder / "lib" / "x.css").write_text("p {}", encoding="utf-8")
    (folder / "secret").write_text("", encoding="utf-8")
    german = Language("de", ("Ja", "Rechnung", "Zahlen Sie den Betrag"))
    return Sources({"ours": folder, "lib": folder / "lib"}, {"de": german})


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    pytest.importorskip("playwright")
    try:
        with render.browser() as one:
            yield one
    except NoBrowserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def row(running: Any, site: Sources) -> dict[str, Any]:
    return render.screen(running, SHOT, site)


def kinds(row: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [element for element in row["truth"] if element["kind"] == kind]


def said(row: dict[str, Any], kind: str) -> list[str]:
    return [element["text"] for element in kinds(row, kind)]


def test_controls_have_their_classes_texts_names_and_states(row: dict[str, Any]) -> None:
    assert row["status"] == "ok"
    assert (row["width"], row["height"], row["split"]) == (1280, 800, "train")
    assert said(row, "BUTTON") == ["Pay"]
    assert kinds(row, "BUTTON")[0]["state"] == "disabled"
    field = kinds(row, "TEXT_INPUT")[0]
    assert (field["text"], field["name"], field["state"]) == ("12.50", "Amount", "required")
    assert said(row, "LABEL") == ["Amount"]
    assert [e["state"] for e in kinds(row, "CHECKBOX")] == ["checked"]
    assert len(kinds(row, "RADIO_BUTTON")) == 1
    assert kinds(row, "SLIDER")[0]["state"] == "value=30"
    assert said(row, "DROPDOWN") == ["Euro"]
    assert len(kinds(row, "PROGRESS_BAR")) == 1
    assert len(kinds(row, "TABLE")) == 1
    assert [e["name"] for e in kinds(row, "IMAGE")] == ["A square"]
    assert said(row, "LINK") == ["Help", "First", "Second", "More"]


def test_containers_come_before_what_they_hold(row: dict[str, Any]) -> None:
    truth = row["truth"]
    assert truth[0]["kind"] == "TOOLBAR"
    assert truth[0]["depth"] == 0
    card = truth.index(kinds(row, "CARD")[0])
    inside = [e for e in truth[card + 1 :] if e["depth"] > truth[card]["depth"]]
    assert {"BUTTON", "LABEL", "SLIDER"} <= {e["kind"] for e in inside}
    assert [e["depth"] for e in kinds(row, "NAVIGATION_BAR")] == [0]


def test_only_what_is_seen_counts_and_cut_words_are_left_out(row: dict[str, Any]) -> None:
    texts = " ".join(e["text"] for e in row["truth"])
    assert "Nobody" not in texts
    assert "Nor" not in texts
    assert "Under a sheet" not in texts
    cut = next(e for e in row["truth"] if e["text"].startswith("Here"))
    assert cut["text"] in ("Here", "Here words")
    assert cut["x1"] <= 90


def test_boxes_lie_on_what_was_drawn(row: dict[str, Any]) -> None:
    picture = np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB")).astype(int)
    button = kinds(row, "BUTTON")[0]
    assert button["x1"] - button["x0"] == pytest.approx(90, abs=1)
    inside = picture[round(button["y0"]) + 4, round(button["x0"]) + 4]
    outside = picture[round(button["y0"]) - 4, round(button["x0"]) + 4]
    assert inside.tolist() == [221, 221, 221]
    assert outside.tolist() == [255, 255, 255]


def test_time_stands_at_one_date_and_timers_have_run(row: dict[str, Any]) -> None:
    assert "Invoices of 2025" in said(row, "TEXT")


def test_a_screen_is_the_same_again(running: Any, site: Sources, row: dict[str, Any]) -> None:
    assert render.screen(running, SHOT, site) == row


def test_boxes_are_pixels_of_the_picture_on_a_phone_too(running: Any, site: Sources) -> None:
    phone = render.screen(running, replace(SHOT, device="phone"), site)
    assert (phone["width"], phone["height"]) == (824, 1784)
    button = kinds(phone, "BUTTON")[0]
    assert button["x1"] - button["x0"] == pytest.approx(180, abs=2)


def test_another_language_takes_the_place_of_words_but_not_of_numbers(
    running: Any, site: Sources
) -> None:
    german = render.screen(running, replace(SHOT, language="de"), site)
    assert set(said(german, "LINK")) <= {"Ja", "Rechnung", "Zahlen Sie den Betrag"}
    assert said(german, "TEXT_INPUT") == ["12.50"]


def test_a_page_that_cannot_be_rendered_has_a_status(running: Any, site: Sources) -> None:
    missing = render.screen(running, replace(SHOT, page="none.html"), site)
    assert missing["status"] == "failed"
    assert missing["image"] is None
    assert "ERR_BLOCKED_BY_CLIENT" in missing["detail"]
    assert render.screen(running, replace(SHOT, page="blank.html"), site)["status"] == "empty"


def test_requests_are_answered_from_the_packages_and_from_nowhere_else(site: Sources) -> None:
    def answer(url: str) -> Path | None:
        return file_of(url, SHOT, site)

    page = answer("http://page.test/page.html?x=1#y")
    assert page is not None
    assert page.name == "page.html"
    library = answer("https://cdn.test/x.css")
    assert library is not None
    assert library.name == "x.css"
    assert answer("https://cdn.test/../secret") is None
    assert answer("http://page.test/../secret") is None
    assert answer("http://page.test/%2e%2e/secret") is None
    assert answer("https://elsewhere.test/page.html") is None
    assert answer("http://page.test.elsewhere/page.html") is None
    assert answer("file:///etc/passwd") is None
