"""Interface pages with known texts, made up from a seed and rendered by Chromium.

    python benchmarks/screen_pages.py FOLDER [--pages 6]

Toolbars, side bars, cards, tables, forms, lists and paragraphs in several fonts, sizes and colours.
What a page says is known since every word on it was put there; all of it is visible.
"""

from __future__ import annotations

import argparse
import html
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 1280, 720
WORDS = """
account address amount answer archive balance billing branch browser budget calendar
cancel catalog channel city client cloud colour comment company contact country coupon create
customer daily dashboard database delete delivery design detail device discount document domain
download draft edit email employee engine error event export factory filter finance folder forest
garden gateway group harbour health history holiday hotel image import inbox invoice island item
journal kitchen label language ledger library license limit location machine manager market member
message method mobile modify monitor month mountain network notice number office option order output
owner page partner password payment people permission phone picture planner policy portfolio price
printer privacy product profile project quality quarter question receipt record region release
remove renewal report request reserve result review river safety sample save schedule search season
section security select server service setting shipping signal station status storage street summary
supplier support survey system table target team ticket timeline topic total tracking traffic travel
update upload user vendor version village visit volume warehouse weather website weekly window
winter workflow
"""
THEMES = [
    ("Arial, sans-serif", "#f4f6f8", "#ffffff", "#1f2933", "#22324a"),
    ("Georgia, serif", "#fffdf7", "#ffffff", "#2b2b2b", "#7b2d26"),
    ("DejaVu Sans, sans-serif", "#1d2330", "#283142", "#e6e9ef", "#0f1420"),
    ("Verdana, sans-serif", "#eef3ee", "#ffffff", "#12301c", "#1b5e3a"),
]
"""Font, and colours of the page, of its panels, its letters and its bar."""


@dataclass(frozen=True)
class Page:
    """A page's HTML and the texts on it, in order."""

    html: str
    texts: list[str]


