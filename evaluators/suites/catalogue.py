"""The evaluation sets that the scoreboard knows, read from the JSON files beside this module.

    clip27.json      the 27 sets of CLIP's table 9 (arXiv 2103.00020), with its prompts
    shifts.json      the 7 natural shifts of ImageNet of its section 3.3
    retrieval.json   Flickr30k and COCO
    packages.json    sets that come inside packages and so run on any machine
    imagenet.json    names and WordNet ids of ImageNet's classes and of two subsets

A set is data: classes, templates, metric, sizes, the layouts in which it is published, and the
command that gets it. Each file names where its content comes from.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES = ("clip27", "shifts", "retrieval", "packages")
METRICS = ("top1", "mean_per_class", "roc_auc", "mean_top1_top5", "map_11_point", "recall_5")
Layout = Mapping[str, Any]


@dataclass(frozen=True)
class ClassList:
    """Names as prompts have them, and the ids that folders have, in one order."""

    names: tuple[str, ...]
    ids: tuple[str, ...] = ()
    alike: frozenset[str] = frozenset()
    """Names that two classes of the larger list share, of which this one may hold only one."""

    def unique(self) -> tuple[str, ...]:
        """The names with the id behind those that stand twice, as ImageNet's "missile" does."""
        count = Counter(self.names)
        ids = self.ids or tuple(str(index) for index in range(len(self.names)))
        pairs = zip(self.names, ids, strict=True)
        return tuple(
            name if count[name] == 1 and name not in self.alike else f"{name} ({key})"
            for name, key in pairs
        )


@dataclass(frozen=True)
class SetSpec:
    """One evaluation set as the catalogue has it."""

    name: str
    title: str
    kind: str
    """classification, shift or retrieval."""
    n_classes: int
    sizes: Mapping[str, int | None]
    """Pictures a split, None where the split is not published."""
    metric: str
    """The one that the set is cited by; one of METRICS."""
    templates: tuple[str, ...]
    classes: ClassList | None
    """None where the data's own folder names are the classes."""
    wds: str
    """Name in CLIP_benchmark's WebDataset layout, without wds_."""
    layouts: tuple[Layout, ...]
    """Published layouts below the root; see `evaluators.suites.layouts`."""
    get: str
    """The command, or the words, that get it; ROOT stands for the data root."""
    shift_of: str = ""
    """The set in distribution."""
    source: str = ""
    """Where names, templates and figures come from."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else the file says of the set."""


def load_file(name: str) -> list[SetSpec]:
    """The sets of one file.

    Raises:
        ValueError: a set without a known metric, or a class list of another length than promised;
            the message names both.
    """
    path = Path(__file__).with_name(f"{name}.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    return [_spec(row, found["kind"], found["source"]) for row in found["sets"]]


def _spec(row: Mapping[str, Any], kind: str, source: str) -> SetSpec:
    known = set(SetSpec.__dataclass_fields__)
    values: dict[str, Any] = {key: value for key, value in row.items() if key in known}
    extra = {key: value for key, value in row.items() if key not in known}
    classes = class_list(row["classes"])
    values |= {
        "classes": classes,
        "templates": tuple(row["templates"]),
        "layouts": tuple(row["layouts"]),
    }
    spec = SetSpec(**({"kind": kind, "source": source} | values), extra=extra)
    if spec.metric not in METRICS:
        raise ValueError(f"{spec.name}: metric {spec.metric!r}; legal: {METRICS}")
    if classes is not None and spec.n_classes != len(classes.names):
        raise ValueError(f"{spec.name}: {len(classes.names)} classes, {spec.n_classes} promised")
    return spec


def class_list(value: str | Sequence[str] | None) -> ClassList | None:
    """A list of names, or the name of a list in imagenet.json."""
    if value is None:
        return None
    if isinstance(value, str):
        lists = json.loads(Path(__file__).with_name("imagenet.json").read_text(encoding="utf-8"))
        found, count = lists["lists"][value], Counter(lists["lists"]["imagenet"]["names"])
        alike = frozenset(name for name, times in count.items() if times > 1)
        return ClassList(tuple(found["names"]), tuple(found["ids"]), alike)
    return ClassList(tuple(value))


@functools.cache
def catalogue() -> Mapping[str, SetSpec]:
    """Every set by its name. Raises ValueError if two share one."""
    found: dict[str, SetSpec] = {}
    for spec in (spec for name in FILES for spec in load_file(name)):
        if spec.name in found:
            raise ValueError(f"two sets are called {spec.name!r}; legal: every set has its own")
        found[spec.name] = spec
    return found
