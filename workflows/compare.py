"""Score runs side by side: what changed between checkpoints, and what of that was luck.

    sightmill compare scores/2026-11-* --out compare
    sightmill compare scores --out compare         # every run below, oldest first

Each run is a folder of `sightmill score` (or of the demo's `score`). The page shows every figure
over the runs, and marks as a regression what fell by more than luck explains.
"""

from __future__ import annotations

import datetime
import posixpath
from dataclasses import dataclass
from typing import Annotated

import tyro

from evaluators.changes import LEVEL, changes
from evaluators.history import read_runs, run_folders, unpaired
from evaluators.report.compare import CompareInputs, summary, write_compare
from pipelines import hashing

INTRODUCTION = (
    "Score runs in the order given. Answers were paired item by item, so a difference is told from "
    "luck where the evaluation sets are the same."
)


@dataclass(frozen=True)
class CompareRecipe:
    """Compare score runs: figures over the runs, regressions flagged by significance."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of score runs, in order; a folder that holds several stands for them, oldest
    first."""
    out: str
    """Folder of compare.html, compare.json, figures.csv and changes.csv."""
    model: str = ""
    """Whose figures are followed, by its name in the scores; empty: each run's first."""
    level: float = LEVEL
    """Adjusted p below which a change is called better or worse."""
    seed: int = 0
    """Of the bootstrap."""
    fail: bool = False
    """Leave with status 1 where there is a regression, so that a scheduler sees it."""

    def run(self) -> int:
        """Write the comparison; returns 1 for a regression where `fail` asks for it."""
        if not 0 < self.level < 1:
            raise ValueError(f"level={self.level}; legal: above 0 and below 1")
        found = read_runs(run_folders(self.runs), self.model)
        inputs = CompareInputs(
            title="Scores over time" if len(found) > 1 else f"Scores of {found[0].name}",
            runs=found,
            changes=changes(found, self.seed),
            created=datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
            introduction=INTRODUCTION,
            config=hashing.config_dict(self),
            commands=[f"sightmill compare {' '.join(self.runs)} --out {self.out}"],
            left_out=unpaired(found),
            level=self.level,
        )
        page = write_compare(inputs, self.out)
        for sentence in summary(inputs):
            print(sentence)
        print(f"Report: {posixpath.normpath(page)}")
        worse = any(one.verdict(self.level) == "worse" for one in inputs.changes)
        return int(self.fail and worse)
