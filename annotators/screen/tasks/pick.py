"""Answers that a program takes from a schema: an element, a count, a comparison or a sum, each with
a plain question that has that answer alone.

What a question names is unique on its screen. Places are compared by boxes (thousandths of the
screen): "below" and "to the right" mean the nearest text, with no other beside it. Numbers are
compared and added where a name stands beside each and both have one unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from annotators.screen.schema import Element
from annotators.screen.tasks.items import KINDS, MANY, NOUNS, Kind, Pick
from annotators.screen.tasks.numbers import amount, written
from annotators.screen.tasks.view import View
from pipelines.records import uniform

MOST = 15
"""Elements that a question counts, at most."""
GAP = 40
"""Most between a text and the one below it, thousandths of the screen's height."""
BESIDE = ("for", "beside", "next to")
BELOW = ("below", "under", "underneath", "beneath")
TAPS = {
    "BUTTON": ("Tap the button '{}'.", ("button",)),
    "TAB": ("Open the tab '{}'.", ("tab",)),
    "LINK": ("Follow the link '{}'.", ("link",)),
    "TEXT_INPUT": ("Tap the text field '{}'.", ("text field", "field")),
    "DROPDOWN": ("Open the list '{}'.", ("list", "dropdown list")),
    "PICTOGRAM": ("Tap the icon '{}'.", ("icon",)),
    "CHECKBOX": (
        "Tap the checkbox beside '{}'.",
        ("checkbox beside", "checkbox next to", "checkbox for"),
    ),
    "SWITCH": ("Tap the switch beside '{}'.", ("switch beside", "switch next to", "switch for")),
    "RADIO_BUTTON": (
        "Tap the radio button beside '{}'.",
        ("radio button beside", "radio button next to", "radio button for"),
    ),
}
"""The order to tap an element of a class, and what it has to be called in any wording."""


def picks(view: View, seed: int, key: str, each: Callable[[Kind], int]) -> list[Pick]:
    """Up to `each(kind)` picks a kind, drawn by (seed, key, question); in the order of KINDS."""
    found: list[Pick] = []
    for kind in KINDS:
        every = list({p.plain: p for p in _PICKERS[kind](view)}.values())
        every.sort(key=lambda pick: (uniform(seed, key, pick.plain), pick.plain))
        found += every[: each(kind)]
    return found


def _reads(view: View) -> Iterator[Pick]:
    for label, value in labelled(view):
        yield _read(f"What is shown for '{view.text(label)}'?", view, label, value, BESIDE)
    for name in sorted(view.names):
        lower = below(view, name)
        if lower in view.clear:
            question = f"What does the text right below '{view.text(name)}' say?"
            yield _read(question, view, name, lower, BELOW)
        beside = right_of(view, name)
        if beside in view.clear:
            question = f"What is written to the right of '{view.text(name)}'?"
            yield _read(question, view, name, beside, ("to the right of",))
    title = _title(view)
    if title is not None:
        yield _read(
            "What title is in the bar at the top of the screen?", view, None, title, ("title",)
        )
    buttons = [p for p, e in enumerate(view.schema) if e.kind == "BUTTON"]
    if len(buttons) == 1 and buttons[0] in view.clear:
        question = "What does the only button on the screen say?"
        yield _read(question, view, None, buttons[0], ("button",))


def _read(
    plain: str, view: View, name: int | None, value: int | None, *keeps: tuple[str, ...]
) -> Pick:
    assert value is not None
    anchors = () if name is None else (view.text(name),)
    places = (value,) if name is None else (name, value)
    box = view.schema.elements[value].box
    return Pick("read", plain, view.text(value), "text", places, anchors, keeps, box)


def labelled(view: View) -> list[tuple[int, int]]:
    """Places of a name and of what is shown for it: the two texts of one entry, in one row."""
    children = view.schema.children()
    found = []
    for place, element in enumerate(view.schema):
        if element.kind != "LIST_ITEM":
            continue
        texts = [p for p in _within(view, place, children) if p in view.spoken]
        if len(texts) == 2 and texts[0] in view.names and texts[1] in view.clear:
            first, second = (view.schema.elements[p] for p in texts)
            inside = view.schema.elements[texts[1]].kind not in ("BUTTON", "LINK")
            if inside and _same_row(first, second) and first.box.x1 <= second.box.x0:
                found.append((texts[0], texts[1]))
    return found


