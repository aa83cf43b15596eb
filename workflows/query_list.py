"""A text corpus to CLIP's query list: frequent words, telling bigrams, article titles, WordNet's
names.

sightmill queries --queries.corpus 'wiki/*.jsonl' --queries.wordnet /usr/share/wordnet --out queries
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.web.queries import QueriesConfig, write_queries
from workflows.flags import EngineFlags
from workflows.job import Job


@dataclass(frozen=True)
class QueryListConfig:
    """Build the query list from a Wikipedia-style dump or plain text."""

    out: str
    """Folder of the queries dataset."""
    queries: QueriesConfig = field(default_factory=lambda: QueriesConfig(corpus=("*.txt",)))
    """What becomes a query."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(posixpath.dirname(self.out.rstrip("/")), self.engines)
        found = query_list(job, self.queries, posixpath.basename(self.out.rstrip("/")))
        job.console.summary(f"{found.path}: {found.manifest.rows:,} queries")


def query_list(job: Job, config: QueriesConfig, folder: str = "queries") -> Dataset:
    """The queries dataset in the job's `folder`."""
    return job.build(
        "query list",
        "queries",
        lambda path, _: write_queries(config, path, job.engines),
        folder=folder,
        config=config,
    )
