"""What the page on screens is made of: plain data. What is left empty leaves out its section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluators.report.inputs import Row, Run


@dataclass(frozen=True)
class Drawn:
    """A box over a picture."""

    label: str
    box: tuple[float, float, float, float]
    """x0 x1 y0 y1 in thousandths of the picture."""
    colour: str
    """As CSS has it."""
    dashed: bool = False


@dataclass(frozen=True)
class Screen:
    """A screen with boxes over it."""

    image: bytes
    name: str
    boxes: Sequence[Drawn] = ()
    note: str = ""


@dataclass(frozen=True)
class Contents:
    """What annotated screens hold, counted."""

    screens: int
    statuses: Mapping[str, int]
    details: Sequence[tuple[str, str, int]]
    """Status, detail, screens: the commonest."""
    more_details: int
    classes: Sequence[tuple[str, int, int]]
    """Class, its elements, those of them that say something."""
    icons: Sequence[tuple[str, int]]
    """Names that icons got, the commonest."""
    median: int
    """Elements of a screen."""
    most: int
    written: int
    """Screens in the released form."""
    exact: int
    """Of them, those that read back as they were."""


@dataclass(frozen=True)
class Worst:
    """A screen that was annotated badly, and why."""

    screen: Screen
    f1: float
    precision: float
    recall: float
    missed: Sequence[tuple[str, int, int]]
    """Class, elements missed, true ones; most missed first."""
    made_up: Sequence[tuple[str, int]]
    """Class, elements that are none."""
    word_f1: float
    unread: Sequence[str]
    """Words that stand on the screen and were not read."""
    misread: Sequence[str]
    """Words that were read and do not stand on it."""


@dataclass(frozen=True)
class Asked:
    """A kept task."""

    kind: str
    text: str
    answer: str
    author: str
    place: int
    """Number of its box on the screen, 0 without one."""


@dataclass(frozen=True)
class AskedScreen:
    """A screen with its kept tasks."""

    screen: Screen
    tasks: Sequence[Asked]


@dataclass(frozen=True)
class Tasks:
    """What was asked of screens."""

    writer: str
    """Name of the model that worded the tasks."""
    screens: int
    words: Sequence[tuple[str, int, int]]
    """Status, items in the model's words, in the program's."""
    kinds: Sequence[tuple[str, int, int, int, int, int]]
    """Kind; of the model's: worded, kept; its own answers: asked, right; kept of the program's."""
    examples: Sequence[AskedScreen]


@dataclass(frozen=True)
class Step:
    """A step of annotation: where the time goes."""

    name: str
    screens: int
    seconds: float


@dataclass(frozen=True)
class ScreensInputs:
    """One page."""

    title: str
    created: str = ""
    introduction: str = ""
    contents: Contents | None = None
    browse: str = ""
    """Link to the page with screens and schemas side by side."""
    csv: str = ""
    """Link to the released form."""
    overlays: Sequence[Screen] = ()
    scores: Sequence[Row] = ()
    """Rows of `scores` datasets."""
    goals: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    """What a figure should reach, by its suite, split and metric."""
    worst: Sequence[Worst] = ()
    tasks: Tasks | None = None
    steps: Sequence[Step] = ()
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage."""
    runs: Sequence[Run] = ()
    manifests: Mapping[str, Row] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[str] = ()
    left_out: Sequence[str] = ()
