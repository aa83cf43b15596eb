"""The clip-art library and the picture-stamp library as sites.

Clip art: a tree of folders, 60 figures a page, the author's title as alt text (often generic:
1,375 are called "gramastar"), "title, keyword, keyword. description" as caption; many pictures
stand under several URLs. Some folders opt out of machine learning by header, one is forbidden by
robots.txt, and a poster has 20,000 x 20,000 pixels.

Stamps: the same pictures on a page for each topic in each of several languages, the caption as
alt text. One page and one picture are slow, one picture is torn in half, some are SVG, some are
not there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from workflows.demo_web.libraries import ClipArt, Stamp
from workflows.demo_web.oddities import (
    NO_AI,
    NO_IMAGE_AI,
    dripping,
    huge_png,
    slow_page,
    torn,
)
from workflows.demo_web.sites import (
    Resource,
    Site,
    figure,
    file,
    grouped,
    image,
    links,
    page,
    paged,
    robots,
)

OPTED_OUT = {
    "logos": NO_AI,
    "signs_and_symbols/led": {"X-Robots-Tag": "noai, noimageai"},
    "special/patterns": NO_IMAGE_AI,
}
"""Folders of the clip-art site whose owners do not want to be trained on."""


def clip_art_site(clip_art: Sequence[ClipArt], withheld: Collection[Path]) -> Site:
    """Every clip art that is not withheld."""
    shown = [art for art in clip_art if art.file not in withheld]
    resources = robots("/browse/unsorted/", "/files/unsorted/")
    for art in shown:
        resources[_art_url(art)] = file(art.file, OPTED_OUT.get(art.folder))
    topics: dict[str, list[tuple[str, str]]] = {}
    for name, members in grouped(shown, lambda art: art.folder):
        url = f"/browse/{name}/"
        resources |= paged(url, name.replace("_", " "), members, _art_figure, size=60)
        topics.setdefault(name.partition("/")[0], []).append((url, name))
    for topic, folders in topics.items():
        resources[f"/topics/{topic}/"] = _topic(topic, folders)
    resources["/posters/sky.png"] = Resource(huge_png, "image/png")
    front = [(f"/topics/{topic}/", topic.replace("_", " ")) for topic in topics]
    front += [("/browse/most-wanted/", "most wanted (not there)")]
    poster = figure(image("/posters/sky.png", "A clear sky, poster size"), "Print it as you like")
    resources["/"] = page("Clip art for everyone", lambda: poster + links(front))
    return Site("clipart", "Clip-art library", resources)


def _topic(topic: str, folders: Sequence[tuple[str, str]]) -> Resource:
    return page(topic.replace("_", " "), lambda: links(folders))


def _art_url(art: ClipArt) -> str:
    return f"/files/{art.path}.png"


def _art_figure(art: ClipArt) -> str:
    words = ", ".join(filter(None, (art.title, *art.keywords)))
    caption = f"{words}. {art.description}" if art.description else words
    return figure(image(_art_url(art), art.title or f"{art.path.rpartition('/')[2]}.png"), caption)


def stamp_site(
    stamps: Sequence[Stamp],
    withheld: Collection[Path],
    languages: Sequence[str],
    slow_seconds: float,
    drip_seconds: float,
) -> Site:
    """Every stamp that is not withheld, described in each of `languages`."""
    shown = [stamp for stamp in stamps if stamp.file not in withheld]
    resources = robots("/print/")
    for stamp in shown:
        resources[stamp_path(stamp)] = file(
            stamp.file, NO_IMAGE_AI if stamp.topic == "military" else None
        )
    front = []
    for language in languages:
        for topic, members in grouped(shown, lambda stamp: stamp.topic):
            url, tag = f"/{language}/{topic}/", language.replace("_", "-")
            resources |= _described(url, topic, members, language, tag)
            front.append((url, f"{topic} ({tag})"))
    odd = _odd_pictures(shown, drip_seconds)
    resources |= odd
    resources["/en/news/"] = slow_page("News", slow_seconds)
    resources["/print/"] = page("To print", lambda: "".join(map(_print_figure, shown)))
    front += [("/en/news/", "news"), ("/print/", "to print"), ("/en/seasons/", "not there yet")]
    pictures = "".join(image(url, "a stamp that is on its way") for url in [*odd, "/gone.png"])
    resources["/"] = page("Picture stamps", lambda: pictures + links(front))
    return Site("stamps", "Picture-stamp library", resources)


def stamp_path(stamp: Stamp) -> str:
    """Where the site has the picture."""
    return f"/stamps/{stamp.path}"


def _described(
    url: str, topic: str, members: Sequence[Stamp], language: str, tag: str
) -> dict[str, Resource]:
    """The pages of one topic in one language: stamps that have a caption in it."""
    told = [stamp for stamp in members if language in stamp.captions]

    def show(stamp: Stamp) -> str:
        return figure(image(stamp_path(stamp), stamp.captions[language]))

    return paged(url, topic.capitalize(), told, show, size=60, language=tag)


def _print_figure(stamp: Stamp) -> str:
    return figure(image(stamp_path(stamp), f"Print: {stamp.captions.get('en', '')}"))


def _odd_pictures(shown: Sequence[Stamp], drip_seconds: float) -> dict[str, Resource]:
    """Slow and torn copies of the first PNG stamp."""
    first = next((stamp.file for stamp in shown if stamp.file.suffix == ".png"), None)
    if first is None:
        return {}
    return {
        "/odd/slow.png": dripping(first, "image/png", drip_seconds),
        "/odd/torn.png": torn(first, "image/png"),
    }
