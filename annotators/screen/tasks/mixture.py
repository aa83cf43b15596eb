"""ScreenAI's mixture: tasks of a screen as (prompt, target) rows, drawn with weights.

Screen annotation (write the schema; part of its texts masked in the prompt's copy and to be read
off the picture), question answering, navigation and summary, after section 4 of the paper
(arXiv 2402.04615). The paper's Table of sampling weights is for data that is not public; the
weights here are ours and are a config. Each draw is a function of (seed, number of the draw): a
task by its weight, then a row of that task, every row once before any comes again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from annotators.screen import grammar, released
from annotators.screen.schema import Schema
from annotators.screen.tasks.items import ANSWERED, KEPT
from pipelines.records import record_id, uniform

TASKS = ("annotation", "question", "navigation", "summary")
MASK = "<mask>"
"""Stands for a text that the model has to read."""


@dataclass(frozen=True)
class MixtureConfig:
    """How often each task is drawn, and what is masked."""

    annotation: float = 0.4
    """Weight of screen annotation."""
    question: float = 0.3
    """Weight of question answering."""
    navigation: float = 0.2
    """Weight of navigation."""
    summary: float = 0.1
    """Weight of summaries."""
    masked: float = 0.5
    """Share of a schema's texts that the prompt of a masked annotation hides."""
    masks: float = 0.5
    """Share of the annotation rows whose prompt holds the schema with masks; the others ask for
    all of it."""
    seed: int = 0
    """Of masks and draws."""

    def weights(self) -> dict[str, float]:
        """By task. Raises ValueError for a negative one or for none above 0."""
        found = {task: float(getattr(self, task)) for task in TASKS}
        if min(found.values()) < 0 or not sum(found.values()):
            raise ValueError(f"weights {found}; legal: 0 or more, and one above 0")
        return found


def rows(screen: Mapping[str, Any], config: MixtureConfig) -> Iterator[dict[str, str]]:
    """Every row that a row of `screen_tasks` gives, without `row_id`; only kept tasks."""
    schema = parsed(screen["screen"])
    image_id = screen["image_id"]
    if schema is not None and len(schema):
        yield {"image_id": image_id, "task": "annotation", **annotation(schema, image_id, config)}
    for task in screen["tasks"] or ():
        if task["status"] != KEPT:
            continue
        named = "question" if task["kind"] in ANSWERED else task["kind"]
        named = "navigation" if named == "navigate" else named
        prompt = "Summarise the screen." if named == "summary" else task["text"]
        yield {"image_id": image_id, "task": named, "prompt": prompt, "target": task["target"]}


def annotation(schema: Schema, key: str, config: MixtureConfig) -> dict[str, str]:
    """Prompt and target of screen annotation, in the released set's form."""
    whole = released.write(schema)
    if uniform(config.seed, key, "annotation") >= config.masks:
        return {"prompt": "Describe every element of the screen.", "target": whole}
    hidden = [
        replace(element, text=MASK)
        if element.text and uniform(config.seed, key, str(place)) < config.masked
        else element
        for place, element in enumerate(schema)
    ]
    prompt = f"Fill in what is masked: {released.write(Schema(tuple(hidden)))}"
    return {"prompt": prompt, "target": whole}


def drawn(
    every: Sequence[Mapping[str, str]], size: int, config: MixtureConfig
) -> Iterator[dict[str, str]]:
    """`size` rows by the weights of their tasks; a task that has no row is left out of the draw.

    Raises ValueError if there is no row of a task with a weight.
    """
    of = {task: [row for row in every if row["task"] == task] for task in TASKS}
    weights = {task: w for task, w in config.weights().items() if w and of[task]}
    if not weights:
        raise ValueError("no row of a task that has a weight")
    edges, taken = list(accumulate(weights.values())), dict.fromkeys(weights, 0)
    total = edges[-1]
    orders: dict[str, list[int]] = {}
    for number in range(size):
        at = uniform(config.seed, "task", str(number)) * total
        task = list(weights)[min(bisect_right(edges, at), len(edges) - 1)]
        turn, place = divmod(taken[task], len(of[task]))
        if not place:
            orders[task] = _shuffled(len(of[task]), config.seed, task, str(turn))
        taken[task] += 1
        row = dict(of[task][orders[task][place]])
        yield {"row_id": record_id(str(config.seed), str(number), row["image_id"], task), **row}


def parsed(text: str | None) -> Schema | None:
    """A schema in our form or the released one; None if it is neither."""
    for read in (grammar.parse, released.read):
        try:
            return read(text or "")
        except ValueError:
            continue
    return None


def _shuffled(count: int, seed: int, *parts: str) -> list[int]:
    return sorted(range(count), key=lambda place: (uniform(seed, *parts, str(place)), place))
