"""What full fine-tuning gains in distribution, and what of robustness it costs.

Zero-shot CLIP loses its robustness where it is adapted to a set: in its section 3.3 (arXiv
2103.00020) a fit to ImageNet gained 9.2 points there and nothing on average under shift. Here the
same checkpoint, before and after, answers the same items in distribution and under shift, and
robustness lost is how much the gap between the two has grown.

    lost = (acc_id - acc_shift) after  -  (acc_id - acc_shift) before

Both models and both sides count the same concepts, and intervals come from drawing concepts.

Letters: K concepts, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from evaluators.robustness import RESAMPLES, Outcome
from evaluators.shift import answers_of, outcomes, ranks_of
from evaluators.statistics import Floats, bootstrap_weights, interval, rate
from evaluators.suites.kinds import Classification

Row = dict[str, Any]


def fine_tuned_rows(
    answers: pa.Table,
    suite: Classification,
    before: str,
    after: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Iterator[Row]:
    """A row a shift of `suite`, in per cent and points; `before` and `after` name the models.

    Raises:
        ValueError: one of the two models is not in the answers.
    """
    for shift in suite.shifts:
        found = outcomes(answers, suite, shift)
        missing = [name for name in (before, after) if name not in found]
        if missing:
            raise ValueError(f"models {missing}; legal: {', '.join(found)}")
        yield _row(suite, shift, found, (before, after), seed, resamples)


def _row(
    suite: Classification,
    shift: str,
    found: Mapping[str, Outcome],
    models: tuple[str, str],
    seed: int,
    resamples: int,
) -> Row:
    k = len(found[models[0]].id_hits)
    weights = np.vstack([np.ones((1, k), np.int64), bootstrap_weights(k, resamples, seed)])
    (id_0, shift_0), (id_1, shift_1) = (found[name].accuracies(weights) for name in models)
    figures = {
        "gain in distribution": id_1 - id_0,
        "gain under shift": shift_1 - shift_0,
        "robustness lost": (id_1 - shift_1) - (id_0 - shift_0),
    }
    return {
        "set": suite.in_distribution,
        "shift": shift,
        "concepts": k,
        "zero-shot in distribution, %": 100 * float(id_0[0]),
        "zero-shot under shift, %": 100 * float(shift_0[0]),
        "fine-tuned in distribution, %": 100 * float(id_1[0]),
        "fine-tuned under shift, %": 100 * float(shift_1[0]),
        **{key: value for name, one in figures.items() for key, value in _span(name, one)},
    }


def _span(name: str, values: Floats) -> Iterator[tuple[str, float]]:
    told = interval(100 * float(values[0]), 100 * values[1:])
    yield from ((name, told.value), (f"{name}, low", told.low), (f"{name}, high", told.high))


def in_distribution_row(answers: pa.Table, name: str, before: str, after: str) -> Row:
    """The set's whole test split, before and after; for sets without a shift too."""
    rates = [
        rate(ranks_of(answers_of(answers, dataset=name, model=m)) == 0) for m in (before, after)
    ]
    return {
        "set": name,
        "n": rates[0].n,
        "zero-shot, %": 100 * rates[0].value,
        "zero-shot, error": 100 * rates[0].standard_error,
        "fine-tuned, %": 100 * rates[1].value,
        "fine-tuned, error": 100 * rates[1].standard_error,
        "gain": 100 * (rates[1].value - rates[0].value),
    }
