"""Schemas to tasks, a batch of screens at a time: pick, word, check, answer again.

    schema -> picks -> the writer's words -> validators -> self-answer, blind -> duplicates -> tasks

Where the writer's words for a pick are dropped, the pick's plain question takes their place as an
item of author `program`, and goes the same way. Every item comes out, the dropped ones with the
validator's name as status; a screen whose schema cannot be read comes out without items and with
the reason. Nothing that a writer returns can raise here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from annotators.chat import Reply
from annotators.screen import grammar, released
from annotators.screen.schema import Schema
from annotators.screen.tasks import self_answer, validate
from annotators.screen.tasks.items import KEPT, PROGRAM, Item, Kind, Pick
from annotators.screen.tasks.pick import picks
from annotators.screen.tasks.view import View
from annotators.screen.tasks.write import (
    Prompt,
    Request,
    Writer,
    filled,
    text_schema,
    unpacked,
    version,
    wording_schema,
)
from pipelines.records import SCREEN_TASKS, uniform
from pipelines.stages import Step

READS, WRITES = ("image_id", "screen"), ("tasks", "status", "detail")


@dataclass(frozen=True)
class Each:
    """Picks a screen, at most, by kind."""

    read: int = 3  # texts to read off
    count: int = 1  # elements of a class
    compare: int = 1  # of two
    sum: int = 1  # of two numbers
    navigate: int = 2  # elements to tap
    summary: int = 1  # 0 or 1

    def of(self, kind: Kind) -> int:
        """Of one kind."""
        found: int = getattr(self, kind)
        return found


@dataclass(frozen=True)
class TaskConfig:
    """What is written and how it is checked."""

    each: Each = Each()
    """Picks a screen."""
    vocabulary: bool = True
    """Whether a wording with words outside a plain vocabulary is dropped: what keeps a weak model's
    questions to the point. A strong model may do without, for more variety."""
    plain: bool = True
    """Whether the program's own words take the place of dropped ones."""
    blind: bool = True
    """Whether questions that the model answers without the screen are dropped."""
    answer: tuple[Kind, ...] | None = None
    """Kinds of questions that the model has to answer as the program did; None: those that the
    writer can answer (`Writer.answers`). Counts and sums are counted again by a program anyway."""
    characters: int = 1200
    """Of a screen in a prompt, at most."""
    seed: int = 0
    """Of the picks and of sampling."""


