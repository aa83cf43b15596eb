"""A public set over screens or documents, as it lies in a local folder, to a `questions` dataset.

    sightmill public-screens --name docvqa --root data/docvqa --split val --out runs/public

The sets and the files that each is read from stand in `annotators/screen/public/sets.json`. What is
wrong with a row leaves it out, counted by reason; the first of each are named by file and key.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from annotators.screen.public.read import questions
from annotators.screen.public.sets import Flaws, public_set
from pipelines.datasets import Dataset, write_shard
from pipelines.hashing import hash_json
from pipelines.records import QUESTIONS
from pipelines.storage import file_sha256
from workflows.console import Update
from workflows.job import Job

SHARD_ROWS = 256


@dataclass(frozen=True)
class PublicScreensConfig:
    """Read a public set."""

    name: str
    """Of the set, such as screenqa, docvqa, websrc; a wrong one is answered with all of them."""
    root: str
    """Local folder of the set, laid out as it is published."""
    out: str
    """Folder of the datasets; this one is NAME-SPLIT in it."""
    split: str = "test"
    """As the set calls it."""
    limit: int = 0
    """Questions, from the first on; 0: all."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out)
        read_public(job, self)
        job.console.summary(self.out)


def read_public(job: Job, config: PublicScreensConfig) -> Dataset:
    """The dataset `questions` in the job's folder NAME-SPLIT.

    Raises ValueError for a set or split that there is not, or if nothing of it could be read, and
    FileNotFoundError naming a file of the set that is missing.
    """
    spec, root, flaws = public_set(config.name), Path(config.root), Flaws()
    if config.split not in spec.splits:
        legal = ", ".join(spec.splits)
        raise ValueError(f"{spec.name} has no split {config.split!r}; legal: {legal}")

    def write(folder: str, update: Update) -> Mapping[str, int]:
        rows = questions(spec, root, config.split, flaws)
        if config.limit:
            rows = itertools.islice(rows, config.limit)
        done = 0
        parts = iter(lambda: list(itertools.islice(rows, SHARD_ROWS)), [])
        for number, part in enumerate(parts):
            path = posixpath.join(folder, f"{number:05d}.parquet")
            write_shard(path, pa.Table.from_pylist(part, QUESTIONS))
            done += len(part)
            update(done, 0, f"{flaws.counted.total():,} left out")
        if not done:
            raise ValueError(f"nothing of {root} could be read; {' '.join(flaws.told())}")
        return dict(flaws.counted)

    found = [root / name for names in spec.splits[config.split] for name in names.split("|")]
    hashes = {path.name: file_sha256(str(path)) for path in found if path.is_file()}
    made = job.build(
        f"read {spec.name}",
        "questions",
        write,
        folder=f"{spec.name}-{config.split}",
        config={"set": spec, "limit": config.limit, "files": hash_json(hashes)},
    )
    for line in flaws.told():
        job.console.say(line)
    return made