class _Writer:
    """Draws texts and remembers them."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.texts: list[str] = []

    def say(self, text: str) -> str:
        self.texts.append(text)
        return html.escape(text)

    def words(self, least: int, most: int) -> str:
        chosen = self.draw.sample(WORDS.split(), self.draw.randint(least, most))
        return " ".join([chosen[0].capitalize(), *chosen[1:]])

    def phrase(self, least: int = 1, most: int = 3) -> str:
        return self.say(self.words(least, most))

    def number(self) -> str:
        draw = self.draw
        kinds: list[Callable[[], str]] = [
            lambda: f"{draw.randint(1, 999)}",
            lambda: f"${draw.randint(1, 99)},{draw.randint(100, 999)}.{draw.randint(10, 99)}",
            lambda: f"{draw.randint(1, 28)}/{draw.randint(1, 12)}/20{draw.randint(10, 29)}",
            lambda: f"{draw.randint(1, 99)}.{draw.randint(1, 9)}%",
            lambda: f"#{draw.randint(10000, 99999)}",
        ]
        return self.say(draw.choice(kinds)())


def make(seed: int) -> Page:
    """Page number `seed`."""
    write = _Writer(seed)
    font, ground, panel, letters, bar = THEMES[seed % len(THEMES)]
    size = write.draw.choice([13, 14, 15, 16])
    blocks = write.draw.sample([_cards, _table, _form, _paragraphs, _list], 3)
    links = "".join(f"<a>{write.phrase(1, 2)}</a>" for _ in range(4))
    header = f"<header><b>{write.phrase(2, 2)}</b>{links}</header>"
    side = "".join(f"<p>{write.phrase(1, 2)}</p>" for _ in range(write.draw.randint(4, 8)))
    body = "".join(f"<section>{block(write)}</section>" for block in blocks)
    style = (
        f"body{{margin:0;font:{size}px/1.4 {font};background:{ground};color:{letters}}}"
        f"header{{background:{bar};color:#fff;padding:12px 20px;display:flex;gap:28px}}"
        "b{font-size:20px}main{display:grid;grid-template-columns:200px 1fr;gap:16px;padding:16px}"
        f"nav,section{{background:{panel};padding:10px 14px;margin-bottom:12px}}"
        "p{margin:6px 0}h3{margin:2px 0 8px;font-size:1.2em}table{width:100%}td,th{text-align:left;"
        "padding:4px;border-bottom:1px solid #8885}.row{display:flex;gap:14px}.card{flex:1;"
        "border:1px solid #8886;padding:10px}.card b{font-size:24px;display:block}"
        ".in{border:1px solid #8889;padding:5px 8px;width:300px;margin:2px 0 8px}"
        ".button{background:#2563c9;color:#fff;padding:6px 14px;display:inline-block;"
        "margin-right:10px}i{font-style:normal;opacity:.75;font-size:.85em}"
    )
    page = f"<!doctype html><meta charset=utf-8><style>{style}</style>{header}"
    return Page(f"{page}<main><nav>{side}</nav><div>{body}</div></main>", write.texts)


def _cards(write: _Writer) -> str:
    cards = (
        f"<div class=card>{write.phrase(1, 2)}<b>{write.number()}</b>"
        f"<i>{write.phrase(2, 4)}</i></div>"
        for _ in range(write.draw.randint(3, 4))
    )
    return f"<div class=row>{''.join(cards)}</div>"


def _table(write: _Writer) -> str:
    def row(tag: str, *cells: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}" for cell in cells)

    title = write.phrase(2, 3)
    head = row("th", *(write.phrase(1, 2) for _ in range(4)))
    rows = (
        row("td", write.number(), write.phrase(2, 3), write.phrase(1, 2), write.number())
        for _ in range(write.draw.randint(3, 5))
    )
    return f"<h3>{title}</h3><table>{head}{''.join(rows)}</table>"


def _form(write: _Writer) -> str:
    title = write.phrase(2, 3)
    fields = (
        f"<div>{write.phrase(1, 2)}<div class=in>{write.phrase(1, 3)}</div></div>" for _ in range(3)
    )
    buttons = (f"<span class=button>{write.phrase(1, 2)}</span>" for _ in range(2))
    return f"<h3>{title}</h3>{''.join(fields)}{''.join(buttons)}"


def _paragraphs(write: _Writer) -> str:
    title = write.phrase(2, 4)
    texts = (f"<p>{write.say(write.words(14, 30) + '.')}</p>" for _ in range(2))
    return f"<h3>{title}</h3>{''.join(texts)}"


def _list(write: _Writer) -> str:
    items = (
        f"<p>{write.phrase(2, 5)} <i>{write.number()}</i></p>"
        for _ in range(write.draw.randint(3, 6))
    )
    return "".join(items)


def chromium() -> str | None:
    """The path of a Chromium, None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def render(page: Page, browser: str) -> bytes:
    """A PNG of `page`, WIDTH by HEIGHT."""
    with tempfile.TemporaryDirectory() as folder:
        source, picture = Path(folder, "page.html"), Path(folder, "page.png")
        source.write_text(page.html, encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        flags += ["--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"]
        done = subprocess.run(
            [browser, *flags, f"--user-data-dir={folder}/profile", source.as_uri()],
            check=False,
            capture_output=True,
            timeout=120,
        )
        if not picture.exists():
            raise RuntimeError(f"{browser} made no picture: {done.stderr[-300:]!r}")
        return picture.read_bytes()


def main() -> None:
    """Write pages as PNG beside their HTML and their texts."""
    parser = argparse.ArgumentParser(description="Made-up interface pages with known texts.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=6)
    options = parser.parse_args()
    browser = chromium()
    if browser is None:
        raise SystemExit("no Chromium here; it renders the pages")
    options.folder.mkdir(parents=True, exist_ok=True)
    for seed in range(options.pages):
        page = make(seed)
        stem = options.folder / f"{seed:03d}"
        stem.with_suffix(".html").write_text(page.html, encoding="utf-8")
        stem.with_suffix(".txt").write_text("\n".join(page.texts) + "\n", encoding="utf-8")
        stem.with_suffix(".png").write_bytes(render(page, browser))


if __name__ == "__main__":
    main()
