"""The kinds of suite: pictures to be named, matched with their captions, or learnt from.

A suite is data: which evaluation sets, under which names, with which templates. Its classes are all
those that its sets hold, so that every set is an equally hard contest, and a set may show a few of
the classes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from evaluators.suites.prompts import NAME_ALONE
from pipelines.datasets import Dataset


@dataclass(frozen=True)
class Source:
    """One evaluation set: a `labelled` dataset, or a group of it, such as one drawing hand."""

    dataset: Dataset
    group: str = ""
    """Value of the column `group`; empty takes all rows."""
    classes: tuple[str, ...] = ()
    """The contest, in order, where the set has one of its own; rows of other classes are left out.
    Empty: all classes that the suite's sets hold."""
    said: tuple[str, ...] = ()
    """The same classes as prompts say them; empty: as they are."""
    templates: tuple[str, ...] = ()
    """The set's own prompts; empty: the suite's."""
    metric: str = ""
    """The metric that the set is cited by; top1 unless told."""


def by_group(dataset: Dataset) -> dict[str, Source]:
    """Every group of a `labelled` dataset as a set of its own, under the group's name."""
    groups = sorted(pc.unique(dataset.table(["group"])["group"]).to_pylist())
    return {group: Source(dataset, group) for group in groups}


@dataclass(frozen=True)
class Classification:
    """Sets over one list of classes; one of them may show the training distribution.

    The other sets are shifts of that one. What a shift takes is counted over the held classes,
    which are the classes that the set in distribution shows: the same concepts on both sides.
    """

    name: str
    sets: Mapping[str, Source]
    templates: tuple[str, ...]
    in_distribution: str | None = None
    shifts: tuple[str, ...] = ()
    """Names of the shifted sets; a set may be neither, such as one that was trained on."""

    def __post_init__(self) -> None:
        named = [name for name in (self.in_distribution, *self.shifts) if name is not None]
        unknown = [name for name in named if name not in self.sets]
        if unknown or (self.shifts and self.in_distribution is None):
            raise ValueError(
                f"{self.name}: in_distribution={self.in_distribution!r}, shifts={self.shifts}; "
                f"legal: names of {list(self.sets)}, and no shifts without in_distribution"
            )

    def plan(self) -> dict[str, Any]:
        """What its predictions depend on, besides the sets' rows."""
        return {"name": self.name, "sets": _plan(self.sets), "templates": list(self.templates)}


@dataclass(frozen=True)
class Retrieval:
    """Sets whose class names are captions; equal bytes are one image, equal captions one text."""

    name: str
    sets: Mapping[str, Source]
    template: str = NAME_ALONE[0]

    def plan(self) -> dict[str, Any]:
        """What its predictions depend on, besides the sets' rows."""
        return {"name": self.name, "sets": _plan(self.sets), "template": self.template}


@dataclass(frozen=True)
class Probe:
    """Logistic regression on embeddings: trained on a set's split `train`, asked about `test`.

    C is picked on the split `val`, or on a share of `train` where there is none, and the classifier
    then fitted to both, as in CLIP's appendix A.3. With k shots it is fitted to k images a class.
    """

    name: str
    sets: Mapping[str, Source]
    """Their groups are ignored: the splits are groups of the dataset."""
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    seeds: int = 3
    """Draws of the k images."""
    validation: float = 0.2
    """Share of `train` that C is picked on where there is no `val`."""

    def plan(self) -> dict[str, Any]:
        """What its predictions depend on, besides the sets' rows."""
        settings = [list(self.shots), self.seeds, self.validation]
        return {"name": self.name, "sets": _plan(self.sets), "probe": settings}


Suite = Classification | Retrieval | Probe


def _plan(sets: Mapping[str, Source]) -> dict[str, list[Any]]:
    return {
        name: [
            s.dataset.manifest.content_hash,
            s.group,
            *([list(s.classes), list(s.said), list(s.templates)] if s.classes else []),
        ]
        for name, s in sets.items()
    }


def datasets_of(sources: Iterable[Source]) -> list[Dataset]:
    """The datasets behind evaluation sets, each once, in the order of first use."""
    return list({source.dataset.path: source.dataset for source in sources}.values())


def class_names(suite: Classification | Probe) -> list[str]:
    """The classes of the sets without a list of their own, sorted.

    Names count, since sets may number them differently.
    """
    found: set[str] = set()
    for source in suite.sets.values():
        if source.classes:
            continue
        table = source.dataset.table(["class_name", "group"])
        if source.group:
            table = table.filter(pc.equal(table["group"], source.group))
        found.update(pc.unique(table["class_name"]).to_pylist())
    return sorted(found)
