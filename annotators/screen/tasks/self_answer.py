"""A model answers its own questions: from the schema, where it has to agree with the answer, and
without it, where it must not.

The answer is constrained to the texts of the screen, the choices of the question or a number, so
that a small model can give one at all. Agreement is equality after folding. Without the screen only
`BLIND` kinds are asked: who guesses a count of 2 or one of two choices has not shown that the
question needs no screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from annotators.chat import Reply
from annotators.screen.tasks.items import Item, Kind
from annotators.screen.tasks.view import View, folded
from annotators.screen.tasks.write import (
    Request,
    choice_schema,
    filled,
    number_schema,
    text_schema,
    unpacked,
)

BLIND: tuple[Kind, ...] = ("read", "sum")
CHOICES = 40
"""Texts of a screen that an answer is chosen from, at most."""


def choices(item: Item, view: View) -> dict[str, Any]:
    """JSON schema of what may be answered with the screen."""
    pick = item.pick
    if pick.test in ("total", "plus"):
        return number_schema("answer")
    if pick.test == "more":
        return choice_schema("answer", [group[0] for group in pick.keeps[1:]])
    if pick.kind == "compare":
        return choice_schema("answer", pick.anchors)
    texts = [view.text(p) for p in view.spoken if p in view.clear]
    texts = [text for text in texts if text not in pick.anchors]  # a small model echoes names
    return choice_schema("answer", sorted({*texts[:CHOICES], pick.answer}, key=folded))


def seeing(item: Item, view: View, characters: int, seed: int) -> Request:
    """The question with the screen."""
    prompt = filled("answer", SCREEN=view.listing(characters), QUESTION=item.text)
    return Request(prompt, choices(item, view), seed)


def blind(item: Item, seed: int) -> Request:
    """The question without the screen."""
    return Request(filled("blind", QUESTION=item.text), text_schema("answer", 1, 60), seed, 48)


def agreed(item: Item, request: Request, reply: Reply) -> Item:
    """`item` with what the model said; dropped where that is another answer or none."""
    found = unpacked(reply, request.schema)
    if found.status != "ok":
        return replace(item, status=found.status, detail=f"self-answer: {found.detail}"[:200])
    item = replace(item, said=found.text)
    if same(found.text, item.pick.answer):
        return item
    detail = f"{found.text!r}, not {item.pick.answer!r}"
    return replace(item, status="self_answer", detail=detail)


def unseen(item: Item, request: Request, reply: Reply) -> Item:
    """`item`, dropped where the model gave its answer without the screen.

    A request that failed proves nothing against the question, and leaves it.
    """
    found = unpacked(reply, request.schema)
    if found.status == "ok" and same(found.text, item.pick.answer):
        return replace(item, status="blind", detail=f"{found.text!r} without the screen")
    return item


def same(one: str, other: str) -> bool:
    """Whether two short answers are equal but for case, spaces and a full stop."""
    return folded(one).rstrip(". ") == folded(other).rstrip(". ")


def asked(items: Sequence[Item], kinds: Sequence[Kind]) -> list[int]:
    """Places of kept items of `kinds`."""
    return [place for place, item in enumerate(items) if item.kept and item.pick.kind in kinds]
