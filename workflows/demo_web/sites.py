"""What a site is: a map from paths to what they answer, made lazily and alike in every run.

A site is a pure function of the packages, the configuration and the seed. Files are served from
where their package was unpacked; pages are written when they are asked for.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

T = TypeVar("T")
PAGE = "text/html; charset=utf-8"
_TYPES = {
    ".css": "text/css",
    ".gif": "image/gif",
    ".html": "text/html",  # a manual's page names its own charset
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Resource:
    """What one path answers."""

    body: bytes | Path | Callable[[], bytes]
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drip_seconds: float = 0.0  # over which the body is spread, so that the server seems slow

    def read(self) -> bytes:
        """The whole body."""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.read_bytes() if isinstance(self.body, Path) else self.body()


@dataclass(frozen=True)
class Site:
    """One host's content."""

    name: str  # google
    title: str  # for a person
    resources: Mapping[str, Resource]  # by decoded path, which begins with /

    def paths(self, content_type: str) -> list[str]:
        """Paths that answer 200 with a type that begins with `content_type`."""
        return [
            path
            for path, it in self.resources.items()
            if it.status == 200 and it.content_type.startswith(content_type)
        ]


def file(path: Path, headers: Mapping[str, str] | None = None) -> Resource:
    """A file as it is; its type by its name."""
    return Resource(path, _TYPES[path.suffix.lower()], headers=headers or {})


def folder(root: Path, prefix: str = "/") -> dict[str, Resource]:
    """Every web file below `root`, and index.html for its folder; none that links out of it."""
    found = {}
    inside = root.resolve()
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in _TYPES or not path.is_file():
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            continue
        url = prefix + path.relative_to(root).as_posix()
        found[url] = file(path)
        if path.name == "index.html":
            found[url.removesuffix("index.html")] = found[url]
    return found


def page(title: str, body: Callable[[], str], language: str = "en") -> Resource:
    """An HTML page in UTF-8 that `body` writes when it is asked for."""

    def write() -> bytes:
        return (
            f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
            f"<body><h1>{html.escape(title)}</h1>\n{body()}\n</body></html>\n"
        ).encode()

    return Resource(write, PAGE)


def text(content: str) -> Resource:
    """Plain text, such as robots.txt."""
    return Resource(content.encode(), "text/plain; charset=utf-8")


def robots(*forbidden: str) -> dict[str, Resource]:
    """robots.txt that forbids these path prefixes to everyone."""
    rules = "".join(f"Disallow: {prefix}\n" for prefix in forbidden)
    return {"/robots.txt": text(f"User-agent: *\n{rules}")}


def redirect(to: str) -> Resource:
    """A redirect for the time being."""
    return Resource(b"", "text/plain", status=302, headers={"Location": to})


def link(url: str, label: str) -> str:
    """An HTML link."""
    return f'<a href="{quote(url)}">{html.escape(label)}</a>'


def links(targets: Iterable[tuple[str, str]]) -> str:
    """A list of links, from (URL, label)."""
    return "<ul>" + "".join(f"<li>{link(*target)}</li>" for target in targets) + "</ul>"


def image(url: str, alt: str, title: str = "") -> str:
    """An HTML image; a title only if there is one."""
    titled = f' title="{html.escape(title)}"' if title else ""
    return f'<img src="{quote(url)}" alt="{html.escape(alt)}"{titled} loading="lazy">'


def figure(picture: str, caption: str = "") -> str:
    """An HTML figure around an image."""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{picture}{below}</figure>\n"


def paged(
    base: str,
    title: str,
    items: Sequence[T],
    show: Callable[[T], str],
    *,
    size: int,
    language: str = "en",
) -> dict[str, Resource]:
    """A listing of `items` on as many pages as it takes: `base`, `base`2/, `base`3/ ..."""
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    urls = [base, *(f"{base}{number}/" for number in range(2, len(chunks) + 1))]

    def body(number: int) -> Callable[[], str]:
        further = [
            link(urls[to], label)
            for to, label in ((number - 1, "previous"), (number + 1, "next"))
            if 0 <= to < len(chunks)
        ]
        return lambda: f"{''.join(map(show, chunks[number]))}<p>{' '.join(further)}</p>"

    return {
        url: page(f"{title}, page {number + 1}" if number else title, body(number), language)
        for number, url in zip(range(len(chunks)), urls, strict=False)
    }


def slug(name: str) -> str:
    """`name` as a part of a path: "Smileys & Emotion" is smileys-emotion."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def grouped(items: Iterable[T], key: Callable[[T], str]) -> Iterator[tuple[str, list[T]]]:
    """Items by `key`, sorted by it, each group in the order given."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    yield from sorted(groups.items())


_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "figure{display:inline-block;width:9rem;margin:.5rem;vertical-align:top;font-size:.8rem}"
    "img{max-width:8rem;max-height:8rem}"
)
