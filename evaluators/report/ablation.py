"""The ablation: conditions against each other over seeds, as a page, as JSON and as CSV.

A cell is the mean over seeds with its 95 % t-interval (Student's t, n - 1 degrees of freedom). Two
conditions are compared seed by seed: equal seeds give equal first weights and equal order of
batches. A difference is told apart from nothing where the t-interval of those paired differences
does not hold zero. No figure is corrected for the number of comparisons; the page says how many
there are and how many chance alone would give.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluators.report.capfilt_words import FILTERS, THIN, figure, span
from evaluators.report.inputs import Row
from evaluators.report.lineage import lineage
from evaluators.report.render import template
from evaluators.statistics import Interval

COUNTS = {"corpus_images": "images", "corpus_texts": "texts"}
"""Metrics that are sizes of the corpus, and the heads of their columns."""
SECTIONS = {
    "table": ("The table", "nothing was scored"),
    "differences": ("What is told apart", "fewer than two conditions were scored"),
    "lineage": ("Lineage", "no manifests were given"),
    "config": ("Reproduce", "neither config nor commands were given"),
}


@dataclass(frozen=True)
class Outcome:
    """What a model of one seed, trained on one condition's corpus, scores on held-out pairs."""

    condition: str
    seed: int
    metrics: Mapping[str, float]
    """By name; `corpus_images` and `corpus_texts` are sizes, not scores."""
    model: str = ""
    """Folder of the model, for the lineage."""


@dataclass(frozen=True)
class Wording:
    """What the figures of an ablation are called."""

    heads: Mapping[str, str]
    """Metrics for a person, by their name."""
    lead: Sequence[str]
    """Metrics that the sentences are about; the files have every difference of every metric."""
    row: str = "corpus"
    """What a row of the table is."""
    held_out: str = "pictures"
    """What every model is scored on."""

    def head(self, metric: str) -> str:
        """A metric for a person."""
        return self.heads.get(metric, metric)


CAPFILT = Wording(
    {"image_to_text_r1": "image to text, R@1", "text_to_image_r1": "text to image, R@1"},
    ("image_to_text_r1", "text_to_image_r1", "CIDEr"),
)


@dataclass(frozen=True)
class AblationInputs:
    """One report."""

    title: str
    outcomes: Sequence[Outcome]
    pictures: int
    """Held-out pictures that every model is scored on."""
    words: Wording = CAPFILT
    created: str = ""
    introduction: str = (
        "Each row is a way to make the corpus; on each a fresh model is trained, the same number "
        "of steps, and scored on the same held-out clean pairs."
    )
    manifests: Mapping[str, Row] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[str] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class Difference:
    """The first condition's metric less the second's, over the seeds that both have."""

    metric: str
    first: str
    second: str
    gain: Interval
    seeds: int

    @property
    def apart(self) -> bool:
        """Whether the interval is known and does not hold zero."""
        return self.gain.low > 0 or self.gain.high < 0


def t_interval(values: Sequence[float]) -> Interval:
    """Mean with its 95 % t-interval; NaN ends for fewer than two values."""
    from scipy.stats import t

    found = np.array([v for v in values if math.isfinite(v)], np.float64)
    if not len(found):
        return Interval(math.nan, math.nan, math.nan, math.nan)
    mean = float(found.mean())
    if len(found) < 2:
        return Interval(mean, math.nan, math.nan, math.nan)
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    half = float(t.ppf(0.975, len(found) - 1)) * error
    return Interval(mean, mean - half, mean + half, error)


def conditions(outcomes: Sequence[Outcome]) -> list[str]:
    """In the order of their first outcome."""
    return list(dict.fromkeys(one.condition for one in outcomes))


def metrics(outcomes: Sequence[Outcome]) -> list[str]:
    """Scores in the order that they first come in, without the corpus' sizes."""
    names = dict.fromkeys(name for one in outcomes for name in one.metrics)
    return [name for name in names if name not in COUNTS]


def columns(outcomes: Sequence[Outcome], words: Wording) -> list[str]:
    """The same for a table that a narrow window may cut: what leads stands first."""
    names = metrics(outcomes)
    lead = [name for name in words.lead if name in names]
    return lead + [name for name in names if name not in lead]


def by_seed(outcomes: Sequence[Outcome], condition: str, metric: str) -> dict[int, float]:
    """The metric of a condition; seeds that lack it, or have NaN, are left out."""
    found = {o.seed: o.metrics.get(metric, math.nan) for o in outcomes if o.condition == condition}
    return {seed: value for seed, value in sorted(found.items()) if math.isfinite(value)}


def cell(outcomes: Sequence[Outcome], condition: str, metric: str) -> Interval:
    """Mean over seeds with its interval."""
    return t_interval(list(by_seed(outcomes, condition, metric).values()))


def differences(outcomes: Sequence[Outcome]) -> list[Difference]:
    """Every pair of conditions on every metric, the later condition less the earlier."""
    found = []
    for metric in metrics(outcomes):
        for first, second in itertools.combinations(conditions(outcomes), 2):
            one, other = (by_seed(outcomes, name, metric) for name in (first, second))
            shared = sorted(one.keys() & other.keys())
            gain = t_interval([other[seed] - one[seed] for seed in shared])
            found.append(Difference(metric, second, first, gain, len(shared)))
    return found


