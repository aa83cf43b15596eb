"""Validators of worded items: each answers "" or the reason against the item.

They run in the order of `VALIDATORS`, and the first that objects gives the item its status. None
asks a model. What a model says to its own question, with the screen and without, is judged by
`annotators.screen.tasks.self_answer`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

from annotators.screen.tasks import ground
from annotators.screen.tasks.items import PROGRAM, Item
from annotators.screen.tasks.view import View, folded, orders, words

Validator = Callable[[Item, View], str]
LENGTHS = {"navigate": (8, 120), "summary": (25, 320)}
"""Least and most characters of an item's text by kind; questions: `QUESTION`."""
QUESTION = (12, 180)
ALIKE = 0.8
"""From this share of common words on two texts of a screen with one answer are near duplicates."""


def _lexicon() -> dict[str, frozenset[str]]:
    """The word lists of lexicon.txt by the name in the line above each."""
    text = (files("annotators.screen.tasks") / "lexicon.txt").read_text("utf-8")
    lists = re.findall(r"# (\w+):.*\n([^#]+)", text)
    return {name: frozenset(found.split()) for name, found in lists}


_LISTS = _lexicon()
VOCABULARY = _LISTS["glue"] | _LISTS["plain"]
"""Words that a wording may bring of its own; with another one it may ask for something else."""
REVERSES = _LISTS["reverses"]
"""Words that turn a question round."""
SUMMARY_WORDS = 3
"""Words of the screen that a summary has at least."""
FOREIGN = 0.5
"""Most that the share of a summary's content words that are not on the screen is."""
_HIDDEN = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORDS_OF_A_COPY = 4


def length(item: Item, view: View) -> str:
    """Too short or too long for its kind."""
    least, most = LENGTHS.get(item.pick.kind, QUESTION)
    most += sum(map(len, item.pick.anchors))
    found = len(item.text)
    return "" if least <= found <= most else f"{found} characters; legal: {least}-{most}"


def form(item: Item, view: View) -> str:
    """Not one line; a question without its mark at the end or with two; an order that asks."""
    text = item.text
    if _HIDDEN.search(text):
        return "control characters"
    outside = _outside(item)
    if item.pick.kind in ("navigate", "summary"):
        return "asks" if "?" in outside else ""
    return "" if text.endswith("?") and outside.count("?") == 1 else "not one question"


def language(item: Item, view: View) -> str:
    """Words outside the names of the screen that are not of English letters, or one word over and
    over.
    """
    outside = _outside(item)
    if odd := [c for c in outside if c.isalpha() and not c.isascii()]:
        known = {c for w in view.vocabulary for c in w}
        if item.pick.kind != "summary" or not set(odd) <= known:
            return f"letters {''.join(odd[:10])!r}"
    said = words(outside)
    repeated = [w for a, w in pairwise(said) if a == w and not w.isdigit()]
    return f"{repeated[0]!r} twice" if repeated else ""


def anchor(item: Item, view: View) -> str:
    """A name that the question is about is missing or changed; names stand in another order; or a
    wording names something in quotation marks that was not asked for.
    """
    if item.pick.kind == "summary":
        return ""
    at = 0
    for name in item.pick.anchors:
        found = item.text.find(name, at)
        if found < 0:
            return f"without {name!r}"
        at = found + len(name)
    quoted = re.findall(r"['\"“‘]([^'\"”’]{2,})['\"”’]", _outside(item))
    return f"names {quoted[0]!r}" if quoted else ""


def operation(item: Item, view: View) -> str:
    """Does not say what is to be done: how many, below, in total."""
    outside = f" {' '.join(words(_outside(item)))} "
    for group in item.pick.keeps:
        if not any(f" {one} " in outside for one in group):
            return f"none of {', '.join(group)}"
    return ""


def vocabulary(item: Item, view: View) -> str:
    """A word that may ask for something else: not of the plain question, nor harmless."""
    if item.pick.kind == "summary":
        return ""
    plain = set(words(_outside(replace(item, text=item.pick.plain))))
    brought = [w for w in words(_outside(item)) if w not in plain]
    wrong = [w for w in brought if w not in VOCABULARY or w in REVERSES]
    return f"brings {', '.join(map(repr, wrong[:4]))}" if wrong else ""


