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
    interactive: bool
    """Whether a tap or a click on it does something, as a rule."""
    container: bool
    """Whether it is there to hold others. Any element may hold some: an image has texts in it."""


CLASSES: dict[str, ElementClass] = {
    "TEXT": ElementClass("Text that is read, such as a paragraph or a title.", "text", False, False),
    "PICTOGRAM": ElementClass("An icon, logo or small symbol.", "icon", True, False),
    "IMAGE": ElementClass("A photograph, drawing or advertisement.", "description", False, False),
    "BUTTON": ElementClass("A bounded area that acts when pressed.", "text", True, False),
    "LABEL": ElementClass("Text that names a field or a control beside it.", "text", False, False),
    "TEXT_INPUT": ElementClass("A field to type into.", "text", True, False),
    "CHECKBOX": ElementClass("A box to tick, free of its neighbours.", "nothing", True, False),
    "RADIO_BUTTON": ElementClass("One of several marks that exclude each other.", "nothing", True, False),
    "SWITCH": ElementClass("A two-state control that acts at once.", "nothing", True, False),
    "LIST_ITEM": ElementClass("One of several like entries below or beside each other.", "nothing", True, True),
    "TOOLBAR": ElementClass("A bar of title and actions, mostly at the top.", "nothing", False, True),
    "NAVIGATION_BAR": ElementClass("A row or column of ways to other screens.", "nothing", False, True),
    "PAGER_INDICATOR": ElementClass("Dots that tell which page of several is shown.", "nothing", False, False),
    "MAP": ElementClass("A geographic map.", "nothing", True, True),
    "KEYBOARD": ElementClass("An on-screen keyboard.", "nothing", True, True),
    "SLIDER": ElementClass("A handle on a track that sets a value.", "nothing", True, False),
    "TAB": ElementClass("One of several headings, of which one's content is shown.", "text", True, False),
    "CARD": ElementClass("A framed group of things that belong together.", "nothing", False, True),
    "DIALOG": ElementClass("A window in front of the rest that waits for an answer.", "nothing", False, True),
    "TABLE": ElementClass("Rows and columns of cells.", "nothing", False, True),
    "LINK": ElementClass("Text that leads elsewhere when pressed.", "text", True, False),
    "DROPDOWN": ElementClass("A field that opens a list of choices and shows the chosen one.", "text", True, False),
    "PROGRESS_BAR": ElementClass("How far something has come.", "nothing", False, False),
}  # fmt: skip
"""By name; the first 15 in order of how often the released validation split has them, roughly."""

RELEASED = tuple(CLASSES)[:15]
"""The classes of the released set."""
