"""The public sets over screens and documents, as sets.json has them, and what is read of them.

A set lies in a folder as it is published; nothing of it is fetched. Screens of Rico, which four of
the sets are about, are looked for in `rico/combined` in that folder (a link will do).
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = 5
"""Places of each flaw that are kept."""


@dataclass(frozen=True)
class PublicSet:
    """A set as it is published; alternatives are apart by `|`, places are below its folder."""

    name: str
    title: str
    layout: str
    """A key of `annotators.screen.public.layouts.LAYOUTS`."""
    splits: Mapping[str, tuple[str, ...]]
    """Files of each split; the first has the rows."""
    images: str = ""
    """Where pictures lie, with names of fields in braces."""
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ways into a row to its key, image, question and answers: names, `*` for all items of a list,
    `@NAME` for the item whose number the row has under NAME."""
    list: str = ""
    """Name of the list of rows in the file's object; empty: the file is the list."""
    prompt: str = ""
    """What is asked where rows have no questions."""
    hierarchies: str = ""
    traces: str = ""


@functools.cache
def public_sets() -> Mapping[str, PublicSet]:
    """Every set by its name."""
    values = json.loads(Path(__file__).with_name("sets.json").read_text(encoding="utf-8"))
    return {name: PublicSet(name, **_tuples(of)) for name, of in values.items()}


def _tuples(of: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(of)
    for name in ("splits", "fields"):
        kept[name] = {key: tuple(value) for key, value in of.get(name, {}).items()}
    return kept


def public_set(name: str) -> PublicSet:
    """A set by its name. Raises ValueError for one that there is not."""
    if name not in public_sets():
        raise ValueError(f"set {name!r}; legal: {', '.join(public_sets())}")
    return public_sets()[name]


@dataclass(frozen=True)
class Asked:
    """A question, or another order, about a picture."""

    key: str
    """In its set and split."""
    images: tuple[Path, ...]
    """Where the picture may lie; the first that is there is it."""
    prompt: str
    answers: tuple[str, ...]


class BadRowError(Exception):
    """A row cannot be read: `reason` is what it is counted by, the message says what was seen."""

    def __init__(self, reason: str, seen: str) -> None:
        super().__init__(seen)
        self.reason = reason


@dataclass
class Flaws:
    """What is wrong with a set: counted by reason, with the first places of each."""

    counted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, reason: str, place: str) -> None:
        """Count one; `place` names file and key."""
        self.counted[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < EXAMPLES:
            kept.append(place)

    def told(self) -> list[str]:
        """A line a reason."""
        return [
            f"{reason}: {n:,}, such as {'; '.join(self.examples[reason])}"
            for reason, n in sorted(self.counted.items())
        ]
