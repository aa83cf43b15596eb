"""WARC files and a query list in, a query-balanced image-text corpus out: CLIP's WIT, on your own
crawl.

    sightmill wit --warc 'crawl/*.warc.gz' --queries queries.txt --per-query 20000 --out corpus

Comes out: `OUT/candidates`, `OUT/pairs`, `OUT/samples` (and what lies between), each with its
manifest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.storage import file_sha256
from pipelines.web.balance import BalanceConfig
from pipelines.web.extract import ExtractConfig
from pipelines.web.fetch import FetchConfig
from pipelines.web.queries import write_file_queries
from pipelines.web.warc import fingerprint, matching
from workflows.console import Console
from workflows.corpus import CorpusConfig, candidates_of, samples_of
from workflows.flags import EngineFlags
from workflows.job import Job


@dataclass(frozen=True)
class WitConfig:
    """A query-balanced corpus from WARC or WAT files."""

    warc: str
    """Glob of WARC or WAT files (Common Crawl's layout), local or fsspec URL."""
    queries: str
    """Text file, a query a line."""
    out: str
    """Folder of the datasets."""
    per_query: int = 20_000
    """Pairs that a query may bring."""
    mode: Literal["cap", "sample"] = "cap"
    """cap: CLIP's at most per_query a query; sample: MetaCLIP's p = min(1, per_query / count)."""
    image_size: int = 256
    """Pixels of a kept picture's shorter side."""
    seed: int = 0
    """Of the balancing."""
    allow_private: bool = False
    """Fetch from loopback and private addresses too."""
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    """How candidates are taken from pages."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    """Limits and manners of fetching."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where the stages run."""

    def run(self) -> None:
        """Run the recipe."""
        wit(self)


def wit(config: WitConfig, console: Console | None = None) -> Dataset:
    """Run the recipe; returns the `samples` dataset."""
    job = Job(config.out, config.engines, console or Console())
    files = matching(config.warc)
    fetch = replace(
        config.fetch,
        client=replace(config.fetch.client, allow_private=config.allow_private),
        image=replace(config.fetch.image, image_size=config.image_size),
    )
    corpus = CorpusConfig(
        config.extract, BalanceConfig(config.mode, config.per_query), fetch, seed=config.seed
    )
    candidates = candidates_of(job, files, corpus, origin=fingerprint(files))
    queries = job.build(
        "read queries",
        "queries",
        lambda folder, _: write_file_queries(config.queries, folder),
        config={"file": file_sha256(config.queries)},
    )
    found = samples_of(job, candidates, queries, corpus)
    job.console.summary(f"{found.path}: {found.manifest.rows:,} images")
    return found
