"""A schema as task writers see it: which elements say something of their own, and its text for a
prompt.

What stands on a screen was written by anybody, so it enters a prompt as JSON strings only, and an
element that speaks to a model ("ignore your instructions") is never asked about. Such texts are
known by a few patterns; what they miss is caught afterwards, as an output has to fit its pick.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from annotators.screen.schema import Element, Schema

LONGEST = 48
"""Characters of a text that may be a name in a question or an answer."""
_ORDERS = re.compile(
    r"\b(ignore|disregard|forget|override)\b.{0,40}"
    r"\b(instructions?|prompts?|rules|above|previous|everything)\b"
    r"|\byou are (now|an? (ai|assistant|language model))\b|\bsystem prompt\b"
    r"|\b(respond|reply|answer|output|print|say)\b.{0,30}\b(only|exactly|instead|with)\b"
    r"|<\|[a-z_]+\|>|\[/?inst\]",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def words(text: str) -> list[str]:
    """Words in lower case, digits among them."""
    return [word.casefold() for word in _WORD.findall(text)]


def folded(text: str) -> str:
    """For comparison: lower case, single spaces."""
    return " ".join(text.casefold().split())


def orders(text: str) -> bool:
    """Whether a text speaks to a model."""
    return _ORDERS.search(text) is not None


def described(element: Element) -> bool:
    """Whether an element's text is a description of a picture and not on the screen."""
    text = element.text.strip()
    return element.kind == "IMAGE" or (
        element.kind == "PICTOGRAM" and (text.endswith(".") or len(text.split()) > 3)
    )


@dataclass(frozen=True)
class View:
    """A schema and what is asked of it again and again."""

    schema: Schema

    @cached_property
    def spoken(self) -> tuple[int, ...]:
        """Places of elements whose text stands on the screen, once where one repeats what holds
        it.
        """
        found, parents = [], self.schema.parents()
        for place, element in enumerate(self.schema):
            text = folded(element.text)
            if not text or described(element) or element.kind == "PICTOGRAM":
                continue
            above = parents[place]
            while above is not None and folded(self.schema.elements[above].text) != text:
                above = parents[above]
            if above is None:
                found.append(place)
        return tuple(found)

    @cached_property
    def clear(self) -> frozenset[int]:
        """Those of `spoken` that may be asked about: short, printable, no order to a model."""
        return frozenset(place for place in self.spoken if _clear(self.text(place)))

    @cached_property
    def names(self) -> frozenset[int]:
        """Those of `clear` that name one element alone and have three letters or more."""
        often = Counter(folded(element.text) for element in self.schema if element.text)
        shown = Counter(folded(self.text(place)) for place in self.spoken)
        return frozenset(
            place
            for place in self.clear
            if shown[folded(self.text(place))] == 1
            and often[folded(self.text(place))] <= 1 + self._inside(place)
            and sum(letter.isalpha() for letter in self.text(place)) >= 3
        )

    def _inside(self, place: int) -> int:
        """Elements inside `place` that repeat its text."""
        element, count = self.schema.elements[place], 0
        for other in self.schema.elements[place + 1 :]:
            if other.depth <= element.depth:
                break
            count += folded(other.text) == folded(element.text)
        return count

    def text(self, place: int) -> str:
        """Of an element, single spaces."""
        return " ".join(self.schema.elements[place].text.split())

    @cached_property
    def tainted(self) -> frozenset[str]:
        """Words that stand in orders to a model and nowhere else on the screen."""
        bad = {w for e in self.schema if orders(e.text) for w in words(e.text)}
        good = {w for e in self.schema if not orders(e.text) for w in words(e.text)}
        return frozenset(bad - good)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Words of all texts that are no orders."""
        return frozenset(w for e in self.schema if not orders(e.text) for w in words(e.text))

    def listing(self, most: int) -> str:
        """Up to `most` characters, a line an element: class and text as a JSON string, inner
        elements further in. Descriptions of pictures are cut short, boxes left out.
        """
        lines, used, shown = [], 0, set(self.spoken)
        for place, element in enumerate(self.schema):
            seen = place in shown or described(element) or element.kind == "PICTOGRAM"
            if element.text and not seen:
                continue
            limit = LONGEST if described(element) else 3 * LONGEST
            text = f" {json.dumps(self.text(place)[:limit], ensure_ascii=False)}"
            line = f"{' ' * min(element.depth, 4)}{element.kind}{text if element.text else ''}"
            used += len(line) + 1
            if used > most:
                break
            lines.append(line)
        return "\n".join(lines)


def _clear(text: str) -> bool:
    plain = text.isprintable() and not set(text) & set("\"'\\`{}[]<>|’“”")
    said = any(letter.isalnum() for letter in text)
    return plain and said and len(text) <= LONGEST and not orders(text)