def statements(outcomes: Sequence[Outcome], words: Wording = CAPFILT) -> list[str]:
    """Which differences exceed their intervals, in plain words."""
    lead = [d for d in differences(outcomes) if d.metric in words.lead]
    known = [d for d in lead if math.isfinite(d.gain.low)]
    if not known:
        return ["No comparison has two seeds or more, so no difference is told apart from chance."]
    apart = [d for d in known if d.apart]
    names = [words.head(name) for name in words.lead if any(d.metric == name for d in known)]
    said = [
        f"{len(apart)} of {len(known)} comparisons ({'; '.join(names)}; every pair of conditions) "
        f"exceed their 95{THIN}% interval over seeds. Chance alone would give "
        f"{0.05 * len(known):.1f} on average."
    ]
    in_order = sorted(apart, key=lambda d: words.lead.index(d.metric))
    said += [_sentence(d, words.head(d.metric)) for d in in_order]
    if not apart:
        said.append("With these seeds no condition is shown to be better or worse than another.")
    return said


def _sentence(one: Difference, head: str) -> str:
    way = "higher" if one.gain.value > 0 else "lower"
    low, high = sorted((abs(one.gain.low), abs(one.gain.high)))
    gain = Interval(abs(one.gain.value), low, high, 0.0)
    between = span(gain)
    return (
        f"{head}: \u201c{one.first}\u201d is {way} than \u201c{one.second}\u201d by {figure(gain)} "
        f"({between}, {one.seeds} seeds)."
    )


def render_ablation(inputs: AblationInputs) -> str:
    """The page."""
    outcomes, words = inputs.outcomes, inputs.words
    found = {
        "table": bool(outcomes),
        "differences": len(conditions(outcomes)) > 1,
        "lineage": bool(inputs.manifests),
        "config": bool(inputs.config or inputs.commands),
    }
    sections = [(name, title) for name, (title, _) in SECTIONS.items() if found[name]]
    missing = [(title, why) for name, (title, why) in SECTIONS.items() if not found[name]]
    page = template("ablation.html", FILTERS)
    return page.render(
        inputs=inputs,
        sections=sections,
        missing=missing,
        heads=[words.head(name) for name in columns(outcomes, words)],
        sizes=_sizes(outcomes),
        rows=list(_rows(outcomes, columns(outcomes, words))),
        statements=statements(outcomes, words) if found["differences"] else [],
        against=_against_first(outcomes, words),
        seeds=len({one.seed for one in outcomes}),
        lineage=lineage(inputs.manifests),
    )


def _sizes(outcomes: Sequence[Outcome]) -> list[str]:
    return [head for name, head in COUNTS.items() if any(name in o.metrics for o in outcomes)]


def _rows(outcomes: Sequence[Outcome], shown: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row a condition; the best mean of each metric that is shown is marked."""
    cells = {c: {m: cell(outcomes, c, m) for m in shown} for c in conditions(outcomes)}
    known = {m: [of[m].value for of in cells.values() if math.isfinite(of[m].value)] for m in shown}
    for condition, of in cells.items():
        sizes = [
            cell(outcomes, condition, name).value
            for name in COUNTS
            if any(name in o.metrics for o in outcomes)
        ]
        best = {m for m in of if known[m] and of[m].value == max(known[m])}
        marked = [(one, metric in best) for metric, one in of.items()]
        seeds = len({o.seed for o in outcomes if o.condition == condition})
        yield {"condition": condition, "sizes": sizes, "cells": marked, "seeds": seeds}


def _against_first(outcomes: Sequence[Outcome], words: Wording) -> list[Difference]:
    """The leading metrics of every condition less the first's."""
    first = conditions(outcomes)[:1]
    return [d for d in differences(outcomes) if [d.second] == first and d.metric in words.lead]


def _plain(value: float) -> float | None:
    """JSON knows no NaN: unknown is null."""
    return value if math.isfinite(value) else None


def _told(one: Interval) -> dict[str, float | None]:
    return {"value": _plain(one.value), "low": _plain(one.low), "high": _plain(one.high)}


def ablation_json(outcomes: Sequence[Outcome]) -> str:
    """Outcomes, means with intervals, and every difference, as JSON."""
    names = [*(n for n in COUNTS if any(n in o.metrics for o in outcomes)), *metrics(outcomes)]
    found = {
        "outcomes": [
            {"condition": o.condition, "seed": o.seed}
            | {"metrics": {name: _plain(value) for name, value in o.metrics.items()}}
            for o in outcomes
        ],
        "conditions": {
            c: {name: _told(cell(outcomes, c, name)) for name in names}
            for c in conditions(outcomes)
        },
        "differences": [
            {"metric": d.metric, "first": d.first, "second": d.second, "seeds": d.seeds}
            | _told(d.gain)
            | {"apart": d.apart}
            for d in differences(outcomes)
        ],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def ablation_csv(outcomes: Sequence[Outcome]) -> str:
    """A line a condition and metric: mean over seeds, interval, number of seeds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["condition", "metric", "mean", "low", "high", "seeds"])
    for condition in conditions(outcomes):
        for metric in metrics(outcomes):
            one, n = (
                cell(outcomes, condition, metric),
                len(by_seed(outcomes, condition, metric)),
            )
            ends = [_plain(v) for v in (one.value, one.low, one.high)]
            writer.writerow([condition, metric, *("" if v is None else v for v in ends), n])
    return out.getvalue()
