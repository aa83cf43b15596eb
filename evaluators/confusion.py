"""Per-class and confusion views of the answers: which classes fail, and what is said instead."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from evaluators.statistics import wilson


@dataclass(frozen=True)
class ClassView:
    """One class of one set: its accuracy with a Wilson interval, and its commonest wrong answer."""

    name: str
    n: int
    accuracy: float
    low: float
    high: float
    mistaken_for: str
    """Empty if there was no mistake."""
    mistakes: int
    """How often that was answered."""


def per_class(answers: pa.Table) -> list[ClassView]:
    """Every class of the answered rows, worst first, then by name."""
    said: dict[str, Counter[str]] = {}
    for row in _answered(answers):
        said.setdefault(row["truth"], Counter())[row["top"][0]] += 1
    views = [_view(name, count) for name, count in said.items()]
    return sorted(views, key=lambda view: (view.accuracy, view.name))


def _view(name: str, said: Counter[str]) -> ClassView:
    n, hits = sum(said.values()), said[name]
    wrong = sorted((-count, other) for other, count in said.items() if other != name)
    times, other = wrong[0] if wrong else (0, "")
    return ClassView(name, n, hits / n, *wilson(hits, n), other, -times)


def confusions(answers: pa.Table, most: int = 20) -> list[tuple[str, str, int]]:
    """(truth, answer, how often) of the commonest mistakes."""
    pairs = Counter(
        (row["truth"], row["top"][0]) for row in _answered(answers) if row["top"][0] != row["truth"]
    )
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(truth, answer, count) for (truth, answer), count in ordered[:most]]


def _answered(answers: pa.Table) -> list[dict[str, Any]]:
    rows = answers.select(["truth", "rank", "top"]).to_pylist()
    return [row for row in rows if row["rank"] is not None]
