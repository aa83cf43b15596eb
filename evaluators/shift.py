"""From answers to robustness: which concepts both sides share, and how each model did on them.

The held classes are those that the suite's set in distribution shows. A shift is compared over the
held classes that it shows too, so that no concept is on one side only: a concept seen in two hands
is easier than one seen in one, and a gap between different concepts would be no gap between
distributions.

Letter: K shared concepts.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluators.robustness import RESAMPLES, Outcome, Robustness, robustness
from evaluators.statistics import Floats
from evaluators.suites.kinds import Classification


def answers_of(answers: pa.Table, **equal: str) -> pa.Table:
    """The rows whose columns equal the given values, such as suite="concepts", dataset="fluent"."""
    keep = pa.scalar(True)
    for column, value in equal.items():
        keep = pc.and_(keep, pc.equal(answers[column], value))
    return answers.filter(keep)


def models_of(answers: pa.Table) -> list[str]:
    """Models in the order of their first row."""
    found: list[str] = pc.unique(answers["model"]).to_pylist()
    return found


def concepts_of(answers: pa.Table) -> set[str]:
    """The concepts that a set's answers are about."""
    return set(pc.unique(answers["truth"]).to_pylist())


def outcomes(answers: pa.Table, suite: Classification, shift: str) -> dict[str, Outcome]:
    """By model: its hits a shared concept, in distribution and under `shift`."""
    ours = answers_of(answers, suite=suite.name)
    inside = answers_of(ours, dataset=suite.in_distribution or "")
    outside = answers_of(ours, dataset=shift)
    concepts = sorted(concepts_of(inside) & concepts_of(outside))
    if not concepts:
        raise ValueError(
            f"{suite.name}: {suite.in_distribution} and {shift} share no concept; legal: 1 or more"
        )
    return {
        model: Outcome(
            model,
            *_tally(answers_of(inside, model=model), concepts),
            *_tally(answers_of(outside, model=model), concepts),
        )
        for model in models_of(ours)
    }


def _tally(answers: pa.Table, concepts: Iterable[str]) -> tuple[Floats, Floats]:
    """(hits, pictures) a concept (K,); unanswered pictures count on neither."""
    place = {name: k for k, name in enumerate(concepts)}
    hits, counts = np.zeros(len(place)), np.zeros(len(place))
    for truth, rank in zip(answers["truth"].to_pylist(), answers["rank"].to_pylist(), strict=True):
        if rank is not None and truth in place:
            counts[place[truth]] += 1
            hits[place[truth]] += rank == 0
    return hits, counts


def shifts(
    answers: pa.Table,
    suite: Classification,
    standard: Iterable[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, list[Robustness]]:
    """By shifted set: every model's robustness."""
    found = {}
    for shift in suite.shifts:
        by_model = outcomes(answers, suite, shift)
        line = [by_model[name] for name in standard if name in by_model]
        found[shift] = [robustness(one, line, seed, resamples) for one in by_model.values()]
    return found


def ranks_of(answers: pa.Table) -> npt.NDArray[np.int64]:
    """Ranks of the answered rows."""
    return np.asarray(answers["rank"].drop_null().to_numpy(), dtype=np.int64)
