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
from evaluators.calibration import calibration_error
from evaluators.probe import PROBE
from evaluators.ranking import roc_auc
from evaluators.retrieval import RECALL_AT
from evaluators.robustness import Robustness
from evaluators.shift import answers_of, concepts_of, models_of, ranks_of
from evaluators.statistics import Floats, Interval, Rate, mean_per_class, over_seeds
from evaluators.suites.kinds import Classification, Probe, Source, Suite
from evaluators.zero_shot import top_k_accuracy

CHANCE = "chance"
CALIBRATION = "calibration_error"
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
    for name, source in suite.sets.items():
        for split, part in _splits(ours, suite, name).items():
            models = models_of(part)
            for model in models:
                mine = answers_of(part, model=model)
                found = _over_seeds(mine) if isinstance(suite, Probe) else _rates(mine, source)
                for metric, one in found:
                    yield score_row((suite.name, name, split, metric), model, one)
            for metric, one in _chances(answers_of(part, model=models[0]) if models else part):
                yield score_row((suite.name, name, split, metric), CHANCE, one)


def _splits(ours: pa.Table, suite: Suite, name: str) -> dict[str, pa.Table]:
    of_set = answers_of(ours, dataset=name)
    if isinstance(suite, Probe):
        return _by_shots(of_set)
    if isinstance(suite, Classification) and suite.in_distribution is not None:
        held = concepts_of(answers_of(ours, dataset=suite.in_distribution))
        part = of_set.filter(pc.is_in(of_set["truth"], pa.array(sorted(held))))
        return {"held": part} if len(part) == len(of_set) else {"held": part, "all": of_set}
    return {"all": of_set}


def _by_shots(of_set: pa.Table) -> dict[str, pa.Table]:
    """The whole probe as "all", and "4-shot" with the answers of all its seeds."""
    tasks = sorted(pc.unique(of_set["task"]).to_pylist(), key=_shots)
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(f"{_shots(task)}-shot" if _shots(task) else "all", []).append(task)
    return {
        split: of_set.filter(pc.is_in(of_set["task"], pa.array(some)))
        for split, some in found.items()
    }


def _shots(task: str) -> int:
    return int(task.split("_")[1]) if task != PROBE else 0


def _over_seeds(answers: pa.Table) -> Iterator[tuple[str, Rate]]:
    """Means over the seeds."""
    tasks = pc.unique(answers["task"]).to_pylist()
    by_seed = [dict(_named_rates(answers_of(answers, task=task))) for task in tasks]
    for metric in by_seed[0]:
        yield metric, over_seeds([found[metric] for found in by_seed])


def _rates(answers: pa.Table, source: Source) -> Iterator[tuple[str, Rate]]:
    for task, (prefix, ks) in MEASURES.items():
        part = answers_of(answers, task=task)
        part = part.filter(pc.is_valid(part["rank"]))
        if task == ZERO_SHOT and len(part):
            yield from _named_rates(part)
            yield from _as_cited(part, source)
        else:
            for k in ks if len(part) else ():
                yield f"{prefix}{k}", top_k_accuracy(ranks_of(part), k)


def _named_rates(answers: pa.Table) -> Iterator[tuple[str, Rate]]:
    """Of images that were named: top1, top5, mean per class, calibration error."""
    part = answers.filter(pc.is_valid(answers["rank"]))
    ranks = ranks_of(part)
    for k in _asked(part, MEASURES[ZERO_SHOT][1]):
        yield f"top{k}", top_k_accuracy(ranks, k)
    if len(part) > len(concepts_of(part)):  # otherwise it is top1 again
        _, labels = np.unique(part["truth"].to_pylist(), return_inverse=True)
        yield "mean_per_class", mean_per_class(ranks == 0, labels)
    best = pc.list_element(part["top_scores"], 0).to_numpy().astype(np.float64)
    yield CALIBRATION, calibration_error(np.clip(best, 0, 1), ranks == 0)


def _as_cited(part: pa.Table, source: Source) -> Iterator[tuple[str, Rate]]:
    """The metric that a set is cited by, where it is none of the others."""
    if source.metric == "roc_auc" and len(source.classes) == 2 and len(concepts_of(part)) == 2:
        positive = source.classes[1]
        best = pc.list_element(part["top_scores"], 0).to_numpy().astype(np.float64)
        said = np.array(pc.list_element(part["top"], 0).to_pylist()) == positive
        truth = np.array(part["truth"].to_pylist()) == positive
        yield "roc_auc", roc_auc(np.where(said, best, 1 - best), truth)
    if source.metric == "mean_top1_top5":
        ranks = ranks_of(part)
        each = ((ranks < 1).astype(np.float64) + (ranks < 5)) / 2
        yield (
            source.metric,
            Rate(float(each.mean()), len(each), float(each.std() / len(each) ** 0.5)),
        )


def _chances(answers: pa.Table) -> Iterator[tuple[str, Rate]]:
    """What drawing the answers blindly would give, for every rate at k."""
    for task, (prefix, ks) in MEASURES.items():
        part = answers_of(answers, task=task) if task != ZERO_SHOT else _naming(answers)
        candidates, partners = part["candidates"].to_numpy(), part["partners"].to_numpy()
        for k in (_asked(part, ks) if task == ZERO_SHOT else ks) if len(part) else ():
            level = float(chance(candidates, partners, k).mean())
            yield f"{prefix}{k}", Rate(level, len(part), 0.0)


def _asked(answers: pa.Table, ks: tuple[int, ...]) -> list[int]:
    """The k that say something: among fewer than k candidates every answer is a hit."""
    return [k for k in ks if k <= (pc.max(answers["candidates"]).as_py() or 0)]


def _naming(answers: pa.Table) -> pa.Table:
    """Answers of zero-shot naming and of probes, of those by one seed."""
    tasks = [t for t in pc.unique(answers["task"]).to_pylist() if t.startswith((ZERO_SHOT, PROBE))]
    return answers_of(answers, task=tasks[0]) if tasks else answers.slice(0, 0)


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
            yield score_row((suite, shift, "held", metric), found.model, level)


def score_row(place: tuple[str, str, str, str], model: str, found: Rate) -> Row:
    """A row of `scores`; `place` is (suite, dataset, split, metric)."""
    return {
        **dict(zip(("suite", "dataset", "split", "metric"), place, strict=True)),
        "model": model,
        "value": found.value,
        "n": found.n,
        "standard_error": found.standard_error,
    }
