"""What a model has seen before: accuracy on the evaluation pictures that its corpus shows.

CLIP's overlap analysis (arXiv 2103.00020, section 5): a set is split into Overlap and Clean by a
near-duplicate search (`pipelines.web.overlap`), and accuracy on All less that on Clean is what the
overlap is worth. Whether Overlap is better than Clean by more than chance is a one-tailed binomial
test with Clean's accuracy as the null; with many sets, compare p with 0.05 over their number
(Bonferroni). The interval on Overlap is Clopper and Pearson's at 99.5 %, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.answers import ZERO_SHOT
from evaluators.shift import answers_of, models_of
from evaluators.statistics import Rate, rate


@dataclass(frozen=True)
class Overlap:
    """One model on one set, on the pictures that its corpus shows and on the others."""

    shown: Rate
    clean: Rate
    all: Rate
    low: float
    """Of `shown`, 99.5 % interval; NaN where nothing is shown."""
    high: float
    p: float
    """One-tailed, of so many hits on `shown` at the accuracy of `clean`; 1 where none is shown."""

    @property
    def gain(self) -> float:
        """What the overlap adds to the set's accuracy."""
        return self.all.value - self.clean.value


def compare(answers: pa.Table, shown: Collection[str]) -> Overlap:
    """Zero-shot answers of one model about one set; `shown`: image ids that the corpus shows."""
    answered = answers.filter(pc.is_valid(answers["rank"]))
    hits = pc.equal(answered["rank"], 0).to_numpy()
    seen = pc.is_in(answered["item"], pa.array(sorted(shown), pa.string())).to_numpy()
    inside, outside = rate(hits[seen]), rate(hits[~seen])
    k, n = int(hits[seen].sum()), int(seen.sum())
    low, high = clopper_pearson(k, n) if n else (math.nan, math.nan)
    known = n > 0 and outside.n > 0
    p = upper_tail(k, n, outside.value) if known else 1.0
    return Overlap(inside, outside, rate(hits), low, high, p)


def upper_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) of X ~ Binomial(n, p)."""
    if p <= 0 or p >= 1:
        return float(k == 0 or p >= 1)
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k, n + 1)
    ]  # fmt: skip
    return min(1.0, math.fsum(math.exp(one) for one in logs))


def clopper_pearson(k: int, n: int, level: float = 0.995) -> tuple[float, float]:
    """Exact interval of a rate, by bisection on the binomial's tails."""
    alpha = (1 - level) / 2
    low = 0.0 if k == 0 else _solve(lambda p: upper_tail(k, n, p) - alpha)
    high = 1.0 if k == n else _solve(lambda p: alpha - (1 - upper_tail(k + 1, n, p)))
    return low, high


def _solve(rising: Any) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def overlap_rows(
    answers: pa.Table, suite: str, dataset: str, shown: Collection[str]
) -> Iterator[dict[str, Any]]:
    """A row a model for the report: pictures shown, accuracies, gain, p."""
    asked = answers_of(answers, suite=suite, dataset=dataset, task=ZERO_SHOT)
    for model in models_of(asked):
        found = compare(answers_of(asked, model=model), shown)
        yield {
            "set": f"{suite}/{dataset}",
            "model": model,
            "pictures": found.all.n,
            "in the corpus": found.shown.n,
            "top-1, all": found.all.value,
            "top-1, clean": found.clean.value,
            "top-1, in the corpus": found.shown.value if found.shown.n else None,
            "gain": found.gain,
            "p": found.p,
        }
