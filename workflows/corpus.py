"""From candidates to samples: the stretch of the web pipeline that every recipe shares.

    candidates + queries -> matches -> pairs -> targets -> fetched -> samples

Each stage is a dataset folder under `out` and is skipped where it stands finished with the same
plan.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.web.balance import BalanceConfig, balance
from pipelines.web.fetch import FetchConfig, write_fetched
from pipelines.web.samples import SamplesConfig, write_samples
from pipelines.web.targets import write_targets
from workflows.console import Console


@dataclass(frozen=True)
class CorpusConfig:
    """What becomes of candidates."""

    balance: BalanceConfig = field(default_factory=BalanceConfig)
    """How many pairs a query may bring."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    """Limits and manners of fetching, and what a kept picture looks like."""
    samples: SamplesConfig = field(default_factory=SamplesConfig)
    """What a near-duplicate is."""


def samples(
    candidates: Dataset,
    queries: Dataset,
    out: str,
    config: CorpusConfig,
    *,
    seed: int,
    engines: Engines,
    console: Console,
    away_from: Sequence[Dataset] = (),
) -> Dataset:
    """The corpus at `out`/samples; `away_from` are evaluation sets whose pictures may not be in
    it.
    """
    pairs = console.stage(
        "match and balance",
        lambda _: balance(candidates, queries, out, config.balance, seed=seed, engines=engines),
    )
    targets = console.stage(
        "group by image",
        lambda _: datasets.build(
            posixpath.join(out, "targets"),
            name="targets",
            config={},
            seed=0,
            parents=[pairs],
            write=lambda folder: write_targets(pairs, folder, engines),
        ),
    )
    fetched = console.stage(
        "fetch",
        lambda _: datasets.build(
            posixpath.join(out, "fetched"),
            name="fetched",
            config=config.fetch,
            seed=0,
            parents=[targets],
            write=lambda folder: write_fetched(targets, folder, config.fetch, engines),
        ),
    )
    return console.stage(
        "near-duplicates out",
        lambda _: datasets.build(
            posixpath.join(out, "samples"),
            name="samples",
            config=config.samples,
            seed=0,
            parents=[fetched, *away_from],
            write=lambda folder: write_samples(fetched, folder, config.samples, away_from),
        ),
    )
