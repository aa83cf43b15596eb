"""One run of a recipe: the folder that it writes, its engines, and what a person sees."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.engines import Engines
from workflows.console import Console, Update

Write = Callable[[str, Update], Mapping[str, int]]
"""Fills a folder with shards, reports progress, returns drop counts by reason."""


@dataclass(frozen=True)
class Job:
    """A recipe's run."""

    out: str
    """Folder of the run's datasets."""
    engines: Engines = field(default_factory=Engines)
    """Where the stages run."""
    console: Console = field(default_factory=Console)
    """Progress and the table at the end."""

    def at(self, folder: str) -> str:
        """Path of one of the run's folders."""
        return posixpath.join(self.out, folder)

    def build(
        self,
        label: str,
        name: str,
        write: Write,
        *,
        folder: str = "",
        config: object = None,
        seed: int = 0,
        parents: Sequence[Dataset] = (),
        content_hash: Callable[[str], str] | None = None,
    ) -> Dataset:
        """`datasets.build` of dataset `name` in `folder` (empty: its name), as a visible stage."""
        return self.console.stage(
            label,
            lambda update: datasets.build(
                self.at(folder or name),
                name=name,
                config={} if config is None else config,
                seed=seed,
                parents=parents,
                write=lambda path: write(path, update),
                content_hash=content_hash,
            ),
        )
