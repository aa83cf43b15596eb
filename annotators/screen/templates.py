"""What is rendered: pages of interface templates, and which screens to take of them.

A template is a set of pages of one look, out of one package. All of a template's screens are either
trained on or held out: pages of one template share their side bars, icons and style sheets, so that
a split by page would show a detector in training what it is scored on.

Which screens are taken depends on the seed and nothing else: templates in turn, so that one of 200
pages counts no more than one of 14, and of each its pages in a drawn order, with device, theme,
language, font and how far the page is scrolled drawn for each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.records import record_id, uniform


@dataclass(frozen=True)
class Device:
    """A screen's size."""

    width: int  # CSS pixels
    height: int  # CSS pixels
    scale: float = 1.0  # pixels a CSS pixel
    touch: bool = False


DEVICES: dict[str, Device] = {
    "phone": Device(412, 892, 2.0, touch=True),
    "tablet": Device(820, 1180, touch=True),
    "desktop": Device(1280, 800),
}


@dataclass(frozen=True)
class Template:
    """Pages of one look."""

    name: str
    source: str  # where it comes from, with its version
    root: str  # folder of the site in the package
    pages: str  # regular expression that a page's path below the root matches in full
    dark: str = ""  # script that makes a page dark before anything runs; "media": by preference
    leave: str = ""  # regular expression of pages to leave out
    fragments: tuple[str, ...] = ()  # what `#...` shows other screens of a page
    devices: tuple[str, ...] = ("phone", "tablet", "desktop")
    instead: Mapping[str, str] = field(default_factory=dict)
    """Files from elsewhere: regular expression of a URL to the file, below the cache's folders by
    name, that is served in its place."""
    language: str = "en"  # of its own texts
    held_out: bool = False


@dataclass(frozen=True)
class Language:
    """Real interface texts of a language, and letters to write them in."""

    tag: str  # BCP 47
    texts: tuple[str, ...] = ()  # none: the page's own stay
    fonts: str = ""  # a CSS font-family list; empty: the page's own


@dataclass(frozen=True)
class Shot:
    """One screen to take."""

    template: Template
    page: str
    view: int  # how many heights of the view it is scrolled down
    device: str
    theme: str
    language: str
    font: str  # family to write in, empty for the page's own

    @property
    def screen_id(self) -> str:
        """Of all that picks the screen."""
        return record_id(
            *(self.template.source, self.template.name, self.page, str(self.view), self.device),
            *(self.theme, self.language, self.font),
        )


@dataclass(frozen=True)
class Draw:
    """How often what is taken."""

    screens: int = 360
    """How many."""
    seed: int = 0
    phone: float = 0.3
    """Share of phones."""
    tablet: float = 0.2
    """Share of tablets; the rest is desktops."""
    dark: float = 0.4
    """Share of dark ones, of templates that can be dark."""
    translated: float = 0.25
    """Share of screens in another language than the page's."""
    refonted: float = 0.3
    """Share of the others in another font."""
    scrolled: float = 0.4
    """Share of screens that are not the page's top."""


def pages(template: Template, folder: Path) -> list[str]:
    """Paths of the template's pages below its root in the package's `folder`, sorted."""
    root = folder / template.root
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    kept = sorted(
        page
        for page in found
        if re.fullmatch(template.pages, page)
        and not (template.leave and re.search(template.leave, page))
    )
    return [page + ending for page in kept for ending in ("", *_fragments(template))]


def _fragments(template: Template) -> list[str]:
    return [f"#{fragment}" for fragment in template.fragments]


def shots(
    of: Sequence[tuple[Template, Sequence[str]]],
    languages: Sequence[str],
    fonts: Sequence[str],
    draw: Draw,
) -> list[Shot]:
    """The screens to take of the templates' pages: templates in turn, no screen twice.

    Fewer than asked for where the templates do not have so many.
    """
    taken: dict[str, Shot] = {}
    turns = sorted(of, key=lambda one: one[0].name)
    for turn in range(20 * max(1, draw.screens)):
        for template, its_pages in turns:
            if len(taken) >= draw.screens:
                return list(taken.values())
            if its_pages:
                shot = _shot(template, its_pages, turn, languages, fonts, draw)
                taken.setdefault(shot.screen_id, shot)
    return list(taken.values())


def _shot(
    template: Template,
    of: Sequence[str],
    turn: int,
    languages: Sequence[str],
    fonts: Sequence[str],
    draw: Draw,
) -> Shot:
    def chance(what: str) -> float:
        return uniform(draw.seed, template.name, str(turn), what)

    def one(values: Sequence[str], what: str) -> str:
        return values[int(chance(what) * len(values))]

    round_, place = divmod(turn, len(of))
    order = sorted(of, key=lambda page: uniform(draw.seed, template.name, str(round_), page))
    device = "phone" if chance("device") < draw.phone else "desktop"
    if draw.phone <= chance("device") < draw.phone + draw.tablet:
        device = "tablet"
    if device not in template.devices:
        device = one(template.devices, "another device")
    languages = [tag for tag in languages if tag != template.language]
    translated = bool(languages) and chance("translated") < draw.translated
    refonted = not translated and bool(fonts) and chance("refonted") < draw.refonted
    return Shot(
        template,
        order[place],
        1 + int(3 * chance("view")) if chance("scrolled") < draw.scrolled else 0,
        device,
        "dark" if template.dark and chance("dark") < draw.dark else "light",
        one(languages, "language") if translated else template.language,
        one(fonts, "font") if refonted else "",
    )
