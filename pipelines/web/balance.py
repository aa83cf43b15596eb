"""Balance the pairs over the queries that their texts include, before a single image is fetched.

Left alone, a few head queries ("of", "in", "photo") match most of the web: in MetaCLIP's pool 3 %
of the queries hold 94 % of the matches. Two rules flatten that, both named by
`BalanceConfig.mode`:

- cap: CLIP's rule for WIT, "up to 20,000 pairs per query" (Radford et al. 2021, section 2.2). A
  query keeps its `per_query` pairs of the smallest draws; a pair stays if one of its queries keeps
  it.
- sample: MetaCLIP's rule (Xu et al. 2023, algorithm 1). A query with `count` pairs keeps each with
  probability min(1, per_query / count), so that a pair stays with P = 1 - prod(1 - p): a soft cap.

The draw is a hash of (seed, pair, query) and of nothing else: any engine, order, sharding or rerun
keeps the same pairs, and a larger `per_query` keeps all that a smaller one kept. Both rules come
down to one number a head query, the largest draw that it still keeps, so the pairs themselves are
never shuffled: a shard of candidates becomes a shard of matches and that a shard of pairs,
streamed, and only counts and limits go round.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.engines import Engines, beam_pipeline
from pipelines.records import MATCHES, PAIRS
from pipelines.web import shards
from pipelines.web.match import write_matches

if TYPE_CHECKING:
    import apache_beam as beam

Draws = npt.NDArray[np.int64]

DRAWS = 1 << 63
"""Draws are integers in [0, DRAWS), so that every runner's coder holds them."""


@dataclass(frozen=True)
class BalanceConfig:
    """How many pairs a query may bring."""

    mode: Literal["cap", "sample"] = "cap"
    """cap: at most per_query pairs a query (CLIP); sample: per_query expected (MetaCLIP)."""
    per_query: int = 20_000
    """Pairs a query may keep."""

    def __post_init__(self) -> None:
        if self.mode not in ("cap", "sample"):
            raise ValueError(f"mode is {self.mode!r}; legal: cap, sample")
        if self.per_query < 1:
            raise ValueError(f"per_query is {self.per_query}; legal: 1 or more")


def balance(
    candidates: Dataset,
    queries: Dataset,
    folder: str,
    config: BalanceConfig,
    *,
    seed: int,
    engines: Engines,
) -> Dataset:
    """Candidates to `folder`/matches to `folder`/pairs; the pairs that the rule keeps.

    Dropped, by reason: no_query in the matches' manifest, balanced_out in the pairs'.
    """
    matches = datasets.build(
        posixpath.join(folder, "matches"),
        name="matches",
        config={},
        seed=0,  # nothing is drawn here: one set of matches serves every seed
        parents=[candidates, queries],
        write=lambda out: write_matches(candidates, queries, out, engines),
    )
    return datasets.build(
        posixpath.join(folder, "pairs"),
        name="pairs",
        config=config,
        seed=seed,
        parents=[matches],
        write=lambda out: write_pairs(matches, out, config, seed, engines),
    )


# The rule: pure functions


def _mixed(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele et al. 2014): a bijection that flips half the bits for one."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def pair_keys(pair_ids: Iterable[str]) -> npt.NDArray[np.uint64]:
    """First 64 bits of each pair id, which is itself a hash of the pair (`records.record_id`)."""
    return np.array([int(pair_id[:16], 16) for pair_id in pair_ids], np.uint64)


def query_keys(seed: int, queries: Iterable[str]) -> npt.NDArray[np.uint64]:
    """64 bits of blake2b over seed and query."""
    data = (f"{seed}\0{query}".encode() for query in queries)
    digests = (hashlib.blake2b(d, digest_size=8).digest() for d in data)
    return np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)


def draws(pairs: npt.NDArray[np.uint64], queries: npt.NDArray[np.uint64]) -> Draws:
    """One draw, uniform over [0, DRAWS), for each (pair key, query key)."""
    return (_mixed(pairs ^ queries) >> np.uint64(1)).astype(np.int64)