def _within(view: View, place: int, children: list[list[int]]) -> list[int]:
    found, open_ = [], list(reversed(children[place]))
    while open_:
        at = open_.pop()
        found.append(at)
        open_ += reversed(children[at])
    return found


def _same_row(a: Element, b: Element) -> bool:
    common = min(a.box.y1, b.box.y1) - max(a.box.y0, b.box.y0)
    return 2 * common > min(a.box.y1 - a.box.y0, b.box.y1 - b.box.y0)


def _same_column(a: Element, b: Element) -> bool:
    common = min(a.box.x1, b.box.x1) - max(a.box.x0, b.box.x0)
    return 2 * common > min(a.box.x1 - a.box.x0, b.box.x1 - b.box.x0)


def below(view: View, name: int) -> int | None:
    """The text right below one, if it is close and alone there."""
    at = view.schema.elements[name]
    lower = [
        (view.schema.elements[p].box.y0, p)
        for p in view.spoken
        if p != name
        and _same_column(at, view.schema.elements[p])
        and view.schema.elements[p].box.y0 >= at.box.y1 - 2
    ]
    if not lower:
        return None
    _, nearest = min(lower)
    found = view.schema.elements[nearest]
    beside = [p for _, p in lower if p != nearest and view.schema.elements[p].box.y0 < found.box.y1]
    return None if beside or found.box.y0 - at.box.y1 > GAP else nearest


def right_of(view: View, name: int) -> int | None:
    """The text to the right of one in its row, if there is one alone."""
    at = view.schema.elements[name]
    row = [
        p
        for p in view.spoken
        if p != name
        and _same_row(at, view.schema.elements[p])
        and view.schema.elements[p].box.x0 >= at.box.x1 - 2
    ]
    return row[0] if len(row) == 1 else None


def _title(view: View) -> int | None:
    """The one text of the one bar at the top."""
    children = view.schema.children()
    bars = [
        p
        for p, e in enumerate(view.schema)
        if e.kind == "TOOLBAR" and e.box.y0 < 150 and e.depth == 0
    ]
    if len(bars) != 1:
        return None
    texts = [p for p in _within(view, bars[0], children) if p in view.spoken]
    single = len(texts) == 1 and view.schema.elements[texts[0]].kind in ("TEXT", "LABEL")
    return texts[0] if single and texts[0] in view.clear else None


def counts(view: View) -> dict[str, tuple[int, ...]]:
    """Places of the elements of each class that can be counted: none of them holds another."""
    parents = view.schema.parents()
    found: dict[str, list[int]] = {}
    nested: set[str] = set()
    for place, element in enumerate(view.schema):
        if element.kind not in NOUNS:
            continue
        found.setdefault(element.kind, []).append(place)
        above = parents[place]
        while above is not None:
            if view.schema.elements[above].kind == element.kind:
                nested.add(element.kind)
            above = parents[above]
    return {
        kind: tuple(places)
        for kind, places in found.items()
        if kind not in nested and len(places) <= MOST
    }


def _counts(view: View) -> Iterator[Pick]:
    for kind, places in counts(view).items():
        if len(places) < 2:  # "what does the only button say" is the better question
            continue
        noun = NOUNS[kind]
        plain = f"How many {noun} are on the screen?"
        yield Pick("count", plain, str(len(places)), "total", places, keeps=(MANY, (noun,)))


def _compares(view: View) -> Iterator[Pick]:
    numbers = counts(view)
    for one, other in combinations(sorted(numbers), 2):
        first, second = numbers[one], numbers[other]
        if len(first) != len(second):
            nouns = NOUNS[one], NOUNS[other]
            yield Pick(
                "compare",
                f"Are there more {nouns[0]} or more {nouns[1]} on the screen?",
                nouns[len(first) < len(second)],
                "more",
                (*first, *second),
                keeps=(("more",), (nouns[0],), (nouns[1],)),
            )
    for a, b in _neighbours(sorted(view.names)):
        first_box, second_box = view.schema.elements[a].box, view.schema.elements[b].box
        if first_box.y1 <= second_box.y0 or second_box.y1 <= first_box.y0:
            texts = view.text(a), view.text(b)
            yield Pick(
                "compare",
                f"Which is higher on the screen, '{texts[0]}' or '{texts[1]}'?",
                texts[first_box.y0 > second_box.y0],
                "higher",
                (a, b),
                texts,
                (("higher", "further up"),),
            )
    for (a, x), (b, y) in combinations(_numbered(view), 2):
        one_, two_ = amount(view.text(x)), amount(view.text(y))
        if one_ and two_ and one_.unit == two_.unit and one_.value != two_.value:
            texts = view.text(a), view.text(b)
            yield Pick(
                "compare",
                f"Which has the larger number, '{texts[0]}' or '{texts[1]}'?",
                texts[one_.value < two_.value],
                "larger",
                (a, b, x, y),
                texts,
                (("larger", "higher", "bigger", "greater"),),
            )


