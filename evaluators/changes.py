"""What changed between score runs, and what of that was luck.

Two runs answered the same items wherever a set did not change between them, so their answers pair
up item by item and McNemar's test says whether a difference is more than luck
(`evaluators.paired`). A comparison of many sets finds some difference by luck alone: p is therefore
also given as Holm's procedure adjusts it over all tests of the comparison, and only what stays
below the level then is called better or worse.

Items that one of the two did not answer, that carry another label since, or that had another number
of answers to choose from, are not the same question: they are left out of both and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc

from evaluators.answers import IMAGE_TO_TEXT, TEXT_TO_IMAGE, ZERO_SHOT
from evaluators.history import Scoring
from evaluators.paired import compare, holm
from evaluators.probe import PROBE
from evaluators.statistics import Interval
from pipelines import datasets
from pipelines.datasets import Dataset

COLUMNS = ["suite", "dataset", "task", "item", "truth", "rank", "candidates"]
TESTED: dict[str, tuple[tuple[str, int], ...]] = {
    ZERO_SHOT: (("top1", 1),),
    PROBE: (("top1", 1),),
    IMAGE_TO_TEXT: (("image_to_text_r1", 1), ("image_to_text_r5", 5)),
    TEXT_TO_IMAGE: (("text_to_image_r1", 1), ("text_to_image_r5", 5)),
}
"""By task, the metrics that are tested and the k of hits among the k best."""
LEVEL = 0.05
Place = tuple[str, str, str]
Answer = tuple[str, int, int]
"""Truth, candidates, rank."""
Answers = dict[Place, dict[str, Answer]]


@dataclass(frozen=True)
class Change:
    """One metric of one set, from one run to a later one, over the items that both were asked."""

    before: str
    after: str
    suite: str
    dataset: str
    metric: str
    n: int
    unmatched: int
    """Items of either run without the same question in the other."""
    lost: int
    """Items that only the earlier run got right."""
    gained: int
    value_before: float
    value_after: float
    difference: Interval
    """Later less earlier."""
    p: float
    p_adjusted: float
    """Holm's, over all changes of the comparison."""

    def verdict(self, level: float = LEVEL) -> str:
        """In words; "worse" is a regression beyond what luck does at this level."""
        way = "better" if self.difference.value > 0 else "worse"
        if self.p_adjusted < level:
            return way
        return f"perhaps {way}" if self.p < level else "no difference shown"


def changes(runs: Sequence[Scoring], seed: int = 0) -> list[Change]:
    """Each run against the one before it, and the last against the first; p adjusted over all."""
    found: list[Change] = []
    first = last = _answers(runs[0].predictions)
    for before, after in pairwise(runs):
        said = _answers(after.predictions)
        found += _between(before.name, after.name, last, said, seed)
        last = said
    if len(runs) > 2:  # small steps down are a long way down
        found += _between(runs[0].name, runs[-1].name, first, last, seed)
    adjusted = holm([change.p for change in found])
    return [replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True)]


def _answers(predictions: Dataset) -> Answers:
    """By suite, set and task: what was said of each item."""
    found: Answers = {}
    for shard in predictions.shards:
        for batch in datasets.shard_batches(shard, COLUMNS):
            answered = batch.filter(pc.is_valid(batch.column("rank")))
            for row in answered.to_pylist():
                place = (row["suite"], row["dataset"], row["task"])
                answer = (row["truth"], row["candidates"], row["rank"])
                found.setdefault(place, {})[row["item"]] = answer
    return found


def _between(before: str, after: str, old: Answers, new: Answers, seed: int) -> Iterator[Change]:
    for place in (place for place in new if place in old and place[2] in TESTED):
        a, b = old[place], new[place]
        same = sorted(i for i in a.keys() & b.keys() if a[i][:2] == b[i][:2])
        if not same:
            continue
        unmatched = len(a.keys() | b.keys()) - len(same)
        for metric, k in TESTED[place[2]]:
            hits_a, hits_b = (np.array([said[i][2] < k for i in same]) for said in (a, b))
            told = compare(hits_b, hits_a, seed)
            yield Change(
                before,
                after,
                place[0],
                place[1],
                metric,
                told.n,
                unmatched,
                told.only_b,
                told.only_a,
                float(hits_a.mean()),
                float(hits_b.mean()),
                told.difference,
                told.p,
                told.p,
            )
