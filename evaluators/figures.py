"""Rows of the `scores` dataset, counted from answers: rates, chance levels, robustness.

A set in distribution and its shifts are counted over the held classes (split "held"); beside it a
shift stands over all its classes (split "all").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluators.answers import IMAGE_TO_TEXT, TEXT_TO_IMAGE, ZERO_SHOT
from evaluators.retrieval import RECALL_AT
from evaluators.robustness import Robustness
from evaluators.shift import answers_of, concepts_of, models_of, ranks_of
from evaluators.statistics import Floats, Interval, Rate, mean_per_class
from evaluators.suites.kinds import Classification, Suite
from evaluators.zero_shot import top_k_accuracy

CHANCE = "chance"
MEASURES = {
    ZERO_SHOT: ("top", (1, 5)),
    IMAGE_TO_TEXT: (f"{IMAGE_TO_TEXT}_r", RECALL_AT),
    TEXT_TO_IMAGE: (f"{TEXT_TO_IMAGE}_r", RECALL_AT),
}
"""By task, the metrics' prefix and the k of hits among the k best."""
Row = dict[str, Any]


def rate_rows(answers: pa.Table, suite: Suite) -> Iterator[Row]:
    """Every rate of a suite: by set, split, model and metric, the chance levels last."""
    ours = answers_of(answers, suite=suite.name)
    for name in suite.sets:
        for split, part in _splits(ours, suite, name).items():
            models = models_of(part)
            for model in models:
                for metric, found in _rates(answers_of(part, model=model)):
                    yield _row((suite.name, name, split, metric), model, found)
            for metric, found in _chances(answers_of(part, model=models[0]) if models else part):
                yield _row((suite.name, name, split, metric), CHANCE, found)


def _splits(ours: pa.Table, suite: Suite, name: str) -> dict[str, pa.Table]:
    of_set = answers_of(ours, dataset=name)
    if isinstance(suite, Classification) and suite.in_distribution is not None:
        held = concepts_of(answers_of(ours, dataset=suite.in_distribution))
        part = of_set.filter(pc.is_in(of_set["truth"], pa.array(sorted(held))))
        return {"held": part} if len(part) == len(of_set) else {"held": part, "all": of_set}
    return {"all": of_set}


def _rates(answers: pa.Table) -> Iterator[tuple[str, Rate]]:
    answered = answers.filter(pc.is_valid(answers["rank"]))
    for task, (prefix, ks) in MEASURES.items():
        part = answers_of(answered, task=task)
        for k in ks if len(part) else ():
            yield f"{prefix}{k}", top_k_accuracy(ranks_of(part), k)
        if task == ZERO_SHOT and len(part) > len(concepts_of(part)):  # otherwise it is top1 again
            _, labels = np.unique(part["truth"].to_pylist(), return_inverse=True)
            yield "mean_per_class", mean_per_class(ranks_of(part) == 0, labels)


def _chances(answers: pa.Table) -> Iterator[tuple[str, Rate]]:
    """What drawing the answers blindly would give, for every rate at k."""
    for task, (prefix, ks) in MEASURES.items():
        part = answers_of(answers, task=task)
        candidates, partners = part["candidates"].to_numpy(), part["partners"].to_numpy()
        for k in ks if len(part) else ():
            level = float(chance(candidates, partners, k).mean())
            yield f"{prefix}{k}", Rate(level, len(part), 0.0)


def chance(candidates: npt.NDArray, partners: npt.NDArray, k: int) -> Floats:
    """Probability that k of `candidates`, drawn blindly, hold one of the `partners`."""
    miss: Floats = np.ones(len(candidates))
    for drawn in range(k):
        left = np.maximum(candidates - drawn, 1)
        miss *= np.maximum(candidates - partners - drawn, 0) / left
    return 1 - miss


def robustness_rows(suite: str, shift: str, found: Robustness) -> Iterator[Row]:
    """Gap, effective and relative robustness; n counts concepts, errors are the bootstrap's."""
    figures: dict[str, Interval | None] = {
        "top1_in_distribution": found.acc_id,
        "gap": found.gap,
        "effective_robustness": found.effective,
        **{f"relative_robustness:{other}": tau for other, tau in found.relative.items()},
    }
    for metric, one in figures.items():
        if one is not None:
            level = Rate(one.value, found.n_concepts, one.standard_error)
            yield _row((suite, shift, "held", metric), found.model, level)


def _row(place: tuple[str, str, str, str], model: str, found: Rate) -> Row:
    return {
        **dict(zip(("suite", "dataset", "split", "metric"), place, strict=True)),
        "model": model,
        "value": found.value,
        "n": found.n,
        "standard_error": found.standard_error,
    }
