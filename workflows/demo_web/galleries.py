"""Two emoji galleries that differ as real sites do.

Google's: long category pages of figures, the name as alt text and "name: keyword, keyword" as
caption, a page of recent ones that repeats pictures under other URLs, drafts that robots.txt
forbids. It shows every concept.

Twitter's: category pages of thumbnails, each with a page of its own where the alt text is name
and keywords and the title attribute a sentence; a redirect loop, and a sign-in page served as a
JPEG. It shows every concept but the held ones.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence

from workflows.demo_web.concepts import Concept
from workflows.demo_web.oddities import page_as_jpeg, redirect_loop
from workflows.demo_web.sites import (
    Resource,
    Site,
    figure,
    file,
    grouped,
    image,
    link,
    links,
    page,
    paged,
    redirect,
    robots,
    slug,
)


def google_gallery(concepts: Sequence[Concept]) -> Site:
    """Every concept as Google draws it."""
    resources = robots("/drafts/")
    categories = [(f"/category/{slug(name)}/", name, it) for name, it in _by_category(concepts)]
    for url, name, members in categories:
        resources |= paged(url, name, members, _google_figure, size=48)
    for concept in concepts:
        resources[_google_png(concept)] = file(concept.drawings["google"])
    recent = concepts[::16]
    for concept in recent:
        resources[_recent_png(concept)] = file(concept.drawings["google"])
        resources[f"/drafts/{concept.key}.png"] = file(concept.drawings["google"])
    resources |= paged("/recent/", "Recently added", recent, _recent_figure, size=48)
    resources["/drafts/"] = page("Drafts", lambda: "".join(map(_draft_figure, recent)))
    front = [(url, name) for url, name, _ in categories]
    front += [("/recent/", "Recently added"), ("/drafts/", "Drafts"), ("/news/", "News (moved)")]
    resources["/"] = page("Emoji, category by category", lambda: links(front))
    return Site("google", "Emoji gallery, Google's drawings", resources)


def _by_category(concepts: Sequence[Concept]) -> list[tuple[str, list[Concept]]]:
    return list(grouped(concepts, lambda concept: concept.category))


def _google_png(concept: Concept) -> str:
    return f"/png/emoji_u{concept.key.replace('-', '_')}.png"


def _recent_png(concept: Concept) -> str:
    return f"/png/recent/{slug(concept.name) or concept.key}.png"


def _google_figure(concept: Concept) -> str:
    caption = f"{concept.name}: {', '.join(concept.keywords)}" if concept.keywords else ""
    return figure(image(_google_png(concept), concept.name), caption)


def _recent_figure(concept: Concept) -> str:
    return figure(image(_recent_png(concept), f"emoji {concept.name}"), f"New: {concept.name}")


def _draft_figure(concept: Concept) -> str:
    return figure(image(f"/drafts/{concept.key}.png", f"draft of {concept.name}"))


def drawing_paths(concept: Concept) -> list[tuple[str, str]]:
    """(site, path) of every picture that shows the concept and that a crawl may reach."""
    return [
        ("google", _google_png(concept)),
        ("google", _recent_png(concept)),
        ("twitter", _twitter_png(concept)),
    ]


def twitter_gallery(concepts: Sequence[Concept], held: Collection[str]) -> Site:
    """Every concept that is not held, as Twitter draws it."""
    shown = [concept for concept in concepts if concept.key not in held]
    resources = robots("/search") | redirect_loop("/old/home", "/old/start")
    resources |= redirect_loop("/old/a.png", "/old/b.png")
    resources["/ads/follow-us.jpg"] = page_as_jpeg()
    categories = [(f"/browse/{slug(name)}/", name, it) for name, it in _by_category(shown)]
    for url, name, members in categories:
        resources |= paged(url, name, members, _thumbnail, size=100)
        for concept in members:
            resources[_item_url(concept)] = _item(concept, url, name)
            resources[_twitter_png(concept)] = file(concept.drawings["twitter"])
            resources[f"/e/{concept.key}"] = redirect(_item_url(concept))
    resources["/"] = page("The big emoji dictionary", lambda: _front(categories, shown[::40]))
    return Site("twitter", "Emoji dictionary, Twitter's drawings", resources)


def _twitter_png(concept: Concept) -> str:
    return f"/assets/72x72/{concept.key}.png"


def _item_url(concept: Concept) -> str:
    return f"/emoji/{slug(concept.name) or 'u'}-{concept.key}/"


def _thumbnail(concept: Concept) -> str:
    picture = image(_twitter_png(concept), concept.name)
    return f'<a href="{_item_url(concept)}">{picture}</a>\n'


def _item(concept: Concept, category_url: str, category: str) -> Resource:
    def body() -> str:
        alt = ", ".join((concept.name, *concept.keywords[:4]))
        meaning = f"Emoji of {concept.name}"
        also = "".join(f"<li>{html.escape(name)}</li>" for name in concept.other_names)
        picture = image(_twitter_png(concept), alt, title=meaning)
        return f"<p>{picture}</p><ul>{also}</ul><p>{link(category_url, category)}</p>"

    return page(concept.name.capitalize(), body)


def _front(categories: Sequence[tuple[str, str, object]], some: Sequence[Concept]) -> str:
    advertisement = image("/ads/follow-us.jpg", "Follow us for a new emoji every day")
    broken = image("/old/a.png", "the first emoji that we ever drew")
    short = [(f"/e/{concept.key}", f"short link to {concept.name}") for concept in some]
    rest = [("/old/home", "Our old home page"), ("/search", "Search"), ("/blog/", "Blog")]
    front = [(url, name) for url, name, _ in categories]
    return f"<p>{advertisement} {broken}</p>{links([*front, *short, *rest])}"
