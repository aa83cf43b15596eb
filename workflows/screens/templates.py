"""The interface templates that screens are rendered from, and the packages that bring them.

All come by npm under MIT, ISC for equation. Held out are four looks that no other template here
descends from, so that a score on them says how the detector does on interfaces that it has not
seen: the two Start Bootstrap admins, Argon and Stisla.
"""

from __future__ import annotations

import functools
import gettext
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from annotators.screen.render import Sources
from annotators.screen.templates import Language, Template
from workflows.demo_web.packages import MissingPackageError, Package, fetch

_SITE = r"\.(html?|css|js|json|png|jpe?g|gif|svg|webp|woff2?|ttf|otf|ico)$"
_BODY = "document.addEventListener('DOMContentLoaded', () => document.body.{})"
_BOOTSTRAP_4 = {
    r"@fortawesome/fontawesome-free/(.*)$": r"fontawesome/package/\1",
    r"/fontawesome-free/(.*)$": r"fontawesome/package/\1",
    r"/jquery(?:/dist)?/jquery(?:\.min)?\.js": "jquery/package/dist/jquery.min.js",
    r"code\.jquery\.com/jquery-3[^/]*\.js": "jquery/package/dist/jquery.min.js",
    r"/node_modules/bootstrap/(.*)$": r"bootstrap/package/\1",
    r"/bootstrap(?:/js)?/bootstrap\.bundle(?:\.min)?\.js": "bootstrap/package/dist/js/"
    "bootstrap.bundle.min.js",
    r"bootstrap/4\.[\d.]+/css/bootstrap\.min\.css": "bootstrap/package/dist/css/bootstrap.min.css",
    r"bootstrap/4\.[\d.]+/js/bootstrap\.min\.js": "bootstrap/package/dist/js/"
    "bootstrap.bundle.min.js",
    r"/icheck-bootstrap/(.*)$": r"icheck/package/\1",
    r"/[Cc]hart\.?js/(?:dist/)?Chart(?:\.min)?\.js": "chart/package/dist/Chart.min.js",
}
_MATERIAL_ICONS = {
    r"googleapis\.com/icon": "material-icons/package/iconfont/material-icons.css",
    r"googleapis\.com/(material-icons.*\.woff2?)": r"material-icons/package/iconfont/\1",
}
_WEUI = (
    *("button", "form", "list", "slider", "uploader", "article", "badge", "flex", "footer"),
    *("gallery", "grid", "icons", "loadmore", "panel", "preview", "progress", "dialog", "msg"),
    *("half-screen-dialog", "toast", "navbar", "tabbar", "searchbar", "steps", "form_page"),
    *("form_checkbox", "form_radio", "form_switch", "form_select", "form_text", "form_textarea"),
)


@dataclass(frozen=True)
class Entry:
    """A template and its package."""

    package: Package
    template: Template


def _npm(name: str, version: str, keep: str = _SITE) -> Package:
    return Package(name, "npm", "an interface template", keep, version)


def _entry(package: Package, name: str, root: str, pages: str, template: Template) -> Entry:
    source = f"npm {package.name} {package.version}"
    return Entry(package, replace(template, name=name, source=source, root=root, pages=pages))


_PLAIN = Template("", "", "", "")
_HELD = replace(_PLAIN, held_out=True)

