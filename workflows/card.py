"""A dataset's or a checkpoint's card as Markdown, filled in from manifests.

sightmill card corpus/samples > README.md
sightmill card checkpoints/clip --scores scores --out checkpoints/clip.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Card:
    """What a dataset or a checkpoint is: contents, sources, drops, training, uses and limits."""

    path: Annotated[str, tyro.conf.Positional]
    """Folder of a dataset, or of a checkpoint (ours or published)."""
    scores: str = ""
    """Folder of a score run of the checkpoint, for its card."""
    out: str = ""
    """File to write; empty: print it."""

    def run(self) -> None:
        """Write or print the card."""
        from evaluators.history import read_runs
        from evaluators.report.cards.given import card_of
        from pipelines.storage import write_bytes

        rows = [row for run in read_runs([self.scores]) for row in run.rows] if self.scores else []
        text = card_of(self.path, rows).markdown()
        if not self.out:
            print(text, end="")
            return
        write_bytes(self.out, text.encode("utf-8", "replace"))
        print(f"Card: {self.out}")
