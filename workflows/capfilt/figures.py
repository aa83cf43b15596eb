"""CapFilt's figures, counted from answers and from the captioned corpus; no model runs here.

The filter's value of a text is its probability or its cosine, whichever the rule compares; a text
that was not judged has the least there is, so that it counts as dropped, as the rule drops it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa

from annotators.capfilt import SYNTHETIC, WEB, Rule, verdict
from evaluators.captions.diversity import diversity
from evaluators.captions.score import CaptionScores, score_captions
from evaluators.captions.scored import Scored
from evaluators.pair_filter import Curve, FilterScore, curve, score_filter
from evaluators.statistics import Floats, Interval, bootstrap_weights, interval, rate, wilson
from pipelines.datasets import Dataset

RESAMPLES = 1000
SPLIT_ALL, SPLIT_SWAPPED, SPLIT_TWINS = "all", "swapped", "twins"
KEPT = "kept"
WRITERS = {"written": "captioner", "beam": "captioner, beam", "web": "web texts"}
"""By column of the answers, the name in the scores."""
LEAST: dict[Literal["probability", "similarity"], float] = {"probability": 0.0, "similarity": -1.0}


@dataclass(frozen=True)
class Told:
    """One figure."""

    split: str
    """all; swapped (a share of captions are others'); twins (pictures that the web shows too)."""
    metric: str
    model: str
    interval: Interval
    n: int


@dataclass(frozen=True)
class Captions:
    """Metrics of several sets of captions of the same pictures."""

    pictures: int
    names: Sequence[str]
    """Columns of the answers."""
    scored: Sequence[dict[str, Interval]]
    difference: dict[str, Interval]
    """Of the first less the last, where that is the web's."""
    left_out: dict[str, str]
    """Metric to why it is missing."""


def values(answers: pa.Table, rule: Rule) -> Floats:
    """What the rule compares with its threshold (N,)."""
    found = answers.column(rule.by).to_numpy().astype(np.float64)
    statuses = np.array(answers.column("status").to_pylist())
    judged = np.isin(statuses, ("ok", "too_long")) & np.isfinite(found)
    return np.where(judged, found, LEAST[rule.by])


def swap_score(answers: pa.Table, rule: Rule, seed: int) -> FilterScore:
    """Finding swapped captions by a value under the rule's threshold."""
    found, wrong = values(answers, rule), answers.column("swapped").to_numpy()
    under = float(np.nextafter(-rule.threshold, math.inf))  # -v >= this just where v < threshold
    return score_filter(-found, wrong, threshold=under, resamples=RESAMPLES, seed=seed)


def by_other(answers: pa.Table, rule: Rule, seed: int) -> dict[str, Interval]:
    """Average precision of finding swapped captions by the value that the rule does not ask, where
    the filter gives it.
    """
    others = [
        by for by in LEAST if by != rule.by and np.isfinite(answers.column(by).to_numpy()).any()
    ]
    rules = {by: replace(rule, by=by) for by in others}
    return {str(by): swap_score(answers, one, seed).average_precision for by, one in rules.items()}


def swap_curve(answers: pa.Table, rule: Rule) -> Curve:
    """The curve of finding swapped captions; its thresholds are the filter's values, ascending."""
    whole = curve(-values(answers, rule), answers.column("swapped").to_numpy())
    columns = (-whole.thresholds, whole.precision, whole.recall, whole.kept)
    return Curve(*(column[::-1].copy() for column in columns))


def noise_left(answers: pa.Table, rule: Rule) -> float:
    """Share of swapped captions among those that the rule keeps; NaN where it keeps none."""
    kept = values(answers, rule) >= rule.threshold
    wrong = answers.column("swapped").to_numpy()
    return float(wrong[kept].mean()) if kept.any() else math.nan


def compare_captions(answers: pa.Table, names: Sequence[str], seed: int) -> Captions:
    """Caption metrics of those columns, over the rows that have all of them."""
    rows = [row for row in answers.to_pylist() if all(row[name] is not None for name in names)]
    references = tuple(row["text"] for row in rows)
    texts = [[row[name] for row in rows] for name in names]
    if not rows:
        return Captions(0, names, [{} for _ in names], {}, {})
    every = [_score(tuple(of_one), references) for of_one in texts]
    scored = [of_one.scores for of_one in every]
    plain = [caption_metrics(of_one, references, seed) for of_one in texts]
    gains: dict[str, Interval] = {}
    if len(names) > 1 and names[-1] == "web":
        gains = {m: gain(scored[0][m], scored[-1][m], seed) for m in scored[0]}
    return Captions(len(rows), names, plain, gains, every[0].left_out)


def caption_metrics(
    captions: Sequence[str], references: Sequence[str], seed: int
) -> dict[str, Interval]:
    """Every metric of captions against one reference each, and how much the captions vary."""
    scored = _score(tuple(captions), tuple(references)).scores
    return {m: one.interval(RESAMPLES, seed) for m, one in scored.items()} | _variety(captions)


@lru_cache(maxsize=8)
def _score(captions: tuple[str, ...], references: tuple[str, ...]) -> CaptionScores:
    """One reference a caption. METEOR's tables take seconds to read: the scores and the report
    ask for the same sets.
    """
    return score_captions(captions, [[one] for one in references])


def gain(ours: Scored, theirs: Scored, seed: int) -> Interval:
    """The first's corpus score less the second's, over the same pictures in every draw."""
    weights_RN = bootstrap_weights(len(ours.per_image), RESAMPLES, seed)
    mine, other = (one.corpus(weights_RN @ one.counts_NS) for one in (ours, theirs))
    return interval(ours.value - theirs.value, mine - other)


def _variety(captions: Sequence[str]) -> dict[str, Interval]:
    said = diversity(captions)
    named = {f"distinct-{n}": value for n, value in enumerate(said.distinct, start=1)}
    return {name: Interval(v, math.nan, math.nan, math.nan) for name, v in named.items()}


def captions_asked(answers: pa.Table) -> list[str]:
    """Columns of captions that the answers hold."""
    return [n for n in ("written", "beam") if answers.column(n).null_count < len(answers)]


def figures(answers: pa.Table, rule: Rule, seed: int) -> Iterator[Told]:
    """Every figure that the answers give."""
    score = swap_score(answers, rule, seed)
    for metric in ("average_precision", "precision", "recall", "f1"):
        yield Told(SPLIT_SWAPPED, metric, "filter", getattr(score, metric), score.pairs)
    for by, average in by_other(answers, rule, seed).items():
        yield Told(SPLIT_SWAPPED, f"average_precision_by_{by}", "filter", average, score.pairs)
    asked = captions_asked(answers)
    for split, names in ((SPLIT_ALL, asked), (SPLIT_TWINS, [*asked, "web"])):
        found = compare_captions(answers, names, seed)
        for name, metrics in zip(found.names, found.scored, strict=True):
            for metric, one in metrics.items():
                yield Told(split, metric, WRITERS[name], one, found.pictures)
        for metric, one in found.difference.items():
            model = f"{WRITERS[found.names[0]]} less {WRITERS['web']}"
            yield Told(split, metric, model, one, found.pictures)


def kept_counts(captioned: Dataset, rule: Rule) -> list[Told]:
    """Share of web and of written texts that the rule keeps."""
    counts: Counter[tuple[str, bool]] = Counter()
    for batch in captioned.batches(["texts"]):
        for texts in batch.column(0).to_pylist():
            counts.update((text["kind"], verdict(text, rule) == "kept") for text in texts)
    return [
        Told(kind, KEPT, "filter", share(counts[kind, True], n), n)
        for kind in (WEB, SYNTHETIC)
        if (n := counts[kind, True] + counts[kind, False])
    ]


def share(some: int, n: int) -> Interval:
    """A rate with Wilson's interval; NaN of nothing."""
    if not n:
        return Interval(math.nan, math.nan, math.nan, math.nan)
    return Interval(some / n, *wilson(some, n), rate(np.arange(n) < some).standard_error)
