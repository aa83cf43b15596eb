"""Candidate pairs of a page: each image with each text that the page gives it.

Texts are an image's `alt`, the `<figcaption>` of the figure around it, and its `title`. Nothing is
judged here but what no later stage could use: an image without a usable URL, a text that is empty,
too long or undecodable. Whether a text says anything is for `pipelines.web.filters`.

A lazily loaded image carries a placeholder in `src` and its true URL in `data-src` or a sibling, so
those go first; of a `srcset` the largest variant is taken, one URL an image.

Reasons, by what is dropped. Pages: not_html, opt_out_header, opt_out_meta, too_deep. Images:
no_url, data_uri, bad_url, no_text. Texts: text_too_long, undecodable.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pipelines.records import record_id
from pipelines.web.language import language_of
from pipelines.web.page import Page, UnreadablePageError, absolute_url, is_html, robots_directives
from pipelines.web.payload import header
from pipelines.web.safety import OPT_OUTS, opted_out
from pipelines.web.warc import Response, WatPage

SOURCES = ("alt", "figcaption", "title")
"""Where a text comes from, best first: of equal pairs the best source is kept."""
MAX_TEXT = 1000
"""Characters of the longest text that is kept."""
MAX_CLIMB = 12
"""Elements between an image and the figure whose caption it gets."""

_URL_ATTRIBUTES = ("data-src", "data-original", "data-lazy-src", "data-lazy", "src")
_SET_ATTRIBUTES = ("data-srcset", "srcset")
_UNDECODABLE = re.compile("[\ud800-\udfff\ufffd]")
_INVISIBLE = dict.fromkeys((*range(9), *range(14, 28), *range(127, 160), 0xAD, 0x200B, 0xFEFF))
_BREAKS = {"p", "br", "div", "li", "dd", "dt", "td", "th", "tr", "h1", "h2", "h3", "h4", "h5", "h6"}
_NO_TEXT = frozenset(("script", "style", "noscript", "template"))


class Candidate(NamedTuple):
    """A row of the candidates dataset, in the order of its columns."""

    pair_id: str
    image_url: str
    text: str
    text_source: str
    page_url: str
    language: str


class _Context(NamedTuple):
    """What an image takes from its page."""

    page_url: str
    base: str
    language: str


def candidates(page: Response | WatPage, drops: Counter[str]) -> Iterator[Candidate]:
    """Candidate pairs of an archived page, in document order; `drops` counts the rest by reason."""
    if opted_out(page.headers) is not None:
        drops["opt_out_header"] += 1
        return
    if isinstance(page, WatPage):
        yield from _wat_candidates(page, drops)
        return
    content_type = header(page.headers, "content-type")
    if not is_html(content_type, page.body):
        drops["not_html"] += 1
        return
    try:
        yield from page_candidates(Page(page.url, page.body, content_type), drops)
    except UnreadablePageError as error:
        drops[error.reason] += 1


def page_candidates(page: Page, drops: Counter[str]) -> Iterator[Candidate]:
    """Candidate pairs of an HTML page. Raises UnreadablePageError before the first of them."""
    if page.robots & OPT_OUTS:
        drops["opt_out_meta"] += 1
        return
    captions, context = _captions(page), _Context(page.url, page.base, _language(page))
    for image in page.tree.css("img"):
        attributes = image.attributes
        texts = zip(
            SOURCES,
            (attributes.get("alt"), _caption_around(image, captions), attributes.get("title")),
            strict=True,
        )
        yield from _pairs(image_reference(attributes), texts, context, drops)


def _language(page: Page) -> str:
    """The language that a page declares, else the one that its first words are in."""
    return page.language if page.language != "und" else language_of(page.opening(), "und")


def _wat_candidates(page: WatPage, drops: Counter[str]) -> Iterator[Candidate]:
    """Candidate pairs of a page as a WAT tells it: no captions there, and no language."""
    if page.html is None:
        drops["not_html"] += 1
        return
    [head] = _objects([page.html.get("Head")]) or [{}]
    metas = _objects(head.get("Metas"))
    if robots_directives((_text(m, "name"), _text(m, "content")) for m in metas) & OPT_OUTS:
        drops["opt_out_meta"] += 1
        return
    base = absolute_url(_text(head, "Base"), page.url) or page.url
    context = _Context(page.url, base, "und")
    for link in _objects(page.html.get("Links")):
        if link.get("path") in ("IMG@/src", "IMG@/data-src"):
            texts = ((source, _text(link, source)) for source in ("alt", "title"))
            yield from _pairs(_text(link, "url"), texts, context, drops)


def _objects(value: Any) -> list[dict[str, Any]]:
    """The JSON objects in what should be a list of them."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(item: Mapping[str, Any], key: str) -> str:
    """A string of a WAT, which keeps the page's entities."""
    value = item.get(key)
    return html.unescape(value) if isinstance(value, str) else ""


