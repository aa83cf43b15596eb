"""From WARC files to samples: the stretch of the web pipeline that every recipe shares.

    WARC -> candidates; candidates + queries -> matches -> pairs -> targets -> fetched -> samples

Each stage is a dataset folder and is skipped where it stands finished with the same plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.datasets import Dataset
from pipelines.web.balance import BalanceConfig, balance
from pipelines.web.extract import ExtractConfig, write_candidates
from pipelines.web.fetch import FetchConfig, write_fetched
from pipelines.web.samples import SamplesConfig, write_samples
from pipelines.web.targets import write_targets
from workflows.job import Job


@dataclass(frozen=True)
class CorpusConfig:
    """What becomes of pages."""

    extract: ExtractConfig = field(default_factory=ExtractConfig)
    """How candidates are taken from pages."""
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    """How many pairs a query may bring."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    """Limits and manners of fetching, and what a kept picture looks like."""
    samples: SamplesConfig = field(default_factory=SamplesConfig)
    """What a near-duplicate is."""
    seed: int = 0
    """Of the balancing."""


def candidates_of(
    job: Job,
    files: Sequence[str],
    config: CorpusConfig,
    *,
    origin: str,
    parents: Sequence[Dataset] = (),
) -> Dataset:
    """Candidates from WARC or WAT `files`; `origin` is what identifies their content."""
    return job.build(
        "extract",
        "candidates",
        lambda folder, _: write_candidates(files, folder, config.extract, job.engines),
        config={"extract": config.extract, "warc": origin},
        parents=parents,
    )


def samples_of(
    job: Job,
    candidates: Dataset,
    queries: Dataset,
    config: CorpusConfig,
    away_from: Sequence[Dataset] = (),
) -> Dataset:
    """The corpus; `away_from` are evaluation sets whose pictures may not be in it."""
    pairs = job.console.stage(
        "match and balance",
        lambda _: balance(
            candidates, queries, job.out, config.balance, seed=config.seed, engines=job.engines
        ),
    )
    targets = job.build(
        "group by image",
        "targets",
        lambda folder, _: write_targets(pairs, folder, job.engines),
        parents=[pairs],
    )
    fetched = job.build(
        "fetch",
        "fetched",
        lambda folder, _: write_fetched(targets, folder, config.fetch, job.engines),
        config=config.fetch,
        parents=[targets],
    )
    return job.build(
        "near-duplicates out",
        "samples",
        lambda folder, _: write_samples(fetched, folder, config.samples, away_from),
        config=config.samples,
        parents=[fetched, *away_from],
    )
