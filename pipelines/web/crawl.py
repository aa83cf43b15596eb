"""Crawling some sites into WARC files.

`crawl` starts Scrapy in a process of its own (its reactor cannot start twice in one) and waits; the
spider is in `pipelines.web.spider`. The folder ends up with `crawl-00000.warc.gz`, ... (Common
Crawl's layout: one gzip member a response) and, last, `crawl.json` with the counts and a content
hash over (URL, payload). Neither dates nor the order of arrival enter it, so that a rerun, or a run
that was killed and taken up, has the same hash as long as the sites serve the same pages.

The WARC files are the crawl's whole state: taken up, it reads the pages that it has, follows their
links, and fetches what is missing. Images are not fetched here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines import datasets, hashing, storage
from pipelines.engines import checkout

SUMMARY = "crawl.json"
LOG = "_crawl.log"
_PLAN = ".crawl-plan.json"
_PACE = ("delay_s", "concurrency", "concurrency_per_site")


@dataclass(frozen=True)
class CrawlConfig:
    """What to crawl, how deep, and how politely."""

    seeds: tuple[str, ...] = ()
    """URLs to start from."""
    sites: tuple[str, ...] = ()
    """host or host:port that may be crawled; empty means those of the seeds. www. makes no
    difference."""
    max_depth: int = 20
    """Links that a page may be away from the nearest seed."""
    max_pages: int = 0
    """Pages after which to stop, 0 for no limit. A crawl stopped so depends on the order of
    arrival."""
    max_page_bytes: int = 8 << 20
    """Bytes of the largest page, as sent and as decompressed."""
    max_redirects: int = 5
    """Redirects in a row that are followed."""
    timeout_s: float = 15.0
    """Seconds that one response may take, from the request to its last byte."""
    retries: int = 2
    """Further tries after a timeout, a broken connection or a server error."""
    delay_s: float = 1.0
    """Seconds between two requests to a site; a larger Crawl-delay in its robots.txt is obeyed."""
    concurrency_per_site: int = 2
    """Open requests a site."""
    concurrency: int = 64
    """Open requests in all."""
    allow_private: bool = False
    """Allow loopback and private addresses."""

    def __post_init__(self) -> None:
        for seed in self.seeds:
            if urlsplit(seed).scheme not in ("http", "https") or not urlsplit(seed).hostname:
                raise ValueError(f"seeds holds {seed!r}; legal: absolute http or https URLs")

    def identity(self) -> dict[str, Any]:
        """The fields that decide which pages there will be: all but the pace."""
        return {k: v for k, v in hashing.config_dict(self).items() if k not in _PACE}


@dataclass(frozen=True)
class CrawlSummary:
    """What a finished crawl holds."""

    pages: int
    """Pages archived."""
    bytes: int
    """Bytes of their decoded payloads."""
    dropped: dict[str, int]
    """URLs that were met and not archived, by reason."""
    content_hash: str
    """32 hex digits over (URL, payload) of the pages."""
    files: list[str]
    """Names of the WARC files."""


@dataclass(frozen=True)
class CrawlProgress:
    """Where a running crawl is."""

    pages: int
    """Pages archived so far, those of an earlier run included."""
    known: int
    """URLs met so far that are to be archived or were."""
    fetched: int
    """Pages archived by this run."""
    seconds: float
    """Since this run began."""


class CrawlError(Exception):
    """The crawl did not finish; what it has archived stays, and a rerun goes on from there."""


def crawl(
    config: CrawlConfig, out: str, on_progress: Callable[[CrawlProgress], None] | None = None
) -> CrawlSummary:
    """Crawl into the local folder `out`, or take up or take over what lies there of the same
    config.

    Raises:
        CrawlError: the crawler died, or cannot write.
        ValueError: the folder holds a crawl of another config.
    """
    if "://" in out:
        raise ValueError(f"out is {out!r}; legal: a local folder, for a crawl appends to its files")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, config)
    if (folder / SUMMARY).exists():
        return read_summary(out)
    _run_spider(config, folder, on_progress or (lambda progress: None))
    return read_summary(out)


def build_crawl(
    config: CrawlConfig, path: str, on_progress: Callable[[CrawlProgress], None] | None = None
) -> datasets.Dataset:
    """The crawl as a dataset folder with a manifest, to be the parent of what is made from it."""
    return datasets.build(
        path,
        name="crawl",
        config=config.identity(),
        seed=0,
        parents=[],
        write=lambda folder: crawl(config, folder, on_progress).dropped,
        content_hash=lambda folder: read_summary(folder).content_hash,
    )


def read_summary(out: str) -> CrawlSummary:
    """The summary of the finished crawl in `out`."""
    return CrawlSummary(**json.loads((Path(out) / SUMMARY).read_text()))


def warc_files(out: str) -> list[str]:
    """Full paths of a finished crawl's WARC files."""
    return [str(Path(out) / name) for name in read_summary(out).files]


def _claim(folder: Path, config: CrawlConfig) -> None:
    """Note whose folder this is. Raises ValueError if it belongs to a crawl of another config."""
    plan, ours = folder / _PLAN, config.identity()
    if plan.exists() and (theirs := json.loads(plan.read_text())) != ours:
        keys = [key for key in ours if ours[key] != theirs.get(key)]
        raise ValueError(
            f"{folder} holds a crawl with other {', '.join(keys)}; name another folder or remove it"
        )
    storage.write_json(str(plan), ours)


def _run_spider(
    config: CrawlConfig, folder: Path, on_progress: Callable[[CrawlProgress], None]
) -> None:
    """Run the spider's process; the pipe to its standard input ends it if this process dies."""
    command = [sys.executable, "-m", "pipelines.web.spider", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(checkout())}
    with (
        (folder / LOG).open("wb") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            text=True,
        ) as child,
    ):
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that died early is reported below
            child.stdin.write(json.dumps(dataclasses.asdict(config)) + "\n")
            child.stdin.flush()
        for progress in _progress(child):
            on_progress(progress)
    if child.returncode:
        tail = (folder / LOG).read_text(errors="replace").strip()[-2000:]
        raise CrawlError(f"the crawl in {folder} ended with status {child.returncode}:\n{tail}")


def _progress(child: subprocess.Popen[str]) -> Iterator[CrawlProgress]:
    assert child.stdout is not None
    for line in child.stdout:
        yield CrawlProgress(**json.loads(line))
