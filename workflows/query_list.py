"""A text corpus to CLIP's query list: frequent words, telling bigrams, article titles, WordNet's
names.

sightmill queries --queries.corpus 'wiki/*.jsonl' --queries.wordnet /usr/share/wordnet --out queries
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.web.queries import QueriesConfig, write_queries
from workflows.console import Console
from workflows.flags import EngineFlags


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
        console = Console()
        found = query_stage(self.out, self.queries, self.engines, console)
        console.summary(f"{found.path}: {found.manifest.rows:,} queries")


def query_stage(path: str, config: QueriesConfig, engines: Engines, console: Console) -> Dataset:
    """The queries dataset at `path`."""
    return console.stage(
        "query list",
        lambda _: datasets.build(
            path,
            name="queries",
            config=config,
            seed=0,
            parents=[],
            write=lambda folder: write_queries(config, folder, engines),
        ),
    )
