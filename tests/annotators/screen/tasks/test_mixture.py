"""The mixture: kept tasks alone, masked texts, weights met, every row before one again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from annotators.screen import grammar, released
from annotators.screen.tasks.mixture import MASK, MixtureConfig, drawn, rows


def task(kind: str, status: str = "kept") -> dict[str, Any]:
    return {"kind": kind, "status": status, "text": f"a {kind}?", "target": f"t {kind}"}


def test_only_kept_tasks_become_rows(screen: str) -> None:
    tasks = [task("read"), task("sum", "leak"), task("navigate"), task("summary")]
    found = list(rows({"image_id": "x", "screen": screen, "tasks": tasks}, MixtureConfig()))
    assert [r["task"] for r in found] == ["annotation", "question", "navigation", "summary"]
    assert found[3]["prompt"] == "Summarise the screen." and found[1]["target"] == "t read"
    nothing = {"image_id": "x", "screen": "nonsense", "tasks": []}
    assert list(rows(nothing, MixtureConfig())) == []


def test_masks_hide_texts_and_nothing_else(screen: str) -> None:
    schema = grammar.parse(screen)
    row = {"image_id": "x", "screen": screen, "tasks": []}
    (whole,) = rows(row, MixtureConfig(masks=0.0))
    (masked,) = rows(row, MixtureConfig(masks=1.0))
    assert whole["target"] == masked["target"] == released.write(schema)
    left = released.read(masked["prompt"].partition(": ")[2])
    hidden = [e.text == MASK for e in left]
    assert 0 < sum(hidden) < len(hidden)
    for before, after in zip(schema, left, strict=True):
        assert after in (before, replace(before, text=MASK)) and (before.text or not after.text)
    (everything,) = rows(row, MixtureConfig(masks=1.0, masked=1.0))
    assert everything["prompt"].count(MASK) == sum(bool(e.text) for e in schema)


def test_draws_meet_the_weights_and_take_every_row_first() -> None:
    config = MixtureConfig(annotation=1, question=3, navigation=0, summary=5)
    of = {"annotation": 50, "question": 100, "navigation": 9}  # no summary at hand
    every = [
        {"image_id": f"{t}{n}", "task": t, "prompt": "p", "target": "t"}
        for t, count in of.items()
        for n in range(count)
    ]
    found = list(drawn(every, 2000, config))
    assert found == list(drawn(every, 2000, config)) != list(drawn(every, 2000, MixtureConfig()))
    counted = Counter(r["task"] for r in found)
    assert set(counted) == {"annotation", "question"} and 1400 < counted["question"] < 1600
    times = Counter(r["image_id"] for r in found if r["task"] == "question")
    assert len(times) == 100 and max(times.values()) - min(times.values()) <= 1
    assert len({r["row_id"] for r in found}) == 2000
    assert list(drawn(every, 30, config)) == found[:30]


def test_weights_that_cannot_be_met_are_refused() -> None:
    row = {"image_id": "x", "task": "summary", "prompt": "p", "target": "t"}
    with pytest.raises(ValueError, match="no row"):
        list(drawn([row], 1, MixtureConfig(summary=0)))
    with pytest.raises(ValueError, match="legal"):
        list(drawn([row], 1, MixtureConfig(summary=-1)))
