"""A CLIP checkpoint scored on labelled datasets: zero-shot, and what a shift takes.

sightmill score --checkpoint runs/demo/clip --data runs/demo/tests/* --out scores
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluators.checkpoints import clip_contender
from evaluators.score import ScoreConfig, score
from evaluators.suites.kinds import Classification, Source
from evaluators.suites.prompts import EVERY_STYLE
from pipelines.datasets import Dataset, open_dataset
from pipelines.engines import Engines, ray_session
from workflows.console import Console
from workflows.flags import EngineFlags


@dataclass(frozen=True)
class ScoreRecipe:
    """Score a checkpoint on labelled datasets, zero-shot over the classes that they hold."""

    checkpoint: str
    """Folder of a CLIP checkpoint."""
    data: tuple[str, ...]
    """Folders of labelled datasets; all share one list of classes."""
    out: str
    """Folder of the predictions and the scores."""
    in_distribution: str = ""
    """Name of the one among `data` that shows the training distribution; the others are shifts."""
    templates: tuple[str, ...] = EVERY_STYLE
    """What a class name is put into, {} its place."""
    config: ScoreConfig = field(default_factory=ScoreConfig)
    """Batches and bootstrap."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        console = Console()
        sets = {posixpath.basename(p.rstrip("/")): Source(open_dataset(p)) for p in self.data}
        shifts = tuple(name for name in sets if self.in_distribution not in ("", name))
        suite = Classification(
            "zero-shot", sets, self.templates, self.in_distribution or None, shifts
        )
        model = clip_contender("CLIP", self.checkpoint, open_dataset(self.checkpoint))
        with ray_session(self.engines):
            found = console.stage(
                "score", lambda _: score([model], [suite], self.out, self.config).scores
            )
        show(found, console)


def show(scores: Dataset, console: Console) -> None:
    """Print the figures."""
    for row in rates(scores):
        figure = f"{row['value']:.4f} ± {row['standard_error']:.4f}"
        where = f"{row['suite']}/{row['dataset']}/{row['split']}"
        console.say(f"{row['model']:<28} {where:<40} {row['metric']:<18} {figure} (n {row['n']:,})")


def rates(scores: Dataset) -> Sequence[dict[str, float | int | str]]:
    """Rows of a scores dataset that have a standard error."""
    rows = scores.table().to_pylist()
    return [row for row in rows if row["standard_error"] is not None]
