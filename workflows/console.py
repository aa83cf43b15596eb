"""What a person sees while a recipe runs: a line a stage with rate and time left, a table at the
end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from pipelines.datasets import Dataset

Update = Callable[[int, int, str], None]
"""Called with (done, total, note); total 0 means that nobody knows."""


@dataclass(frozen=True)
class Finished:
    """One stage as the table at the end shows it."""

    stage: str
    seconds: float
    dataset: Dataset | None


@dataclass
class Console:
    """The terminal of one recipe run; where it is no terminal, plain lines."""

    terminal: Terminal = field(default_factory=lambda: Terminal(stderr=True, highlight=False))
    finished: list[Finished] = field(default_factory=list)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.terminal.print(line, markup=False)

    def stage(self, label: str, make: Callable[[Update], Dataset]) -> Dataset:
        """Run one stage that makes a dataset, with a progress line; note its time and its
        result.
        """
        started = time.monotonic()
        with self._progress(label) as update:
            dataset = make(update)
        seconds = time.monotonic() - started
        self.finished.append(Finished(label, seconds, dataset))
        self.say(f"{label:<24} {_size(dataset):>12}  {seconds:6.1f} s  {_drops(dataset)}")
        return dataset

    @contextlib.contextmanager
    def task(self, label: str) -> Iterator[None]:
        """Run something that makes no dataset of its own."""
        started = time.monotonic()
        with self._progress(label):
            yield
        seconds = time.monotonic() - started
        self.finished.append(Finished(label, seconds, None))
        self.say(f"{label:<24} {'':>12}  {seconds:6.1f} s")

    @contextlib.contextmanager
    def _progress(self, label: str) -> Iterator[Update]:
        if not self.terminal.is_terminal:
            yield lambda done, total, note: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.terminal, transient=True) as progress:
            task = progress.add_task(label, total=None, note="")

            def update(done: int, total: int, note: str) -> None:
                progress.update(task, completed=done, total=total or None, note=note)

            yield update

    def summary(self, title: str) -> None:
        """The table at the end: every stage, its rows, what it dropped, its time, its content
        hash.
        """
        table = Table(title=title, title_justify="left")
        for name in ("stage", "rows", "dropped", "seconds", "rows/s", "content hash"):
            table.add_column(name, justify="left" if name in ("stage", "content hash") else "right")
        for one in self.finished:
            table.add_row(one.stage, *_cells(one))
        seconds = sum(one.seconds for one in self.finished)
        table.add_row("all", "", "", f"{seconds:.1f}", "", "", style="bold")
        self.terminal.print(table)


def _size(dataset: Dataset) -> str:
    manifest = dataset.manifest
    return f"{manifest.rows:,} rows" if manifest.schema else f"{len(manifest.shards)} files"


def _drops(dataset: Dataset) -> str:
    dropped = dataset.manifest.dropped
    most = sorted(dropped.items(), key=lambda item: -item[1])[:3]
    return (
        f"dropped {sum(dropped.values()):,}: " + ", ".join(f"{k} {v:,}" for k, v in most)
        if most
        else ""
    )


def _cells(one: Finished) -> tuple[str, ...]:
    if one.dataset is None:
        return ("", "", f"{one.seconds:.1f}", "", "")
    manifest = one.dataset.manifest
    rate = f"{manifest.rows / one.seconds:,.0f}" if one.seconds > 1 and manifest.rows else ""
    return (
        f"{manifest.rows:,}" if manifest.schema else "",
        f"{sum(manifest.dropped.values()):,}",
        f"{one.seconds:.1f}",
        rate,
        manifest.content_hash[:12],
    )
