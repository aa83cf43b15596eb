"""Pages rendered by headless Chromium, each with the DOM's truth beside its picture.

Every request is answered from files: the template's own, fonts and libraries of other packages,
and nothing else; what is not there is refused, and no name is ever looked up. Time stands still
but for `SETTLE_MS` that are run through, `Math.random` is seeded and nothing moves, so that a page
gives the same picture again. What is seen on it and of which class is decided in `dom.js`, the one
place of those rules. A page that cannot be rendered becomes a row with a status and a reason.

With Chromium 156 a screen takes 1 to 2 s, most of it the page's own scripts.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import mimetypes
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from annotators.screen.templates import DEVICES, Language, Shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

OK, TIMEOUT, FAILED, EMPTY = "ok", "timeout", "failed", "empty"
"""`status` of a screen: rendered; took too long; the page or the browser failed; nothing on it."""
HOST, FONT_HOST = "http://page.test", "http://fonts.test"
SETTLE_MS = 1600
"""Milliseconds of the page's own time that are run through before it is measured."""
LEAST_ELEMENTS = 3
"""A page with fewer elements is empty."""
FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-domain-reliability"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--force-color-profile=srgb"),
    *("--font-render-hinting=none", "--disable-lcd-text"),
)
STILL = """
*, *::before, *::after { animation-duration: 1ms !important; animation-delay: 0s !important;
  animation-iteration-count: 1 !important; transition-duration: 1ms !important;
  transition-delay: 0s !important; caret-color: transparent !important;
  scroll-behavior: auto !important; pointer-events: auto !important; }
"""
"""What moves has arrived, and says so to the page's scripts; and everything can be hit, so that the
DOM can be asked what lies on top."""
FIRST = f"""
(() => {{ const sheet = new CSSStyleSheet(); sheet.replaceSync({json.dumps(STILL)});
  document.adoptedStyleSheets = [sheet]; }})();
(() => {{ let s = 42; Math.random = () => {{
  s = (s + 0x6D2B79F5) | 0; let t = Math.imul(s ^ (s >>> 15), 1 | s);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t; return ((t ^ (t >>> 14)) >>> 0) / 4294967296; }};
}})();
"""
"""Runs before any script of a page."""


class NoBrowserError(OSError):
    """There is no Chromium here; the message says how to name one."""


@dataclass(frozen=True)
class Sources:
    """Where the files are."""

    folders: Mapping[str, Path]
    """Unpacked package by the name of the template, or by what `Template.instead` calls it."""
    languages: Mapping[str, Language] = field(default_factory=dict)
    """By tag."""
    fonts: Mapping[str, Path] = field(default_factory=dict)
    """Folder of a Fontsource package, or a font file, by family."""


