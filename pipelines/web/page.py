"""A web page: from the bytes of a response to a tree, its base URL and its links.

The crawler and the extractor read pages through this one door, so both see the same links, the
same characters and the same limits. Parsing is Lexbor's (by selectolax), which follows the HTML
standard and sets no limits of its own: 100,000 nested `<div>` (0.5 MB) cost it 34 s, and 64
unclosed `<b>` before 100,000 `<p>`, each of which the standard has repeat them, 2.3 GB. What looks
like that is refused first (`too_deep`).

Characters (`decode`): a byte order mark decides, then the HTTP header, then `<meta>`, as the
Encoding standard has it; but a declared charset that the bytes contradict is not believed, and the
detector is asked instead.
"""

from __future__ import annotations

import codecs
import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from selectolax.lexbor import LexborHTMLParser

MAX_URL = 2048
"""Characters of the longest URL that is kept."""
MAX_DEPTH = 1000
"""Deepest nesting that is parsed; browsers stop at 512."""
MAX_COPIES = 2_000_000
"""Most elements that repeated formatting may make, some 0.3 KB each."""
UNSCANNED_TAGS = 2500
"""Tags that are too few for harm: they make 2 million elements at most."""

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_META_CHARSET = re.compile(rb"<meta[^>]+?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_WESTERN = frozenset({"cp1252", "iso8859-1", "iso8859-15", "ascii"})
_SINGLE_BYTE = re.compile(r"cp125\d|iso8859-\d+|koi8-[ru]|cp866|mac-|windows-|ascii")
_NOT_WESTERN = re.compile(rb"[\xa1-\xff]{4}")
_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9-]*+)")
_UNNESTED = frozenset(
    b"area base br col embed hr img input link meta source track wbr param a nobr"
    b" p li dt dd td th tr tbody thead tfoot option optgroup colgroup html head body".split()
)
"""Elements that are empty, or that the next of their kind closes."""
_FORMATTING = frozenset(b"b big code em font i s small strike strong tt u".split())


class UnreadablePageError(Exception):
    """A page cannot be read; `reason` is the drop reason."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.reason = reason


def is_html(content_type: str | None, body: bytes) -> bool:
    """Whether a payload is HTML: as its Content-Type says, or by its first bytes without one."""
    if content_type:
        return content_type.partition(";")[0].strip().lower() in HTML_TYPES
    start = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


@dataclass(frozen=True)
class Page:
    """A response's URL, payload (content encodings already undone) and Content-Type header."""

    url: str
    body: bytes
    content_type: str | None = None

    @cached_property
    def tree(self) -> LexborHTMLParser:
        """The parsed document. Raises UnreadablePageError if it is nested too deeply."""
        if too_deep(self.body):
            raise UnreadablePageError(self.url, "too_deep")
        return LexborHTMLParser(decode(self.body, self.content_type))

    @cached_property
    def base(self) -> str:
        """What relative URLs are relative to: `<base href>` where there is one."""
        node = self.tree.css_first("base[href]")
        href = (node.attributes.get("href") or "").strip() if node is not None else ""
        return absolute_url(href, self.url) or self.url

    @cached_property
    def language(self) -> str:
        """Primary subtag of the document's language as it declares it; `und` if it does not."""
        node = self.tree.css_first("html")
        attributes = node.attributes if node is not None else {}
        return primary_subtag(attributes.get("lang") or attributes.get("xml:lang"))

    def opening(self, characters: int = 400) -> str:
        """The title and the first words of the body, to tell the language by."""
        parts, length = [title.text() for title in self.tree.css("head > title")], 0
        nodes = self.tree.body.traverse(include_text=True) if self.tree.body else ()
        for node in itertools.islice(nodes, 5000):
            parent = node.parent
            if node.tag == "-text" and parent and parent.tag not in ("script", "style", None):
                parts.append(node.text(deep=False))
                length += len(parts[-1].strip())
            if length > characters:
                break
        return " ".join(" ".join(parts).split())

    @cached_property
    def robots(self) -> frozenset[str]:
        """Directives of `<meta name=robots>` and `<meta name=sightmill>`, lower case."""
        metas = (node.attributes for node in self.tree.css("meta[name][content]"))
        return robots_directives((m.get("name") or "", m.get("content") or "") for m in metas)

    def links(self) -> Iterator[str]:
        """Absolute http(s) URLs that this page leads to, in document order, repeats included."""
        if self.robots & {"nofollow", "none"}:
            return
        for node in self.tree.css("a[href], area[href], frame[src], iframe[src], meta[http-equiv]"):
            attributes = node.attributes
            if "nofollow" in (attributes.get("rel") or "").lower().split():
                continue
            target = attributes.get("href") or attributes.get("src") or _refresh(attributes)
            url = absolute_url(target, self.base) if target else None
            if url is not None:
                yield url


def robots_directives(metas: Iterator[tuple[str, str]]) -> frozenset[str]:
    """Directives of (name, content) pairs whose name addresses all robots or ours."""
    contents = [
        content for name, content in metas if name.strip().lower() in ("robots", "sightmill")
    ]
    return frozenset(word.strip().lower() for content in contents for word in content.split(","))


def primary_subtag(tag: str | None) -> str:
    """`pt` of `pt-BR`, `und` where the tag is missing or no language tag (BCP 47)."""
    subtag = re.split("[-_]", (tag or "").strip().lower())[0]
    return subtag if re.fullmatch("[a-z]{2,3}", subtag) else "und"


