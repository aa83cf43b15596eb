"""Sets of the protocols whose answers are not one of a list: composed queries, captions, answers.

    composed.json      Pic2Word's four benchmarks (arXiv 2302.03084)
    captioning.json    COCO's Karpathy test split, NoCaps
    vqa.json           VQAv2, OK-VQA, GQA

An entry names the files that the set is published in and the command that gets them. What was found
is told by the same `Audit` as of classification sets.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluators.suites.found import EXAMPLES, Audit, Damage
from pipelines import hashing
from pipelines.pictures import flaw

FILES = ("composed", "captioning", "vqa")


@dataclass(frozen=True)
class OpenSet:
    """One set as the catalogue has it."""

    name: str
    title: str
    protocol: str
    """Name of its file: composed, captioning or vqa."""
    layout: Mapping[str, Any]
    """`kind`, and the files that this kind of layout reads, below the root."""
    size: int | None
    """Queries or questions, as published; None where it is not told."""
    get: str
    """The command, or the words, that get it; ROOT stands for the data root."""
    source: str = ""
    """Where layout and figures come from."""

    def needed(self, root: Path) -> list[Path]:
        """The files without which there is nothing to ask."""
        return [root / file for file in self.layout["needs"]]


@functools.cache
def open_catalogue() -> Mapping[str, OpenSet]:
    """Every set by its name. Raises ValueError if two share one."""
    found: dict[str, OpenSet] = {}
    for file in FILES:
        path = Path(__file__).with_name(f"{file}.json")
        values = json.loads(path.read_text(encoding="utf-8"))
        for row in values["sets"]:
            if row["name"] in found:
                raise ValueError(f"two sets are called {row['name']!r}; legal: one of each name")
            found[row["name"]] = OpenSet(**row, protocol=file, source=values["source"])
    return found


@dataclass
class Tally:
    """What passes while a set is read."""

    flaws: dict[str, list[str]] = field(default_factory=dict)
    count: int = 0

    def flaw(self, kind: str, what: str) -> None:
        """Count a flaw and remember what it was seen at."""
        self.flaws.setdefault(kind, []).append(what)

    def look(self, origin: str, image: bytes) -> None:
        """Count a picture that is missing or cannot be decoded."""
        if wrong := flaw(image):
            self.flaw("corrupt_image" if image else "missing_image", f"{origin}: {wrong}")

    def audit(self, spec: OpenSet) -> Audit:
        """What was found against what was published."""
        damage = [Damage(k, len(v), v[:EXAMPLES]) for k, v in sorted(self.flaws.items())]
        if spec.size is not None and spec.size != self.count:
            told = f"{self.count:,} found, {spec.size:,} published"
            damage.append(Damage("wrong_size", abs(spec.size - self.count), [told]))
        status = "damaged" if damage else "ok"
        return Audit(spec.name, status, {"test": self.count}, damage)


def absent(spec: OpenSet, root: Path) -> Audit | None:
    """The audit of a set of which a needed file is not there, None if all are."""
    gone = [path for path in spec.needed(root) if not path.exists()]
    if not gone:
        return None
    damage = [Damage("missing_file", len(gone), [str(p) for p in gone[:EXAMPLES]])]
    whole = len(gone) < len(spec.layout["needs"])
    get = spec.get.replace("ROOT", str(root))
    return Audit(spec.name, "damaged" if whole else "missing", {}, damage if whole else [], get)


def listing(spec: OpenSet, root: Path) -> str:
    """Changes with any file that the set needs, or below a folder that it needs."""
    found = []
    for path in spec.needed(root):
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            about = file.stat()
            found.append([file.relative_to(root).as_posix(), about.st_size, about.st_mtime_ns])
    return hashing.hash_json(found)
