"""What CapFilt's report is made of: plain data, filled by the recipe or, in a test, by hand.

The filter is judged where the truth is known: captions of other pictures put in place of the own.
Captions are judged beside what the web said of the same pictures, by the same clean references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluators.pair_filter import Curve, FilterScore
from evaluators.report.inputs import Row, Run, Stage
from evaluators.statistics import Floats, Interval


@dataclass(frozen=True)
class ShownText:
    """A text with what the filter said of it."""

    text: str
    kind: str
    """web or synthetic."""
    probability: float
    """Of matching, NaN where there is none."""
    similarity: float
    """Cosine of the contrastive features, NaN where there is none."""
    verdict: str
    """kept, or the reason of the drop."""


@dataclass(frozen=True)
class Example:
    """A picture, the text that it is shown for, and its first text of the other kind."""

    image: bytes | None
    shown: ShownText
    other: ShownText | None = None


@dataclass(frozen=True)
class Block:
    """Examples of one kind and one fate."""

    title: str
    blind: Sequence[Example]
    """Drawn by hash."""
    surest: Sequence[Example]
    """Those of which the filter is surest."""
    count: int
    """Texts of this kind and fate in the whole corpus."""


@dataclass(frozen=True)
class KeptShares:
    """Share of the corpus' texts that a threshold keeps: (K,) thresholds, ascending, and shares."""

    thresholds: Floats
    web: Floats
    synthetic: Floats
    web_texts: int
    synthetic_texts: int
    web_kept: Interval
    """At the rule's threshold."""
    synthetic_kept: Interval


@dataclass(frozen=True)
class Swaps:
    """The filter against captions swapped on purpose: a swapped one is what is to be found."""

    curve: Curve
    """Its thresholds are of the filter's own value: a text under it is dropped, ascending."""
    score: FilterScore
    """At the rule's threshold."""
    noise_left: float
    """Share of swapped captions among those that the rule keeps; NaN where it keeps none."""
    by_other: Mapping[str, Interval] = field(default_factory=dict)
    """Average precision by the filter's other value, which the rule does not ask: name, figure."""


@dataclass(frozen=True)
class MetricLine:
    """One metric of several sets of captions, and the first less the last, drawn together."""

    metric: str
    cells: Sequence[Interval]
    difference: Interval | None = None


@dataclass(frozen=True)
class CaptionTable:
    """Caption metrics over the same pictures."""

    title: str
    pictures: int
    columns: Sequence[str]
    lines: Sequence[MetricLine]
    compares: bool = False
    """Whether the last column is the web's texts, and the lines have a difference."""


@dataclass(frozen=True)
class CapFiltInputs:
    """One report; what is left empty leaves out its section."""

    title: str
    threshold: float
    """The rule's."""
    by: str
    """What the rule compares with it: probability or similarity."""
    created: str = ""
    introduction: str = ""
    swaps: Swaps | None = None
    kept: KeptShares | None = None
    captions: Sequence[CaptionTable] = ()
    retrieval: Mapping[str, Interval] = field(default_factory=dict)
    """Metric to figure, of the filter's contrastive features."""
    funnel: Sequence[Stage] = ()
    blocks: Sequence[Block] = ()
    runs: Sequence[Run] = ()
    manifests: Mapping[str, Row] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[str] = ()
    left_out: Sequence[str] = ()
    """What was not measured and why, a sentence each."""