def _neighbours(places: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of which each name is in one alone, in both orders in turn."""
    for number, at in enumerate(range(0, len(places) - 1, 2)):
        a, b = places[at : at + 2]
        yield (b, a) if number % 2 else (a, b)


def _numbered(view: View) -> list[tuple[int, int]]:
    return [(name, value) for name, value in labelled(view) if amount(view.text(value))]


def _sums(view: View) -> Iterator[Pick]:
    for one, other in combinations(sorted(counts(view)), 2):
        places = (*counts(view)[one], *counts(view)[other])
        both = f"{NOUNS[one]} and {NOUNS[other]}"
        plain = f"How many {both} are there in total?"
        keeps = (MANY, (both,), ("total", "together", "altogether", "combined"))
        yield Pick("sum", plain, str(len(places)), "total", places, keeps=keeps)
    for (a, x), (b, y) in combinations(_numbered(view), 2):
        first, second = amount(view.text(x)), amount(view.text(y))
        if first and second and first.unit == second.unit:
            texts = view.text(a), view.text(b)
            yield Pick(
                "sum",
                f"What is the sum of '{texts[0]}' and '{texts[1]}'?",
                written(first.value + second.value, first.unit),
                "plus",
                (a, b, x, y),
                texts,
                (("sum", "total"),),
            )


def _taps(view: View) -> Iterator[Pick]:
    children = view.schema.children()
    for place, element in enumerate(view.schema):
        if element.kind not in TAPS or element.box.x0 == element.box.x1:
            continue
        name = _name(view, place, children)
        if name is not None:
            order, called = TAPS[element.kind]
            yield Pick(
                "navigate",
                order.format(view.text(name)),
                view.text(name),
                "box",
                (place, name),
                (view.text(name),),
                (called,),
                element.box,
            )


def _name(view: View, place: int, children: list[list[int]]) -> int | None:
    """What an element that is tapped is called by: itself, the one text in it or beside it."""
    element = view.schema.elements[place]
    if element.kind == "PICTOGRAM":
        same = Counter((e.kind, e.text) for e in view.schema)[element.kind, element.text]
        icon = element.text and not described_or_odd(view, place)
        return place if icon and same == 1 else None
    inside = [p for p in (place, *_within(view, place, children)) if p in view.spoken]
    if element.kind in ("CHECKBOX", "SWITCH", "RADIO_BUTTON"):
        above = view.schema.parents()[place]
        if above is None or view.schema.elements[above].kind != "LIST_ITEM":
            return None
        around = [p for p in _within(view, above, children) if p in view.spoken]
        like = [p for p in _within(view, above, children) if view.schema.elements[p].kind in TAPS]
        inside = around if len(like) == 1 else []
    return inside[0] if len(inside) == 1 and inside[0] in view.names else None


def described_or_odd(view: View, place: int) -> bool:
    """Whether an icon's text is no name of two or three plain words at most."""
    text = view.text(place)
    plain = all(letter.isalpha() or letter == " " for letter in text)
    return not plain or not 3 <= len(text) <= 30 or len(text.split()) > 3


def _summaries(view: View) -> Iterator[Pick]:
    if len(view.clear) < 2:
        return
    title = _title(view)
    named = [view.text(p) for p in sorted(view.clear) if p != title][:3]
    have = [f"{len(p)} {NOUNS[k]}" for k, p in sorted(counts(view).items()) if len(p) > 1]
    begin = f"A screen with the title {view.text(title)}" if title is not None else "A screen"
    plain = f"{begin} that shows {', '.join(named)}" + (f"; it has {', '.join(have)}" * bool(have))
    places = tuple(sorted(view.clear))
    yield Pick("summary", f"{plain}.", "", "summary", places)


_PICKERS: dict[Kind, Callable[[View], Iterator[Pick]]] = {
    "read": _reads,
    "count": _counts,
    "compare": _compares,
    "sum": _sums,
    "navigate": _taps,
    "summary": _summaries,
}
