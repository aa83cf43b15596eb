"""The concepts that photographs, clip art and emoji share, and which of their pictures are test
pictures.

A picture shows a concept if the name that its author gave it says so and nothing else: the last
words before any preposition, less articles and counts, are the name of an emoji ("A Sumatran
tiger." and "Owl on Branch" show a tiger and an owl, "Cake and candle" and "Camel Head" are left
out). Names that mean different things to different hands are pruned, with the reason; so are
photographs that are drawings after all, and wrong titles, all seen by eye.

Half of each concept's series of photographs and half of its series of clip art, rounded up, are
test pictures, at least one of each, decided by hash(seed, series). A series is the files whose
names differ only in digits and in words such as "bw": variants of one drawing. A whole series is
withheld from the sites, and with it every file anywhere with the same bytes, so that no test
picture is ever crawled.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipelines.records import uniform
from workflows.demo_web.concepts import Concept
from workflows.demo_web.libraries import ClipArt, Stamp

Picture = TypeVar("Picture", ClipArt, Stamp)

HOMONYMS = {
    "baby": "an emoji of a child; stamps show young animals",
    "bat": "an animal, and what baseball and cricket are played with",
    "bow": "a person bowing, and a ribbon",
    "bulb": "a bulb of garlic, and of a lamp",
    "button": "a keyboard's letter, a garment's button, and a web page's",
    "crossing": "a road sign",
    "donkey": "an animal, and the oil pump called nodding donkey",
    "full moon": "shown by every picture of the moon",
    "mouse": "an animal, and a pointing device",
    "pen": "a ballpoint, and a highlighter",
    "school": "a building, and a road sign",
    "star": "a shape, a medal, a light in the sky and a Christmas ornament",
    "turkey": "a bird, alive or roasted, and a country's flag",
}
"""Names that are not one thing, with what they stand for."""

_DRAWN = re.compile(
    r"cartoon|^symbols/|^seasonal/(halloween|easter|newyears|hanukkah)/|^animals/insects/(bee|fly)\."
    r"|^clothes/|^people/body_parts/|^food/pizza|^household/(key|arttools/high)|^space/planets/0_sun"
    r"|^seasonal/christmas/(tree|star|bow|hard_candy)\.|^animals/fish/stripedfish|^town/usps_mailbox"
)
"""Stamps that are drawings, or so retouched that they no longer look like a photograph."""

_WRONG = re.compile(r"slate-apple|duck_yellow_ii|pear_jean-victor_balin_01r|another_apple_01_stan")
"""Clip art that does not show what its title says, or shows "linked image not found"."""

_LEADING = re.compile(r"^(an?|the|our|some|another|two|three)\s+")
_COUNTED = re.compile(r"^(pair|bunch|quarter|slice) of (closed |open )?")
_AFTER_HEAD = re.compile(r"\s(against|at|by|for|from|in|inside|is|on|with|without)\s.*")
_NOT_PLAIN = frozenset(("and", "of", "or", "to"))
_VARIANT = frozenset(("b", "w", "bw", "colour", "color", "left", "right", "r", "md"))


@dataclass(frozen=True)
class StyleConcept:
    """One thing that all three styles show."""

    name: str  # as all three call it: tiger
    emoji: Concept
    photographs: tuple[Stamp, ...]
    clip_art: tuple[ClipArt, ...]


@dataclass(frozen=True)
class HoldOut:
    """Test pictures by concept name, and every file that must not be served because of them."""

    photographs: Mapping[str, tuple[Stamp, ...]]
    clip_art: Mapping[str, tuple[ClipArt, ...]]
    withheld: frozenset[Path]


def style_concepts(
    concepts: Iterable[Concept], stamps: Iterable[Stamp], clip_art: Iterable[ClipArt]
) -> list[StyleConcept]:
    """The shared concepts, sorted by name."""
    emoji = _emoji_names(concepts)
    photographs: dict[str, list[Stamp]] = defaultdict(list)
    for stamp in stamps:
        name = subject(stamp.captions.get("en", ""), emoji)
        if name and stamp.file.suffix == ".png" and not _DRAWN.search(stamp.path):
            photographs[name].append(stamp)
    drawings: dict[str, list[ClipArt]] = defaultdict(list)
    for art in clip_art:
        name = subject(_title(art), emoji)
        if name and not art.path.startswith("computer/") and not _WRONG.search(art.path):
            drawings[name].append(art)
    return [
        StyleConcept(name, emoji[name], tuple(photographs[name]), tuple(drawings[name]))
        for name in sorted(set(photographs).intersection(drawings))
    ]


def subject(title: str, names: Collection[str]) -> str | None:
    """Which of `names` a title or caption says that the picture shows, None if it is not plain.

    "A pair of closed scissors." shows scissors, "Dog 01 Drawn With Lines" a dog, "Dog, cat" none.
    """
    text = re.split(r"[(#\d]", title.lower())[0]
    text = re.sub(r"[^\w']+", " ", text).replace("_", " ").strip()
    text = _COUNTED.sub("", _LEADING.sub("", text))
    words = _AFTER_HEAD.sub("", text).split()
    if len(words) > 3 or _NOT_PLAIN.intersection(words):
        return None
    tails = (" ".join(words[start:]) for start in range(len(words)))
    return next((tail for tail in tails if tail in names), None)


def hold_out(
    styles: Iterable[StyleConcept], files: Iterable[Path], seed: int, most: int = 4
) -> HoldOut:
    """The test pictures, at most `most` a concept and style, and those of `files` withheld."""
    photographs: dict[str, tuple[Stamp, ...]] = {}
    clip_art: dict[str, tuple[ClipArt, ...]] = {}
    held: set[Path] = set()
    for style in styles:
        stamps = _held_series(style.photographs, seed)
        arts = _held_series(style.clip_art, seed)
        held.update(stamp.file for stamp in stamps)
        held.update(art.file for art in arts)
        photographs[style.name] = tuple(_distinct(stamps)[:most])
        clip_art[style.name] = tuple(_distinct(arts)[:most])
    return HoldOut(photographs, clip_art, frozenset(held | same_bytes(held, files)))


def same_bytes(held: Collection[Path], files: Iterable[Path]) -> set[Path]:
    """Those of `files` whose content is the same as a held file's."""
    sizes = {path.stat().st_size for path in held}
    content = {path.read_bytes() for path in held}
    return {path for path in files if path.stat().st_size in sizes and path.read_bytes() in content}


