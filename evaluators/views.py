"""Rows for a careful reader, counted from the answers: significance, classes, confusions.

Each view is a list of plain dicts, so the page, JSON and a notebook show the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluators.answers import ZERO_SHOT
from evaluators.confusion import confusions, per_class
from evaluators.paired import compare
from evaluators.shift import answers_of, models_of

Row = dict[str, Any]
WORST = 5


def significance(answers: pa.Table, model: str, seed: int = 0) -> Iterator[Row]:
    """The model against each other one: every suite, set and task that both were asked.

    Items that either left unanswered are left out of both; `n` says what is compared.
    """
    for other in (name for name in models_of(answers) if name != model):
        for suite, dataset, task in _places(answers):
            asked = answers_of(answers, suite=suite, dataset=dataset, task=task)
            a, b = (_hits(answers_of(asked, model=name)) for name in (model, other))
            both = sorted(a.keys() & b.keys())
            if not both:
                continue
            ours, theirs = (np.array([hits[i] for i in both]) for hits in (a, b))
            found = compare(ours, theirs, seed)
            yield {
                "suite": suite,
                "set": dataset,
                "task": task,
                "model": model,
                "against": other,
                "n": found.n,
                "only model right": found.only_a,
                "only other right": found.only_b,
                "difference": found.difference.value,
                "low": found.difference.low,
                "high": found.difference.high,
                "p": found.p,
            }


def _places(answers: pa.Table) -> list[tuple[str, str, str]]:
    names = ["suite", "dataset", "task"]
    rows = answers.select(names).group_by(names, use_threads=False).aggregate([]).to_pylist()
    return [(row["suite"], row["dataset"], row["task"]) for row in rows]


def _hits(answers: pa.Table) -> dict[str, bool]:
    answered = answers.filter(pc.is_valid(answers["rank"]))
    hits = pc.equal(answered["rank"], 0).to_pylist()
    return dict(zip(answered["item"].to_pylist(), hits, strict=True))


def worst_classes(answers: pa.Table, model: str, most: int = WORST) -> Iterator[Row]:
    """Of each set that was named without training, the classes with the lowest accuracy."""
    for suite, dataset, part in _named(answers, model):
        for view in per_class(part)[:most]:
            yield {
                "suite": suite,
                "set": dataset,
                "class": view.name,
                "n": view.n,
                "accuracy": view.accuracy,
                "low": view.low,
                "high": view.high,
                "mistaken for": view.mistaken_for,
                "times": view.mistakes,
            }


def common_confusions(answers: pa.Table, model: str, most: int = WORST) -> Iterator[Row]:
    """Of each such set, the commonest mistakes."""
    for suite, dataset, part in _named(answers, model):
        for truth, answer, times in confusions(part, most):
            yield {
                "suite": suite,
                "set": dataset,
                "truth": truth,
                "answer": answer,
                "times": times,
            }


def _named(answers: pa.Table, model: str) -> Iterator[tuple[str, str, pa.Table]]:
    ours = answers_of(answers, model=model, task=ZERO_SHOT)
    for suite, dataset, _ in _places(ours):
        yield suite, dataset, answers_of(ours, suite=suite, dataset=dataset)


def audit_rows(audits: Sequence[Any]) -> Iterator[Row]:
    """A row an evaluation set: what was found, what is damaged, how to get what is missing."""
    order = {"ok": 0, "damaged": 1, "missing": 2}
    for audit in sorted(audits, key=lambda one: (order[one.status], one.name)):
        told = [f"{d.kind} {d.count:,}: {'; '.join(d.examples)}" for d in audit.damage]
        sizes = ", ".join(f"{split} {n:,}" for split, n in sorted(audit.sizes.items()))
        yield {
            "set": audit.name,
            "status": audit.status,
            "pictures": sizes,
            "remarks": " | ".join([*told, *([audit.get] if audit.get else [])]),
        }
