"""Several screens and their schemas on one HTML page that needs nothing else.

The boxes are elements of the page, so the letters under them stay sharp: pointing at one shows
what it is, in the picture and in the list beside it, and a class is shown or hidden by its name.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotators.screen.classes import CLASSES
from annotators.screen.overlay import COLOURS, on_colour
from annotators.screen.schema import LAST, Element, Schema


@dataclass(frozen=True)
class Shown:
    """A screen on the page."""

    name: str
    screenshot: bytes
    """Encoded: PNG, JPEG or WebP."""
    schema: Schema
    note: str = ""
    """Said below its name, such as a status."""


def page(screens: Iterable[Shown], title: str = "Screens") -> str:
    """The page, a screen under the other; every picture is in it."""
    import jinja2

    screens = list(screens)
    count = Counter(element.kind for screen in screens for element in screen.schema)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(uri=_uri, place=_place)
    return environment.get_template("browse.html").render(
        title=title,
        screens=screens,
        classes=[kind for kind in CLASSES if count[kind]],
        count=count,
        colours=COLOURS,
        on_colour=on_colour,
        definitions={kind: what.definition for kind, what in CLASSES.items()},
    )


def _uri(image: bytes) -> str:
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
    kind = next((kind for start, kind in kinds.items() if image.startswith(start)), None)
    if kind is None:
        raise ValueError(f"image starts with {image[:4]!r}; legal: PNG, JPEG or WebP")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _place(element: Element) -> dict[str, Any]:
    """Percent of the picture from the left, the top, and of its width and height."""
    box = element.box
    edges = {"left": box.x0, "top": box.y0, "width": box.x1 - box.x0, "height": box.y1 - box.y0}
    return {name: round(100 * edge / LAST, 2) for name, edge in edges.items()}
