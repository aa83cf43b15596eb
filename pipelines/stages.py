"""Batch callables lifted to Ray Data: read shards, run each step, write shards, resume at the row.

    read_parquet -> step -> step -> ... -> write_parquet

A step is a plain callable from a table to a table. A class is made once an actor and may hold a
model; a function runs in tasks. Each says which columns it reads and which it writes, and the whole
chain is checked before anything runs. Steps overlap: while a model has one batch, the next are
being decoded. After a kill, a rerun on the same folder goes on (`pipelines.resume`).
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines import resume
from pipelines.datasets import Dataset
from pipelines.engines import Engines, ray_session

ID = "image_id"


@dataclass(frozen=True)
class Step:
    """A batch callable and how it runs."""

    make: Any
    """A class, made with `arguments`, or a function from a table to a table."""
    reads: Sequence[str]
    """Columns that it needs."""
    writes: Sequence[str] = ()
    """Columns that it adds or makes anew; those it reads stay unless in `drops`."""
    drops: Sequence[str] = ()
    """Columns that end with it."""
    arguments: tuple[Any, ...] = ()
    """Of the class."""
    batch_rows: int = 256
    """Rows of a table."""
    workers: int = 0
    """Actors or tasks at a time; 0: one a core."""
    gpus: float = 0.0
    """Of each worker, fractions allowed."""
    at_once: int = 1
    """Tables that an actor works on together, in threads."""


def check(columns: Sequence[str], steps: Sequence[Step], wanted: Sequence[str]) -> None:
    """Whether every step finds its columns, and the last one leaves those wanted.

    Raises ValueError naming the step and the columns.
    """
    there = set(columns)
    for step in steps:
        missing = sorted(set(step.reads) - there)
        if missing:
            name = getattr(step.make, "__name__", type(step.make).__name__)
            raise ValueError(f"{name} reads {missing}; before it there are {sorted(there)}")
        there = (there | set(step.writes)) - set(step.drops)
    missing = sorted(set(wanted) - there)
    if missing:
        raise ValueError(f"no step writes {missing}; at the end there are {sorted(there)}")


def write_mapped(
    source: Dataset,
    folder: str,
    steps: Sequence[Step],
    schema: pa.Schema,
    engines: Engines,
    *,
    columns: Sequence[str],
    label: str,
    shard_rows: int = 1000,
    parquet: dict[str, Any] | None = None,
) -> None:
    """Put `columns` of every row of `source` through `steps` into shards of `schema` in `folder`.

    One row comes out for each that goes in, image_id unchanged. Goes on where a killed run on the
    same folder stopped. Raises RuntimeError if a row were lost.

    Args:
        label: of the progress line.
        parquet: options of the Parquet writer.
    """
    check(columns, steps, schema.names)
    resume.adopt(folder, ID)
    missing = source.manifest.rows - len(resume.done_ids(folder, ID))
    if missing > 0:
        run = resume.new_run(folder)
        with ray_session(engines), progress(label, run, missing):
            try:
                _run(source, folder, run, steps, columns, shard_rows, parquet or {})
            except OSError as error:
                raise OSError(error.errno, f"cannot write {folder}: {error}") from error
        resume.adopt(folder, ID)
    written = len(resume.done_ids(folder, ID))
    if written != source.manifest.rows:
        raise RuntimeError(f"{folder} holds {written} rows for {source.manifest.rows}")


def _run(
    source: Dataset,
    folder: str,
    run: str,
    steps: Sequence[Step],
    columns: Sequence[str],
    shard_rows: int,
    parquet: dict[str, Any],
) -> None:
    """Read, map and write what is not done yet; the shards go to the folder `run`.

    All stages ask Ray for no CPU and are bounded by their numbers instead: the filter of Ray Data's
    checkpointing asks for a whole one and would wait for ever on a small machine.
    """
    import ray.data
    from ray.data.checkpoint import CheckpointConfig

    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    blocks = -(-source.manifest.rows // steps[0].batch_rows)
    ray.data.DataContext.get_current().use_datasource_v2 = False  # it starts five more processes
    rows = ray.data.read_parquet(
        source.shards,
        columns=list(columns),
        num_cpus=0,
        concurrency=min(cores, len(source.shards)),
        override_num_blocks=blocks,
    )
    rows.context.checkpoint_config = CheckpointConfig(
        id_column=ID,
        checkpoint_path=resume.write_checkpoint(folder, ID),
        delete_checkpoint_on_success=False,
    )
    for step in steps:
        rows = _mapped(rows, step, cores)
    rows.write_parquet(
        run,
        min_rows_per_file=shard_rows,
        ray_remote_args={"num_cpus": 0},
        concurrency=max(1, cores // 2),  # writing is lighter than any step
        **parquet,
    )


def _mapped(rows: Any, step: Step, cores: int) -> Any:
    """One step on Ray Data."""
    import ray.data

    workers = step.workers or cores
    settings: dict[str, Any] = {
        "batch_size": step.batch_rows,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
        "num_cpus": 0,
        "num_gpus": step.gpus or None,
    }
    if not isinstance(step.make, type):
        return rows.map_batches(
            step.make, compute=ray.data.TaskPoolStrategy(size=workers), **settings
        )
    pool = ray.data.ActorPoolStrategy(
        size=workers,
        max_concurrent_calls_per_actor=step.at_once,
        enable_true_multi_threading=step.at_once > 1,
    )
    return rows.map_batches(step.make, fn_constructor_args=step.arguments, compute=pool, **settings)


@contextlib.contextmanager
def progress(label: str, run: str, total: int) -> Iterator[None]:
    """A line on the terminal, if there is one, that follows the rows of the shards that `run` has
    finished.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    rate = TextColumn("{task.fields[rate]:.0f} images/s")
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    finished = threading.Event()
    with Progress(*columns) as line:
        task, started = line.add_task(label, total=total, rate=0.0), time.monotonic()

        def follow() -> None:
            while not finished.wait(1.0):
                rows = resume.rows(run)
                line.update(task, completed=rows, rate=rows / (time.monotonic() - started))

        follower = threading.Thread(target=follow, name="progress", daemon=True)
        follower.start()
        try:
            yield
        finally:
            finished.set()
            follower.join()