ENTRIES = (
    _entry(
        _npm("gentelella", "4.2.0"),
        "gentelella 4",
        "package/dist",
        r"production/[^/]+\.html",
        replace(
            _PLAIN,
            dark="localStorage.setItem('theme', 'dark');"
            "document.documentElement?.setAttribute('data-theme', 'dark');",
        ),
    ),
    _entry(
        _npm("gentelella", "1.4.0"), "gentelella 1", "package", r"production/[^/]+\.html", _PLAIN
    ),
    _entry(
        _npm("admin-lte", "3.2.0"),
        "AdminLTE 3",
        "package",
        r"(index\d?|starter|pages/[^/]+|pages/(examples|forms|UI|tables|layout|charts|mailbox)/[^/]+)\.html",
        replace(_PLAIN, dark=_BODY.format("classList.add('dark-mode')"), instead=_BOOTSTRAP_4),
    ),
    _entry(
        _npm("admin-lte", "2.4.18"),
        "AdminLTE 2",
        "package",
        r"(index2?|starter|pages/[^/]+|pages/(examples|forms|UI|tables|layout|charts|mailbox)/[^/]+)\.html",
        _PLAIN,
    ),
    _entry(
        _npm("adminbsb-materialdesign", "1.0.7"),
        "AdminBSB",
        "package",
        r"(index|pages/.*)\.html",
        replace(_PLAIN, instead=_MATERIAL_ICONS),
    ),
    _entry(
        _npm("@digitallyhappy/backstrap", "0.5.1"),
        "Backstrap",
        "package/dist",
        r"(?!vendors).*\.html",
        _PLAIN,
    ),
    _entry(_npm("tabler-ui", "0.0.34"), "Tabler UI", "package/dist", r"[^/]+\.html", _PLAIN),
    _entry(
        _npm("equation-admin-template", "1.0.0"),
        "Equation",
        "package/ltr",
        r"[^/]+\.html",
        _PLAIN,
    ),
    _entry(_npm("spectre.css", "0.5.9"), "Spectre", "package/docs", r".*\.html", _PLAIN),
    _entry(
        _npm("weui", "2.6.26"),
        "WeUI",
        "package/dist",
        r"example/index\.html",
        replace(
            _PLAIN,
            fragments=_WEUI,
            devices=("phone", "tablet"),
            dark="media",
            language="zh-CN",
            instead={r"/weui\.min\.js": "weui.js/package/dist/weui.min.js"},
        ),
    ),
    _entry(
        _npm("jquery-mobile", "1.4.1"),
        "jQuery Mobile",
        "package/dist/demos",
        r".+/[^/]+\.html",
        replace(_PLAIN, leave=r"^(_|faq|old-faq|css|js)", devices=("phone", "tablet")),
    ),
    _entry(
        _npm("startbootstrap-sb-admin-2", "4.1.4"), "SB Admin 2", "package", r"[^/]+\.html", _HELD
    ),
    _entry(
        _npm("sb-admin-2", "3.3.8"), "SB Admin 2 of 2016", "package", r"pages/[^/]+\.html", _HELD
    ),
    _entry(
        _npm(
            "@creative-tim-official/argon-dashboard-free", "1.2.0", r"^(?!.*node_modules).*" + _SITE
        ),
        "Argon",
        "package",
        r"(examples/.*|index)\.html",
        _HELD,
    ),
    _entry(
        _npm("stisla", "2.3.0"),
        "Stisla",
        "package",
        r"[^/]+\.html",
        replace(_HELD, instead=_BOOTSTRAP_4),
    ),
)
"""Every template, train and held-out."""

LIBRARIES = {
    "fontawesome": _npm("@fortawesome/fontawesome-free", "5.15.4", r"/(css|webfonts)/"),
    "jquery": _npm("jquery", "3.7.1", r"dist/jquery\.min\.js$"),
    "bootstrap": _npm("bootstrap", "4.6.2", r"dist/.*\.(css|js)$"),
    "icheck": _npm("icheck-bootstrap", "3.0.1", r"\.css$"),
    "chart": _npm("chart.js", "2.9.4", r"dist/"),
    "material-icons": _npm("material-icons", "1.13.14", r"iconfont/.*\.(css|woff2)$"),
    "weui.js": _npm("weui.js", "1.2.21", r"dist/"),
}
"""What some templates want from elsewhere, by the name that `Template.instead` uses."""