def series(path: str) -> str:
    """What the variants of one drawing have in common: pig_golden2.png is of "golden pig"."""
    stem = path.rpartition("/")[2].partition(".")[0].lower()
    return " ".join(sorted(set(re.findall("[a-z]+", stem)) - _VARIANT)) or stem


def _title(art: ClipArt) -> str:
    """The title; the file's name where every fruit is called "Clipart by Nicu Buculei - pear"."""
    named_wrongly = art.title.lower().startswith("clipart by")
    return art.path.rpartition("/")[2] if named_wrongly else art.title


def _held_series(pictures: Sequence[Picture], seed: int) -> list[Picture]:
    """Pictures of half of the series, rounded up."""
    all_series = {series(picture.path) for picture in pictures}
    order = sorted(all_series, key=lambda name: uniform(seed, "style", name))
    held = set(order[: (len(order) + 1) // 2])
    return [picture for picture in pictures if series(picture.path) in held]


def _distinct(pictures: Sequence[Picture]) -> list[Picture]:
    """The first of each content: many clip arts are links to one file."""
    return list({picture.file.read_bytes(): picture for picture in reversed(pictures)}.values())


def _emoji_names(concepts: Iterable[Concept]) -> dict[str, Concept]:
    """Concepts by every name of theirs that is plain; a concept's own name goes before an alias."""
    own: dict[str, Concept] = {}
    alias: dict[str, Concept] = {}
    for concept in concepts:
        own[concept.name] = concept
        for name in (*concept.other_names, concept.name.removeprefix("red ")):
            alias.setdefault(name, concept)
    names = alias | own
    return {name: it for name, it in names.items() if len(name) > 2 and name not in HOMONYMS}
