"""Icon types, and which drawing of an icon family is of which type.

After ScreenAI (Baechler et al. 2024, arXiv 2402.04615), whose pictograms come from the 77 types of
Sunkara et al. 2022 (arXiv 2210.02663). Neither prints its list. Of the 88 types here 60 are spelt
as in Google's released Screen Annotation set; the other 28 are ours, common in packaged families.
`icon_classes.json` says under which names the families have each.

A drawing's name is compared word by word, without the words that families add for style: Material's
`arrow_back`, Ionicons' `arrow-back-outline` and Boxicons' `bx-arrow-back` are one name. A drawing
that has no type's name may still look like one (`calendar-plus`), or be tagged as one; such a
drawing is neither an example of a type nor an example of what is none.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection
from pathlib import Path

STYLES = {
    *("outline", "outlined", "line", "filled", "fill", "solid", "regular", "bold", "rounded"),
    *("round", "sharp", "duotone", "twotone", "fa", "bx", "bxs", "bxl", "ios", "md", "logo"),
    *("logos", "brand", "brands", "icon", "24", "16", "o"),
}
"""Words of a name that say how it is drawn, or by whom."""
VAGUE = {
    *("up", "down", "left", "right", "alt", "user", "file", "box", "circle", "square"),
    *("1", "2", "3", "4", "s", "off", "on"),
}
"""Words that a name may share with a type's without looking like it."""


@functools.cache
def types() -> dict[str, tuple[str, ...]]:
    """By type, the plain names that it has in icon families."""
    file = Path(__file__).with_name("icon_classes.json")
    found: dict[str, list[str]] = json.loads(file.read_text("utf-8"))
    return {name: tuple(names) for name, names in found.items()}


def plain(name: str) -> str:
    """A drawing's name in lower case, words apart, without those for style."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    return " ".join([word for word in words if word not in STYLES] or words)


@functools.cache
def _by_name() -> dict[str, str]:
    names = {plain(kind): kind for kind in types()}
    names |= {plain(name): kind for kind, of in types().items() for name in of}
    return names


@functools.cache
def _words() -> frozenset[str]:
    """Every word that tells a type."""
    return frozenset(word for name in _by_name() for word in name.split()) - VAGUE


def type_of(name: str) -> str | None:
    """The type of a drawing called `name` in its family; None if it is of none."""
    return _by_name().get(plain(name))


def unlike_all(name: str, tags: Collection[str] = ()) -> bool:
    """Whether a drawing is surely of no type: its name shares no telling word with any type's, nor
    is one of its `tags` a type's name.
    """
    if set(plain(name).split()) & _words():
        return False
    return not any(plain(tag) in _by_name() for tag in tags)