FONTS = {
    "Roboto": _npm("@fontsource/roboto", "5.3.0", r"\.(css|woff2)$"),
    "Open Sans": _npm("@fontsource/open-sans", "5.3.0", r"\.(css|woff2)$"),
    "Nunito": _npm("@fontsource/nunito", "5.3.0", r"\.(css|woff2)$"),
    "Source Sans Pro": _npm("@fontsource/source-sans-pro", "5.3.0", r"\.(css|woff2)$"),
    "Noto Serif": _npm("@fontsource/noto-serif", "5.3.0", r"\.(css|woff2)$"),
    "Noto Sans Arabic": _npm("@fontsource/noto-sans-arabic", "5.3.0", r"\.(css|woff2)$"),
    "Droid Sans Fallback": Package(
        "fonts-droid-fallback", "debian", "Chinese and Japanese letters", r"FallbackFull\.ttf$"
    ),
}
"""By family; the first five also dress pages in Latin letters, and answer for the names that the
templates ask Google for."""
DRESSES = ("Roboto", "Open Sans", "Nunito", "Source Sans Pro", "Noto Serif")

CATALOGUES = Package(
    "gnome-control-center-data",
    "debian",
    "other languages",
    r"/locale/.*/gnome-control-center-2\.0\.mo$",
)
"""Some 1,300 interface texts in each of its languages, by the translators of GNOME (GPL-2+)."""
LANGUAGES = {
    "de": "",
    "es": "",
    "fr": "",
    "ru": "'Open Sans', sans-serif",
    "ar": "'Noto Sans Arabic', 'DejaVu Sans', sans-serif",
    "he": "'DejaVu Sans', sans-serif",
    "zh-CN": "'Droid Sans Fallback', sans-serif",
    "ja": "'Droid Sans Fallback', sans-serif",
}
"""Fonts by language; none where those of the page have the letters."""


@dataclass(frozen=True)
class Catalogue:
    """What could be had."""

    sources: Sources
    templates: tuple[Template, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    """The reason for each package that could not."""


def gather(cache: Path, say: Callable[[str], None] = lambda line: None) -> Catalogue:
    """Every template's package, and what the pages want besides, fetched if the cache lacks it."""
    missing: dict[str, str] = {}

    def get(package: Package) -> Path | None:
        try:
            return fetch(package, cache)
        except MissingPackageError as error:
            missing[f"{package.name} {package.version}".strip()] = str(error)
            say(f"without {package.name}: {error}")
            return None

    entries = [(entry, get(entry.package)) for entry in ENTRIES]
    folders = {entry.template.name: path for entry, path in entries if path is not None}
    libraries = {name: get(package) for name, package in LIBRARIES.items()}
    fonts = {name: _font(path) for name, p in FONTS.items() if (path := get(p)) is not None}
    texts = get(CATALOGUES)
    sources = Sources(
        folders | {name: path for name, path in libraries.items() if path is not None},
        {} if texts is None else languages(texts),
        fonts,
    )
    templates = tuple(entry.template for entry, path in entries if path is not None)
    return Catalogue(sources, templates, missing)


def _font(folder: Path) -> Path:
    files = sorted(folder.rglob("*.ttf"))
    return files[0] if files else folder / "package"


def languages(folder: Path) -> dict[str, Language]:
    """The languages whose texts are in the unpacked `folder` of compiled gettext catalogues."""
    found = {}
    for tag, fonts in LANGUAGES.items():
        name = tag.replace("-", "_")
        path = next(folder.rglob(f"locale/{name}/LC_MESSAGES/*.mo"), None)
        if path is not None:
            found[tag] = Language(tag, texts(path), fonts)
    return found


@functools.cache
def texts(path: Path) -> tuple[str, ...]:
    """What a person would read of a compiled catalogue: the shortest first, each once."""
    with path.open("rb") as file:
        messages = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    plain = {re.sub(r"_(?=\w)|\(_\w\)", "", text) for key, text in messages.items() if key}
    kept = (t for t in plain if t.strip() and not re.search(r"[%<>{}\n\\]|://", t))
    return tuple(sorted(kept, key=lambda text: (len(text), text)))