def absolute_url(reference: str, base: str) -> str | None:
    """`reference` resolved against `base` and normalised; None unless it is an http(s) URL.

    Normal form: scheme and host in lower case, default port and fragment dropped, an empty path
    made `/`, white space and non-ASCII characters percent-encoded; longer than MAX_URL is None.
    """
    if len(reference) < MAX_URL and _PLAIN_PATH.fullmatch(reference):
        parts = _origin_and_directory(base)
        if parts is None:
            return None
        return parts[0] + reference if reference[0] == "/" else parts[0] + parts[1] + reference
    return _absolute_url(reference.strip("\t\n\f\r \0"), base)


@functools.lru_cache(maxsize=1024)
def _origin_and_directory(base: str) -> tuple[str, str] | None:
    folder = _absolute_url(".", base)
    if folder is None:
        return None
    parts = urlsplit(folder)
    return f"{parts.scheme}://{parts.netloc}", parts.path


def _absolute_url(reference: str, base: str) -> str | None:
    reference = reference.replace("\n", "").replace("\r", "").replace("\t", "")
    if len(reference) > MAX_URL:
        return None
    try:
        parts = urlsplit(urljoin(base, reference, allow_fragments=True))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
        netloc = _netloc(parts.scheme, parts.netloc, parts.hostname, parts.port)
        path, query = quote(parts.path or "/", safe=_SAFE), quote(parts.query, safe=_SAFE)
    except ValueError:  # a port that is no number, a bracket left open, a lone surrogate, no IDNA
        return None
    url = urlunsplit((parts.scheme, netloc, path, query, ""))
    return url if len(url) <= MAX_URL else None


_SEGMENT = r"[A-Za-z0-9_~%-][A-Za-z0-9_~%.-]*"
_PLAIN_PATH = re.compile(rf"/?{_SEGMENT}(?:/{_SEGMENT})*/?")
"""Most references: a path that needs no normalising, joined twenty times faster than by urljoin."""
_SAFE = "%/:=&?~#+!$,;'@()*[]|"


def _netloc(scheme: str, netloc: str, hostname: str, port: int | None) -> str:
    host = hostname if hostname.isascii() else hostname.encode("idna").decode("ascii")
    host = f"[{host}]" if ":" in host else host
    user = netloc.rpartition("@")[0]
    default = 80 if scheme == "http" else 443
    return (f"{user}@" if user else "") + host + (f":{port}" if port not in (None, default) else "")


def _refresh(attributes: dict[str, str | None]) -> str | None:
    if (attributes.get("http-equiv") or "").lower() != "refresh":
        return None
    match = re.search(
        r"url\s*=\s*[\"']?([^\"'\s]+)", attributes.get("content") or "", re.IGNORECASE
    )
    return match[1] if match else None


def decode(body: bytes, content_type: str | None) -> str:
    """`body` as text. Bytes that no plausible charset explains become U+FFFD, not other letters."""
    for bom, encoding in _BOMS:
        if body.startswith(bom):
            return body[len(bom) :].decode(encoding, "replace")
    if body.isascii() and b"\0" not in body:
        return body.decode("ascii")
    for encoding in _plausible(body, declared_charset(body, content_type)):
        try:
            return body.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return body.decode("utf-8", "replace")


def _plausible(body: bytes, declared: str | None) -> Iterator[str]:
    """Encodings to try strictly, likeliest first.

    Text that is valid UTF-8 is UTF-8 with near certainty, so that goes before any single-byte
    charset (they accept everything), but not before a multi-byte one. A Western charset, which many
    servers claim for every file, is not believed where runs of four high bytes occur: Western
    orthographies have none, while Cyrillic, Greek and Asian text is full of them.
    """
    if declared in ("utf-16-le", "utf-16-be") and b"\0" not in body:  # markup would have some
        declared = None
    if declared is None or _SINGLE_BYTE.match(declared):
        yield "utf-8"
    if declared is not None and not (declared in _WESTERN and _NOT_WESTERN.search(body)):
        yield declared
    yield "utf-8"
    detected = detect_encoding(body)
    if detected is not None and not (detected in _WESTERN and _NOT_WESTERN.search(body)):
        yield detected


def declared_charset(body: bytes, content_type: str | None) -> str | None:
    """The charset named by the header, else by a `<meta>`; None if there is none, or no such."""
    found = _CHARSET.search(content_type or "")
    label = found[1] if found else None
    if label is None:
        meta = _META_CHARSET.search(body[:4096])
        label = meta[1].decode("ascii") if meta else None
    return map_encoding_to_html5(label, fallback_utf8=False) if label else None


def too_deep(body: bytes) -> bool:
    """Whether parsing would take time or memory out of proportion, by an estimate from the tags.

    Small pages cannot: they are not scanned. End tags count only against start tags of their name.
    """
    tags = body.count(b"<")
    if tags <= UNSCANNED_TAGS:
        return False
    depth, formatting = _deepest(body)
    return depth > MAX_DEPTH or formatting * tags > MAX_COPIES


def _deepest(body: bytes) -> tuple[int, int]:
    """Most elements, and most formatting elements, that are open at once."""
    opened: Counter[bytes] = Counter()
    depth = deepest = formatting = most = 0
    for close, name in _TAG.findall(body):
        lower = name.lower()
        if lower in _UNNESTED or (close and not opened[lower]):
            continue
        step = -1 if close else 1
        opened[lower] += step
        depth += step
        deepest = max(deepest, depth)
        if lower in _FORMATTING:
            formatting += step
            most = max(most, formatting)
    return deepest, most
