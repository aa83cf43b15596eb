"""What a report is made of: plain data, so that a page can be rendered anywhere from anything.

`evaluators.report.collect` fills these from datasets; a test fills them by hand. Whatever is left
empty leaves out its section, and the page says so in a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluators.report.cards.page import CardPage
from evaluators.robustness import Robustness
from evaluators.testbed import Against
from pipelines.web.head_tail import HeadTail

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One step of the funnel: what there was after it, and what it dropped."""

    name: str
    count: int
    unit: str
    """What is counted, in the plural: pages, pairs, images."""
    what: str = ""
    """One sentence on what the step does."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Counts by reason."""


@dataclass(frozen=True)
class Sample:
    """An image with its texts; `reason` says why it was dropped, empty if it was kept."""

    image: bytes | None
    texts: Sequence[str]
    source: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Run:
    """One training run: its logged lines (step, loss, ...) and facts to name."""

    name: str
    lines: Sequence[Mapping[str, float]]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Naming:
    """A zero-shot answer: the picture, its class, and the best classes with probabilities."""

    image: bytes | None
    truth: str
    top: Sequence[tuple[str, float]]
    rank: int
    """Place of the true class, 0 the best."""
    dataset: str


@dataclass(frozen=True)
class Match:
    """A retrieval answer: a picture and its nearest texts, or a text and its nearest pictures."""

    query_text: str
    """The text asked with; of a picture its true caption."""
    query_image: bytes | None
    """The picture asked with, None if a text was."""
    found: Sequence[tuple[str, bytes | None, bool]]
    """The nearest, best first: caption, picture (None for texts), whether it is a right one."""
    rank: int
    """Place of the best right answer, 0 the best."""


@dataclass(frozen=True)
class Shift:
    """A shifted set against the set in distribution, over the same concepts, for every model."""

    suite: str
    in_distribution: str
    shifted: str
    models: Sequence[Robustness]
    standard: Sequence[str]
    """Names of the models that the line is fitted to."""


@dataclass(frozen=True)
class ReportInputs:
    """One report."""

    title: str
    model: str
    """The model that the report is about, by its name in the scores; the others are references."""
    headline: tuple[str, str, str] = ("", "", "")
    """(suite, dataset, split) of the zero-shot figure that leads the page; empty: the first."""
    created: str = ""
    """Date and time, ISO 8601."""
    introduction: str = ""
    """A sentence or two on what was run, for someone who did not run it."""
    funnel: Sequence[Stage] = ()
    queries: HeadTail | None = None
    """Pairs a query, before and after balancing."""
    samples: Sequence[Sample] = ()
    rejected: Sequence[Sample] = ()
    runs: Sequence[Run] = ()
    scores: Sequence[Row] = ()
    """Rows of the `scores` dataset."""
    shifts: Sequence[Shift] = ()
    testbed: Sequence[Against] = ()
    """The model among a table of ImageNet classifiers: `evaluators.testbed.against_testbed`."""
    namings: Sequence[Naming] = ()
    mistakes: Sequence[Naming] = ()
    """The surest wrong answers, set by set: `evaluators.report.examples.mistakes`."""
    matches: Sequence[Match] = ()
    shots: Sequence[Row] = ()
    """Rows of `scores` with the probes and the zero-shot levels beside them."""
    audits: Sequence[Row] = ()
    """Evaluation sets found, damaged and missing: rows of `evaluators.views.audit_rows`."""
    significance: Sequence[Row] = ()
    """The model against the others on the same items: `evaluators.views.significance`."""
    classes: Sequence[Row] = ()
    """Classes with the lowest accuracy: `evaluators.views.worst_classes`."""
    confusions: Sequence[Row] = ()
    """Commonest mistakes: `evaluators.views.common_confusions`."""
    fine_tuned: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Full fine-tuning against zero-shot, a table a title: `evaluators.fine_tuned`."""
    bias: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Probes on faces by group, a table a title: `evaluators.bias`."""
    overlap: Sequence[Row] = ()
    """Contamination check, a row an evaluation set; its keys are the table's columns."""
    overlap_method: str = ""
    """How overlap was looked for, and what would have counted."""
    descriptions: Sequence[CardPage] = ()
    """Cards of the model and of the datasets that it was trained on."""
    manifests: Mapping[str, Row] = field(default_factory=dict)
    """Manifests by the path that the report should name, parents before children."""
    config: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[str] = ()
    """How to reproduce it: shell lines."""
    left_out: Sequence[str] = ()
    """What was not run and why, a sentence each."""
