"""The two kinds of suite: pictures to be named, and pictures to be matched with their captions.

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


Suite = Classification | Retrieval


def _plan(sets: Mapping[str, Source]) -> dict[str, list[str]]:
    return {name: [s.dataset.manifest.content_hash, s.group] for name, s in sets.items()}


def datasets_of(sources: Iterable[Source]) -> list[Dataset]:
    """The datasets behind evaluation sets, each once, in the order of first use."""
    return list({source.dataset.path: source.dataset for source in sources}.values())


def class_names(suite: Classification) -> list[str]:
    """The suite's classes, sorted. Names count, since sets may number them differently."""
    found: set[str] = set()
    for source in suite.sets.values():
        table = source.dataset.table(["class_name", "group"])
        if source.group:
            table = table.filter(pc.equal(table["group"], source.group))
        found.update(pc.unique(table["class_name"]).to_pylist())
    return sorted(found)