def _pairs(
    reference: str,
    texts: Iterable[tuple[str, str | None]],
    context: _Context,
    drops: Counter[str],
) -> Iterator[Candidate]:
    """The pairs of one image; a text that it is given twice makes one, of the better source."""
    image_url = absolute_url(reference, context.base) if reference else None
    if image_url is None:
        drops[("data_uri" if is_data(reference) else "bad_url") if reference else "no_url"] += 1
        return
    seen: set[str] = set()
    for source, raw in texts:
        text = clean_text(raw or "")
        reason = _text_reason(text)
        if reason is not None:
            drops[reason] += 1
        elif text and text not in seen:
            pair_id = record_id(image_url, text)
            language = language_of(text, context.language)
            yield Candidate(pair_id, image_url, text, source, context.page_url, language)
        seen.add(text)
    if seen <= {""}:
        drops["no_text"] += 1


def _text_reason(text: str) -> str | None:
    if len(text) > MAX_TEXT:
        return "text_too_long"
    return "undecodable" if _UNDECODABLE.search(text) else None


def clean_text(text: str) -> str:
    """`text` in NFC, invisible characters gone, white space folded to single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.translate(_INVISIBLE).split())


def image_reference(attributes: Mapping[str, str | None]) -> str:
    """The URL by which an `<img>` names its picture, unresolved; empty if it has none."""
    found = ""
    for reference in _references(attributes):
        if not is_data(reference):
            return reference
        found = found or reference
    return found


def _references(attributes: Mapping[str, str | None]) -> Iterator[str]:
    for name in _URL_ATTRIBUTES:
        if reference := (attributes.get(name) or "").strip():
            yield reference
    for name in _SET_ATTRIBUTES:
        if reference := largest_variant(attributes.get(name) or ""):
            yield reference


def is_data(reference: str) -> bool:
    """Whether a reference is a `data:` URI, which holds its picture instead of naming it."""
    return reference[:5].lower() == "data:"


def largest_variant(srcset: str) -> str:
    """The URL of the widest or densest variant of a `srcset`; empty if there is none."""
    return max(_variants(srcset), default=(0.0, ""), key=lambda variant: variant[0])[1]


def _variants(srcset: str) -> Iterator[tuple[float, str]]:
    """(size, URL) of each variant; by splits, which are linear in the longest `srcset`."""
    for piece in re.split(r",(?=\s)", srcset):
        words = deque(piece.split())
        while words:
            url = words.popleft().strip(",")
            size, _, following = words.popleft().partition(",") if words else ("", "", "")
            if url:
                yield _number(size[:-1]), url
            if following:
                words.appendleft(following)


def _number(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0


def _captions(page: Page) -> dict[int, str]:
    """Caption of each captioned figure, by its node."""
    captions: dict[int, str] = {}
    for caption in page.tree.css("figcaption"):
        figure = next((node for node in _around(caption) if node.tag == "figure"), None)
        if figure is not None:
            captions[figure.mem_id] = _visible_text(caption)
    return captions


def _caption_around(image: Any, captions: Mapping[int, str]) -> str | None:
    """Caption of the nearest captioned figure that an image stands in."""
    nodes = _around(image) if captions else ()
    return next((captions[node.mem_id] for node in nodes if node.mem_id in captions), None)


def _around(node: Any) -> Iterator[Any]:
    """The elements around a node, innermost first."""
    for _ in range(MAX_CLIMB):
        node = node.parent
        if node is None:
            return
        yield node


def _visible_text(node: Any) -> str:
    """Text of a node, blocks and line breaks as spaces, without the link marks of manuals."""
    parts: list[str] = []
    for part in node.traverse(include_text=True):
        if len(parts) > MAX_TEXT:  # more pieces than a text may have characters
            break
        if part.tag in _BREAKS:
            parts.append(" ")
        elif part.tag == "-text" and not _is_hidden(part.parent):
            parts.append(part.text(deep=False))
    return "".join(parts)


def _is_hidden(node: Any) -> bool:
    return node.tag in _NO_TEXT or "headerlink" in (node.attributes.get("class") or "").split()