def leak(item: Item, view: View) -> str:
    """Contains its answer, where that is none of the choices that it offers."""
    pick = item.pick
    if pick.kind in ("navigate", "summary", "compare") or not pick.answer:
        return ""
    answer, said = words(pick.answer), words(item.text)
    if not answer:
        return "contains its answer" if folded(pick.answer) in folded(item.text) else ""
    return "contains its answer" if _run(answer, said) else ""


def follows_screen(item: Item, view: View) -> str:
    """Does what a text on the screen orders a model to do, or copies such a text."""
    if item.author == PROGRAM:
        return "an order to a model" if orders(item.text) else ""
    outside = _outside(item)
    if orders(outside):
        return "an order to a model"
    taken = set(words(outside)) & view.tainted - VOCABULARY - set(words(item.pick.plain))
    if taken:
        return f"{min(taken)!r} of an order on the screen"
    if item.pick.kind == "summary":
        return ""
    said = words(outside)
    for element in view.schema:
        there = words(element.text)
        if len(there) >= _WORDS_OF_A_COPY and _run(there, said):
            return f"copies {element.text[:40]!r}"
    return ""


def grounded_words(item: Item, view: View) -> str:
    """A summary with numbers or too many words that are not on the screen, or with none of it."""
    if item.pick.kind != "summary" or item.author == PROGRAM:
        return ""
    said = item.text
    numbers = {n for e in view.schema for n in _NUMBER.findall(e.text)} | set(
        _NUMBER.findall(item.pick.plain)
    )
    if invented := [n for n in _NUMBER.findall(said) if n not in numbers]:
        return f"{invented[0]} is not on the screen"
    own = [w for w in words(said) if w not in VOCABULARY and not w.isdigit()]
    there = [w for w in own if w in view.vocabulary]
    if len(set(there)) < min(SUMMARY_WORDS, len(view.vocabulary)):
        return f"{len(set(there))} words of the screen"
    names = re.findall(r"(?<=[a-z,;] )[A-Z][\w’']+", said)
    if odd := [n for n in names if n.casefold() not in view.vocabulary]:
        return f"{odd[0]!r} is not on the screen"
    foreign = len(own) - len(there)
    return (
        f"{foreign} of {len(own)} words not on the screen" if foreign > FOREIGN * len(own) else ""
    )


def grounded(item: Item, view: View) -> str:
    """The answer does not follow from the schema."""
    return ground.ungrounded(item.pick, view.schema)


def box(item: Item, view: View) -> str:
    """The box to tap is not one of the schema."""
    return ground.boxless(item.pick, view.schema)


VALIDATORS: dict[str, Validator] = {
    "length": length,
    "form": form,
    "language": language,
    "follows_screen": follows_screen,
    "anchor": anchor,
    "operation": operation,
    "vocabulary": vocabulary,
    "leak": leak,
    "grounded_words": grounded_words,
    "ungrounded": grounded,
    "box": box,
}
"""By the status that each gives."""


def checked(item: Item, view: View, leave_out: Iterable[str] = ()) -> Item:
    """`item` with the status of the first validator that objects, or as it is."""
    if not item.kept:
        return item
    for status, validator in VALIDATORS.items():
        if status not in leave_out and (why := validator(item, view)):
            return replace(item, status=status, detail=why)
    return item


def distinct(items: Sequence[Item]) -> list[Item]:
    """The items of one screen, in order, with `duplicate` or `near_duplicate` as the status of
    those that repeat a kept one before them.
    """
    kept: list[Item] = []
    found = []
    for one in items:
        item = _repeats(one, kept) if one.kept else one
        kept += [item] if item.kept else []
        found.append(item)
    return found


def _repeats(item: Item, before: Sequence[Item]) -> Item:
    mine = set(words(item.text))
    for other in before:
        if folded(other.text) == folded(item.text):
            return replace(item, status="duplicate", detail=other.text)
        theirs = set(words(other.text))
        alike = len(mine & theirs) >= ALIKE * len(mine | theirs)
        if alike and other.pick.kind == item.pick.kind and other.target == item.target:
            return replace(item, status="near_duplicate", detail=other.text)
    return item


def _outside(item: Item) -> str:
    """The text without the names that it has to keep and their quotation marks."""
    text = item.text
    for name in sorted(item.pick.anchors, key=len, reverse=True):
        text = re.sub(rf"['\"“‘]?{re.escape(name)}['\"”’]?", " ", text)
    return text


def _run(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether `part` stands in `whole`, its words one after the other."""
    size = len(part)
    return any(list(whole[at : at + size]) == list(part) for at in range(len(whole) - size + 1))