def sample_limit(count: int, per_query: int) -> int:
    """The largest draw that a query keeps with probability min(1, per_query / count)."""
    return min(DRAWS, (per_query * DRAWS + count - 1) // count) - 1


def smallest(arrays: Iterable[Draws], k: int) -> Draws:
    """The k smallest of all, unsorted. Merges of merges give the same: any order will do."""
    every = np.concatenate([np.empty(0, np.int64), *arrays])
    return every if len(every) <= k else np.partition(every, k - 1)[:k]


@dataclass(frozen=True)
class _Incidences:
    """A batch's (pair, query) incidences: `query` counts in `names`, `row` in the batch."""

    row: npt.NDArray[np.int64]
    query: npt.NDArray[np.int64]
    names: list[str]

    @classmethod
    def of(cls, queries: pa.ListArray) -> _Incidences:
        row = np.repeat(np.arange(len(queries)), queries.value_lengths().to_numpy())
        encoded = queries.flatten().dictionary_encode()
        return cls(row, encoded.indices.to_numpy(), encoded.dictionary.to_pylist())

    def drawn(
        self, pair_ids: pa.Array, heads: npt.NDArray[np.bool_], seed: int
    ) -> tuple[npt.NDArray[np.bool_], Draws]:
        """Which incidences are of the names marked in `heads`, and their draws."""
        keys = np.zeros(len(self.names), np.uint64)
        keys[heads] = query_keys(seed, itertools.compress(self.names, heads))
        pairs, among = pair_keys(pair_ids.to_pylist()), heads[self.query]
        return among, draws(pairs[self.row[among]], keys[self.query[among]])


def keep_batch(batch: pa.RecordBatch, limits: Mapping[str, int], seed: int) -> pa.RecordBatch:
    """Matches to pairs: a query in `limits` keeps draws up to its limit, any other keeps all."""
    found = _Incidences.of(batch.column("queries"))
    limit = np.array([limits.get(name, DRAWS - 1) for name in found.names], np.int64)
    among, drawn = found.drawn(batch.column("pair_id"), limit < DRAWS - 1, seed)
    kept = ~among
    kept[among] = drawn <= limit[found.query[among]]
    count = np.bincount(found.row[kept], minlength=batch.num_rows)
    offsets = np.concatenate([[0], np.cumsum(count[count > 0])])
    values = batch.column("queries").flatten().filter(pa.array(kept))
    queries = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
    rows = batch.filter(pa.array(count > 0))
    return rows.set_column(rows.schema.get_field_index("queries"), "queries", queries)


# Lifted to shards


def keep_shard(task: shards.Task, limits: Mapping[str, int], seed: int) -> None:
    """One shard of matches to one shard of pairs."""
    keep = functools.partial(keep_batch, limits=limits, seed=seed)
    shards.stream(task, MATCHES.names, keep, PAIRS)


def count_queries(shard: str) -> Iterator[tuple[str, int]]:
    """(query, pairs that include it) over one shard of matches or pairs."""
    count: Counter[str] = Counter()
    for batch in datasets.shard_batches(shard, ["queries"], shards.ROWS_A_BATCH):
        found = _Incidences.of(batch.column("queries"))
        here = np.bincount(found.query, minlength=len(found.names)).tolist()
        count.update(dict(zip(found.names, here, strict=True)))
    yield from count.items()


def head_draws(
    shard: str, heads: Mapping[str, int], per_query: int, seed: int
) -> Iterator[tuple[str, Draws]]:
    """(head query, its `per_query` smallest draws) a batch of one shard of matches."""
    for batch in datasets.shard_batches(shard, ["pair_id", "queries"], shards.ROWS_A_BATCH):
        found = _Incidences.of(batch.column("queries"))
        listed = np.array([name in heads for name in found.names], bool)
        among, drawn = found.drawn(batch.column("pair_id"), listed, seed)
        for name, rows in shards.grouped(found.query[among]):
            yield found.names[name], smallest([drawn[rows]], per_query)


# Lifted to Beam


def _limits(sources: beam.PCollection, config: BalanceConfig, seed: int) -> beam.PCollection:
    """(query, largest draw that it keeps) of the head queries: all others keep every pair."""
    import apache_beam as beam

    heads = (
        sources
        | "Count" >> beam.FlatMap(count_queries)
        | "Add up" >> beam.CombinePerKey(sum)
        | "Heads" >> beam.Filter(lambda item: item[1] > config.per_query)
    )
    if config.mode == "sample":
        return heads | beam.MapTuple(lambda q, count: (q, sample_limit(count, config.per_query)))
    return (
        sources
        | "Draw" >> beam.FlatMap(head_draws, beam.pvalue.AsDict(heads), config.per_query, seed)
        | "Smallest" >> beam.CombinePerKey(functools.partial(smallest, k=config.per_query))
        | "Limit" >> beam.MapTuple(lambda query, kept: (query, int(kept.max())))
    )


def write_pairs(
    matches: Dataset, folder: str, config: BalanceConfig, seed: int, engines: Engines
) -> Mapping[str, int]:
    """Fill `folder` with what the rule keeps, a shard for a shard; drops: balanced_out."""
    import apache_beam as beam

    tasks = shards.tasks(matches, folder)
    with beam_pipeline(engines) as pipeline:
        sources = pipeline | beam.Create(matches.shards) | "Spread shards" >> beam.Reshuffle()
        limits = _limits(sources, config, seed)
        _ = (
            pipeline
            | "Tasks" >> beam.Create(tasks)
            | "Spread tasks" >> beam.Reshuffle()
            | "Keep" >> beam.Map(keep_shard, beam.pvalue.AsDict(limits), seed)
        )
    return {"balanced_out": matches.manifest.rows - shards.rows_written(tasks)}