class WriteTasks:
    """A table of screens to one with `tasks`, `status` and `detail` added (`SCREEN_TASKS`)."""

    def __init__(self, load: Callable[[], Writer], config: TaskConfig = TaskConfig()) -> None:
        self.writer, self.config = load(), config

    def __call__(self, table: pa.Table) -> pa.Table:
        """One row for each that comes in, in order."""
        keys = table.column("image_id").to_pylist()
        texts = table.column("screen").to_pylist()
        views, reasons = zip(*map(read, texts), strict=True) if texts else ((), ())
        found = self._items(keys, views)
        rows = [
            {
                "image_id": key,
                "screen": text,
                "tasks": [item.row(key, version()) for item in items],
                "status": status(reason, items),
                "detail": reason,
            }
            for key, text, reason, items in zip(keys, texts, reasons, found, strict=True)
        ]
        return pa.Table.from_pylist(rows, SCREEN_TASKS)

    def _items(self, keys: Sequence[str], views: Sequence[View | None]) -> list[list[Item]]:
        """Of each screen every item, the dropped ones too."""
        config = self.config
        where = [
            (place, pick)
            for place, (key, view) in enumerate(zip(keys, views, strict=True))
            if view is not None
            for pick in picks(view, config.seed, key, config.each.of)
        ]
        shown = [view or View(Schema()) for view in views]
        leave_out = () if config.vocabulary else ("vocabulary",)
        items: list[tuple[int, Item]] = []
        for (place, pick), item in zip(where, self._worded(where, keys, shown), strict=True):
            judged = validate.checked(item, shown[place], leave_out)
            items.append((place, judged))
            if not judged.kept and config.plain:
                plain = Item(pick, pick.plain, PROGRAM)
                items.append((place, validate.checked(plain, shown[place])))
        answered = self._answered(items, keys, shown)
        return [
            validate.distinct([i for at, i in answered if at == place])
            for place in range(len(keys))
        ]

    def _worded(
        self, where: Sequence[tuple[int, Pick]], keys: Sequence[str], views: Sequence[View]
    ) -> list[Item]:
        requests = [self._request(pick, keys[at], views[at]) for at, pick in where]
        replies = self._written(requests)
        found = []
        for (_, pick), request, reply in zip(where, requests, replies, strict=True):
            text = unpacked(reply, request.schema)
            status = KEPT if text.status == "ok" else text.status
            found.append(Item(pick, text.text, self.writer.name, status, text.detail))
        return found

    def _request(self, pick: Pick, key: str, view: View) -> Request:
        seed = self._seed(key, pick.plain)
        if pick.kind == "summary":
            listing = view.listing(self.config.characters)
            prompt = filled("summary", SCREEN=listing, PLAIN=_quoted(pick.plain))
            return Request(prompt, text_schema("summary", 25, 240), seed)
        name: Prompt = "order" if pick.kind == "navigate" else "word"
        prompt = filled(name, PLAIN=_quoted(pick.plain))
        key_ = "order" if pick.kind == "navigate" else "question"
        return Request(prompt, wording_schema(key_, pick), seed, varied=True)

    def _answered(
        self, items: Sequence[tuple[int, Item]], keys: Sequence[str], views: Sequence[View]
    ) -> list[tuple[int, Item]]:
        """The items after the model has answered their questions, with the screen and without."""
        config, found = self.config, [item for _, item in items]
        places = [place for place, _ in items]
        asked = self_answer.asked(found, self_answer.BLIND) if config.blind else []
        requests = [
            self_answer.blind(found[i], self._seed(keys[places[i]], found[i].text)) for i in asked
        ]
        for i, request, reply in zip(asked, requests, self._written(requests), strict=True):
            found[i] = self_answer.unseen(found[i], request, reply)
        kinds = self.writer.answers if config.answer is None else config.answer
        asked = self_answer.asked(found, kinds)
        requests = [
            self_answer.seeing(
                found[i],
                views[places[i]],
                config.characters,
                self._seed(keys[places[i]], found[i].text),
            )
            for i in asked
        ]
        for i, request, reply in zip(asked, requests, self._written(requests), strict=True):
            found[i] = self_answer.agreed(found[i], request, reply)
        return list(zip(places, found, strict=True))

    def _written(self, requests: Sequence[Request]) -> Sequence[Reply]:
        """The writer's replies; where it fails as a whole, so does each, with the reason."""
        if not requests:
            return []
        try:
            replies = self.writer.write(requests)
        except Exception as error:  # whatever a writer of somebody else's raises
            why = f"{type(error).__name__}: {error}"[:200]
            return [Reply("writer_failed", detail=why)] * len(requests)
        if len(replies) == len(requests):
            return replies
        why = f"{len(replies)} replies to {len(requests)} requests"
        return [Reply("writer_failed", detail=why)] * len(requests)

    def _seed(self, *parts: str) -> int:
        return int(uniform(self.config.seed, *parts) * 2**31)


def read(text: str | None) -> tuple[View | None, str]:
    """A schema in our text form or the released one, and why it cannot be read ("" if it can)."""
    if text is None:
        return None, "no schema"
    try:
        return View(grammar.parse(text)), ""
    except ValueError as error:
        reason = str(error)
    try:
        return View(released.read(text)), ""
    except ValueError:
        return None, reason[:200]


def status(reason: str, items: Sequence[Item]) -> str:
    """Of a screen: ok, unreadable, nothing_to_ask, or none_kept."""
    if reason:
        return "unreadable"
    if not items:
        return "nothing_to_ask"
    return "ok" if any(item.kept for item in items) else "none_kept"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def tasks_step(
    load: Callable[[], Writer], config: TaskConfig, batch_rows: int = 8, workers: int = 1
) -> Step:
    """The step of a chain that writes tasks; `load` is a class or a functools.partial."""
    return Step(
        WriteTasks,
        reads=READS,
        writes=WRITES,
        arguments=(load, config),
        batch_rows=batch_rows,
        workers=workers,
    )
