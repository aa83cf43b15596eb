"""The element classes of a screen, written down once.

The first 15 are those of Google's released Screen Annotation set (CC BY 4.0), in its spelling; the
ScreenAI paper (Baechler et al. 2024, arXiv 2402.04615) does not print its list. Their definitions
are ours, from what the released screens show. The other eight are what pages and desktop programs
have and that set, made of phone screens, has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Says = Literal["text", "description", "icon", "nothing"]


@dataclass(frozen=True)
class ElementClass:
    """What a class means and what its elements say."""

    definition: str
    """One sentence for a person, or for a prompt."""
    says: Says
    """What the element's text is: what stands on it, what a picture shows, an icon's name, or
    nothing, since what it holds says it."""
    interactive: bool = False
    """Whether a tap or a click on it does something, as a rule."""
    container: bool = False
    """Whether it is there to hold others. Any element may hold some: an image has texts in it."""


CLASSES: dict[str, ElementClass] = {
    "TEXT": ElementClass("Text that is read, such as a paragraph or a title.", "text"),
    "PICTOGRAM": ElementClass("An icon, logo or small symbol.", "icon", interactive=True),
    "IMAGE": ElementClass("A photograph, drawing or advertisement.", "description"),
    "BUTTON": ElementClass("A bounded area that acts when pressed.", "text", interactive=True),
    "LABEL": ElementClass("Text that names a field or a control beside it.", "text"),
    "TEXT_INPUT": ElementClass("A field to type into.", "text", interactive=True),
    "CHECKBOX": ElementClass("A box to tick, free of its neighbours.", "nothing", interactive=True),
    "RADIO_BUTTON": ElementClass(
        "One of several marks that exclude each other.", "nothing", interactive=True
    ),
    "SWITCH": ElementClass("A two-state control that acts at once.", "nothing", interactive=True),
    "LIST_ITEM": ElementClass(
        "One of several like entries below or beside each other.",
        "nothing",
        interactive=True,
        container=True,
    ),
    "TOOLBAR": ElementClass(
        "A bar of title and actions, mostly at the top.", "nothing", container=True
    ),
    "NAVIGATION_BAR": ElementClass(
        "A row or column of ways to other screens.", "nothing", container=True
    ),
    "PAGER_INDICATOR": ElementClass("Dots that tell which page of several is shown.", "nothing"),
    "MAP": ElementClass("A geographic map.", "nothing", interactive=True, container=True),
    "KEYBOARD": ElementClass("An on-screen keyboard.", "nothing", interactive=True, container=True),
    "SLIDER": ElementClass("A handle on a track that sets a value.", "nothing", interactive=True),
    "TAB": ElementClass(
        "One of several headings, of which one's content is shown.", "text", interactive=True
    ),
    "CARD": ElementClass(
        "A framed group of things that belong together.", "nothing", container=True
    ),
    "DIALOG": ElementClass(
        "A window in front of the rest that waits for an answer.", "nothing", container=True
    ),
    "TABLE": ElementClass("Rows and columns of cells.", "nothing", container=True),
    "LINK": ElementClass("Text that leads elsewhere when pressed.", "text", interactive=True),
    "DROPDOWN": ElementClass(
        "A field that opens a list of choices and shows the chosen one.", "text", interactive=True
    ),
    "PROGRESS_BAR": ElementClass("How far something has come.", "nothing"),
}
"""By name."""

RELEASED = tuple(CLASSES)[:15]
"""The classes of the released set."""