def chromium() -> str:
    """The path of a Chromium; the environment's SIGHTMILL_CHROMIUM goes first."""
    names = (os.environ.get("SIGHTMILL_CHROMIUM", ""), "chromium", "chromium-browser")
    for name in (*names, "google-chrome", "google-chrome-stable"):
        if name and (found := shutil.which(name)):
            return found
    raise NoBrowserError("no Chromium here: install it, or name one in SIGHTMILL_CHROMIUM")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium, ended at the end."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as driver:
        flags = [*FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        running = driver.chromium.launch(executable_path=path, args=flags)
        try:
            yield running
        finally:
            running.close()


def screen(running: Browser, shot: Shot, sources: Sources, seconds: float = 30.0) -> dict[str, Any]:
    """A row of `records.SCREENS`: the picture and its truth, or why there is none.

    Args:
        seconds: most that any one step of the browser may take.
    """
    from playwright.sync_api import Error, TimeoutError

    row: dict[str, Any] = {
        "screen_id": shot.screen_id,
        "image": None,
        "format": "png",
        "width": 0,
        "height": 0,
        "source": shot.template.source,
        "template": shot.template.name,
        "page": shot.page,
        "top": 0,
        "device": shot.device,
        "theme": shot.theme,
        "language": shot.language,
        "split": "held-out" if shot.template.held_out else "train",
        "truth": None,
        "status": OK,
        "detail": f"font {shot.font}" if shot.font else "",
    }
    try:
        with _context(running, shot, sources, seconds) as context:
            row |= _taken(context.new_page(), shot, sources)
    except TimeoutError as error:
        row |= {"status": TIMEOUT, "detail": _first_line(error)}
    except Error as error:
        row |= {"status": FAILED, "detail": _first_line(error)}
    return row


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


@contextlib.contextmanager
def _context(
    running: Browser, shot: Shot, sources: Sources, seconds: float
) -> Iterator[BrowserContext]:
    """A fresh profile of the shot's device that gets files only."""
    device = DEVICES[shot.device]
    context = running.new_context(
        viewport={"width": device.width, "height": device.height},
        device_scale_factor=device.scale,
        has_touch=device.touch,
        color_scheme="dark" if shot.theme == "dark" else "light",
        locale=shot.language,
        timezone_id="UTC",
        reduced_motion="reduce",
        service_workers="block",
        accept_downloads=False,
    )
    context.set_default_timeout(1000 * seconds)
    context.route("**/*", functools.partial(_answer, shot=shot, sources=sources))
    context.route_web_socket("**/*", lambda socket: socket.close())
    context.add_init_script(FIRST)
    if shot.theme == "dark" and shot.template.dark != "media":
        context.add_init_script(shot.template.dark)
    try:
        yield context
    finally:
        context.close()


def _answer(route: Route, shot: Shot, sources: Sources) -> None:
    """A file, or a refusal."""
    path = file_of(route.request.url, shot, sources)
    if path is None:
        route.abort("blockedbyclient")
        return
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {"content-type": kind, "access-control-allow-origin": "*"}
    route.fulfill(status=200, headers=headers, body=path.read_bytes())


def file_of(url: str, shot: Shot, sources: Sources) -> Path | None:
    """The file that answers a request, None where nothing does; none outside the packages."""
    for pattern, target in shot.template.instead.items():
        if match := re.search(pattern, url):
            name, _, inner = match.expand(target).partition("/")
            return _inside(sources.folders.get(name), inner)
    parts = urlsplit(url)
    path = unquote(parts.path).lstrip("/")
    if url.startswith(HOST + "/"):
        folder = sources.folders[shot.template.name] / shot.template.root
        return _inside(folder, path or "index.html")
    if url.startswith(FONT_HOST + "/"):
        family, _, inner = path.partition("/")
        at = sources.fonts.get(family)
        return at if at is not None and at.is_file() else _inside(at, inner)
    return None


def _inside(folder: Path | None, path: str) -> Path | None:
    if folder is None:
        return None
    file = (folder / path).resolve()
    return file if file.is_relative_to(folder.resolve()) and file.is_file() else None


def _taken(page: Page, shot: Shot, sources: Sources) -> dict[str, Any]:
    """Open, dress, settle, scroll, measure, photograph."""
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.clock.install(time=1_760_000_000)
    page.goto(f"{HOST}/{shot.page}", wait_until="load")
    if faces := _font_faces(sources):
        page.add_style_tag(content=faces)
    page.evaluate(_script("dress.js"), _dress(shot, sources))
    _pass(page, SETTLE_MS)
    top = page.evaluate(
        "view => { window.scrollTo(0, Math.round(view * innerHeight * 0.9)); return scrollY; }",
        shot.view,
    )
    _pass(page, SETTLE_MS // 4)
    page.evaluate("() => document.fonts.ready.then(() => true)")
    image = page.screenshot(type="png", animations="disabled", caret="hide")
    elements = page.evaluate(_script("dom.js"))
    width, height = _size(image)
    scale = width / DEVICES[shot.device].width
    found: dict[str, Any] = {
        "image": image,
        "width": width,
        "height": height,
        "top": round(top),
        "truth": [_scaled(element, scale) for element in elements],
    }
    if len(elements) < LEAST_ELEMENTS:
        found |= {"status": EMPTY, "detail": f"{len(elements)} elements"}
    return found


def _pass(page: Page, milliseconds: int) -> None:
    """Let the page's time pass. What one of its timers raises ends none of the others, as it is in
    a browser whose time runs by itself."""
    from playwright.sync_api import Error, TimeoutError

    for _ in range(8):  # timers that raise
        try:
            page.clock.run_for(milliseconds)
            return
        except TimeoutError:
            raise
        except Error:
            continue


@functools.cache
def _script(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _font_faces(sources: Sources) -> str:
    """CSS that makes the fonts known; none is loaded before a page uses it."""
    faces = []
    for family, path in sources.fonts.items():
        if path.is_file():
            url = f"{FONT_HOST}/{family}/file"
            faces.append(f"@font-face {{ font-family: '{family}'; src: url('{url}'); }}")
        else:
            for weight in (400, 700):
                css = (path / f"{weight}.css").read_text(encoding="utf-8")
                faces.append(css.replace("url(./", f"url({FONT_HOST}/{family}/"))
    return "\n".join(faces)


def _dress(shot: Shot, sources: Sources) -> dict[str, Any]:
    language = sources.languages.get(shot.language, Language(shot.language))
    fonts = language.fonts or (f"'{shot.font}', sans-serif" if shot.font else "")
    return {
        "texts": [] if shot.language == shot.template.language else list(language.texts),
        "language": language.tag,
        "fonts": fonts,
        "seed": int(shot.screen_id[:7], 16),
    }


def _size(image: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        return opened.size


def _scaled(element: dict[str, Any], scale: float) -> dict[str, Any]:
    edges = {edge: element[edge] * scale for edge in ("x0", "y0", "x1", "y1")}
    return {**element, **edges}
