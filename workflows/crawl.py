"""Seed URLs to WARC files: the crawl alone, to be read by `wit` or by any other tool.

sightmill crawl --seeds https://example.org/ --out crawl
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from pipelines.datasets import Dataset
from pipelines.web.crawl import CrawlConfig, CrawlProgress, build_crawl
from workflows.console import Update
from workflows.job import Job


@dataclass(frozen=True)
class CrawlRecipe:
    """Crawl politely into WARC files; a killed crawl goes on where it stopped."""

    out: str
    """Folder of the WARC files; local."""
    crawl: CrawlConfig = field(default_factory=CrawlConfig)
    """What to crawl, how deep, and how politely."""

    def run(self) -> None:
        """Run the recipe."""
        out, folder = posixpath.split(self.out.rstrip("/"))
        job = Job(out)
        found = crawl_sites(job, self.crawl, folder)
        job.console.summary(f"{found.path}: {len(found.manifest.shards)} files")


def crawl_sites(job: Job, config: CrawlConfig, folder: str = "crawl") -> Dataset:
    """The crawl in the job's `folder`, with a progress line."""

    def follow(update: Update, at: CrawlProgress) -> None:
        update(at.pages, at.known, f"pages, {at.fetched / max(at.seconds, 0.1):.0f} a second")

    return job.console.stage(
        "crawl", lambda update: build_crawl(config, job.at(folder), lambda at: follow(update, at))
    )
