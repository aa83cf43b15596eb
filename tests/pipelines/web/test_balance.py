"""Both rules of balancing beside plain loops, and that neither order nor shards matter."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

from pipelines import datasets, hashing
from pipelines.datasets import Dataset, Manifest, Shard
from pipelines.engines import Engines
from pipelines.records import CANDIDATES, MATCHES, PAIRS, QUERIES, record_id
from pipelines.web.balance import (
    DRAWS,
    BalanceConfig,
    balance,
    draws,
    keep_batch,
    pair_keys,
    query_keys,
    sample_limit,
    smallest,
    write_pairs,
)

Row = dict[str, Any]
Mode = Literal["cap", "sample"]


def match_row(number: int, queries: list[str]) -> Row:
    url, text = f"http://a.example/{number}.png", " ".join(queries) or "-"
    return {
        "pair_id": record_id(url, text),
        "image_url": url,
        "text": text,
        "text_source": "alt",
        "page_url": "http://a.example/",
        "language": "en",
        "queries": sorted(queries),
    }


def some_matches(count: int = 400) -> list[Row]:
    """Few head queries, many tail queries, up to four a pair."""
    choice = random.Random(1)
    names = [f"q{i}" for i in range(60)]
    weights = [1 / (i + 1) for i in range(60)]
    return [
        match_row(n, sorted(set(choice.choices(names, weights, k=choice.randint(1, 4)))))
        for n in range(count)
    ]


def plain_draw(seed: int, pair_id: str, query: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{query}".encode(), digest_size=8).digest()
    value = int(pair_id[:16], 16) ^ int.from_bytes(digest, "big")
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return (value ^ value >> 31) >> 1


def plain_cap(rows: list[Row], per_query: int, seed: int) -> dict[str, list[str]]:
    pairs_of: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        for query in row["queries"]:
            pairs_of[query].append(row["pair_id"])
    kept: defaultdict[str, list[str]] = defaultdict(list)
    for query, ids in pairs_of.items():
        for pair_id in sorted(ids, key=lambda pair_id: plain_draw(seed, pair_id, query))[
            :per_query
        ]:
            kept[pair_id].append(query)
    return {pair_id: sorted(queries) for pair_id, queries in kept.items()}


def plain_sample(rows: list[Row], per_query: int, seed: int) -> dict[str, list[str]]:
    count = Counter(query for row in rows for query in row["queries"])
    kept = {
        row["pair_id"]: [
            query
            for query in row["queries"]
            if plain_draw(seed, row["pair_id"], query) * count[query] < per_query * DRAWS
        ]
        for row in rows
    }
    return {pair_id: queries for pair_id, queries in kept.items() if queries}


def finished(path: Path, name: str, shards: list[pa.Table]) -> Dataset:
    """A dataset without the hashing and checks of `datasets.build`."""
    listed = []
    for number, table in enumerate(shards):
        datasets.write_shard(f"{path}/{number}.parquet", table)
        listed.append(Shard(f"{number}.parquet", len(table), ""))
    rows = sum(shard.rows for shard in listed)
    return Dataset(str(path), Manifest(name, [], rows, listed, "", {}, "", 0, "", [], {}, {}))


def kept_by(
    path: Path, rows: list[Row], config: BalanceConfig, seed: int = 0, shards: int = 3
) -> list[Row]:
    tables = [pa.Table.from_pylist(rows[n::shards], MATCHES) for n in range(shards)]
    matches = finished(path / "matches", "matches", tables)
    folder = path / "pairs"
    dropped = write_pairs(matches, str(folder), config, seed, Engines())
    files = sorted(folder.glob("*.parquet"))
    kept = [
        row
        for file in files
        for batch in datasets.shard_batches(str(file))
        for row in batch.to_pylist()
    ]
    assert dropped == {"balanced_out": len(rows) - len(kept)}
    return kept


def test_draws_equal_the_plain_ones() -> None:
    ids, names = [record_id(str(n)) for n in range(50)], ["a", "ü", "new york"]
    for seed in (0, 7):
        for name, key in zip(names, query_keys(seed, names), strict=True):
            expected = [plain_draw(seed, pair_id, name) for pair_id in ids]
            assert draws(pair_keys(ids), key).tolist() == expected


def test_draws_are_uniform_and_unrelated_between_queries_and_seeds() -> None:
    pairs = pair_keys(record_id(str(n)) for n in range(20_000))
    keys = [*query_keys(0, ["cat", "dog"]), *query_keys(1, ["cat"])]
    columns = [draws(pairs, key) / DRAWS for key in keys]
    for column in columns:
        cells = np.histogram(column, 20, (0, 1))[0]
        assert (
            (cells - 1000) ** 2 / 1000
        ).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001
    correlation = np.corrcoef(columns) - np.eye(3)
    assert abs(correlation).max() < 4 / math.sqrt(20_000)


@pytest.mark.parametrize(
    ("count", "per_query"), [(3, 1), (3, 2), (7, 5), (10**9, 20_000), (5, 5), (2, 9)]
)
def test_sample_limit_is_the_last_draw_below_the_probability(count: int, per_query: int) -> None:
    limit = sample_limit(count, per_query)
    assert 0 <= limit < DRAWS
    assert limit * count < per_query * DRAWS
    assert limit == DRAWS - 1 or (limit + 1) * count >= per_query * DRAWS


def test_smallest_merges_in_any_order() -> None:
    values = np.random.default_rng(0).integers(0, DRAWS, 1000)
    parts = np.split(values, [10, 400, 401, 900])
    merged = smallest([smallest(parts[3:], 20), smallest([], 20), smallest(parts[:3], 20)], 20)
    assert sorted(merged) == sorted(values)[:20]


@pytest.mark.parametrize("mode", ["cap", "sample"])
@pytest.mark.parametrize("per_query", [1, 5, 1000])
def test_equals_the_plain_rule(tmp_path: Path, mode: Mode, per_query: int) -> None:
    rows = some_matches()
    plain = {"cap": plain_cap, "sample": plain_sample}[mode](rows, per_query, 3)
    kept = kept_by(tmp_path, rows, BalanceConfig(mode, per_query), seed=3)
    assert {row["pair_id"]: row["queries"] for row in kept} == plain
    source = {row["pair_id"]: row for row in rows}
    for row in kept:
        assert {**row, "queries": source[row["pair_id"]]["queries"]} == source[row["pair_id"]]
    assert (len(kept) == len(rows)) == (per_query == 1000)


def test_cap_keeps_as_many_as_there_are_up_to_the_cap(tmp_path: Path) -> None:
    rows = some_matches()
    before = Counter(query for row in rows for query in row["queries"])
    kept = kept_by(tmp_path, rows, BalanceConfig("cap", 10))
    after = Counter(query for row in kept for query in row["queries"])
    assert after == {query: min(count, 10) for query, count in before.items()}
    assert max(before.values()) > 100


@pytest.mark.parametrize("mode", ["cap", "sample"])
def test_order_and_sharding_change_nothing(tmp_path: Path, mode: Mode) -> None:
    rows, config = some_matches(), BalanceConfig(mode, 6)
    shuffled = random.Random(5).sample(rows, len(rows))
    hashes = set()
    for name, (order, shards) in {"a": (rows, 1), "b": (rows, 7), "c": (shuffled, 4)}.items():
        kept = kept_by(tmp_path / name, order, config, shards=shards)
        batch = pa.RecordBatch.from_pylist(kept, PAIRS)
        hashes.add(hashing.rows_hash(iter([batch]), PAIRS))
    assert len(hashes) == 1


@pytest.mark.parametrize("mode", ["cap", "sample"])
def test_a_larger_per_query_keeps_all_that_a_smaller_one_kept(tmp_path: Path, mode: Mode) -> None:
    rows = some_matches()
    kept: list[set[tuple[str, str]]] = []
    for per_query in (2, 30):
        pairs = kept_by(tmp_path / str(per_query), rows, BalanceConfig(mode, per_query))
        kept.append({(row["pair_id"], query) for row in pairs for query in row["queries"]})
    assert kept[0] < kept[1]


def test_sample_keeps_with_the_probability_of_the_paper() -> None:
    """P = 1 - prod(1 - p), for pairs of one, two and three head queries."""
    p = {"a": 0.02, "b": 0.1, "c": 0.5}
    limits = {query: sample_limit(10_000, round(10_000 * share)) for query, share in p.items()}
    for queries in (["a"], ["b"], ["a", "b"], ["b", "c"], ["a", "b", "c"]):
        rows = [match_row(n, queries) for n in range(6000)]
        kept = keep_batch(pa.RecordBatch.from_pylist(rows, MATCHES), limits, seed=11).num_rows
        expected = 1 - math.prod(1 - p[query] for query in queries)
        error = math.sqrt(6000 * expected * (1 - expected))
        assert abs(kept - 6000 * expected) < 3.5 * error, queries


def test_another_seed_keeps_other_pairs() -> None:
    rows = pa.RecordBatch.from_pylist([match_row(n, ["a"]) for n in range(100)], MATCHES)
    kept = [keep_batch(rows, {"a": DRAWS // 2}, seed).column("pair_id") for seed in (0, 1, 0)]
    assert kept[0] == kept[2] != kept[1]


def test_a_pair_with_a_tail_query_always_stays() -> None:
    rows = [match_row(n, ["head", "tail"]) for n in range(50)]
    kept = keep_batch(pa.RecordBatch.from_pylist(rows, MATCHES), {"head": 0}, seed=0)
    assert [row["queries"] for row in kept.to_pylist()] == [["tail"]] * 50


def test_nothing_to_balance(tmp_path: Path) -> None:
    for mode in ("cap", "sample"):
        matches = finished(tmp_path / "matches", "matches", [pa.Table.from_pylist([], MATCHES)])
        config = BalanceConfig(mode, 2)
        assert write_pairs(matches, str(tmp_path / mode), config, 0, Engines()) == {
            "balanced_out": 0
        }
    nothing = finished(tmp_path / "nothing", "matches", [])
    assert write_pairs(nothing, str(tmp_path / "out"), config, 0, Engines()) == {"balanced_out": 0}


def test_config_names_what_is_legal() -> None:
    with pytest.raises(ValueError, match="per_query is 0; legal: 1 or more"):
        BalanceConfig("cap", 0)
    with pytest.raises(ValueError, match="mode is 'hard'; legal: cap, sample"):
        BalanceConfig("hard", 1)  # type: ignore[arg-type]


def test_balance_builds_both_datasets_and_resumes(tmp_path: Path) -> None:
    listed = [{"query": q, "source": "file", "count": 0} for q in ("cat", "dog")]
    texts = ["a cat", "the cat", "dog", "cat and dog", "nothing", "cats"]
    rows = [match_row(n, []) | {"text": text} for n, text in enumerate(texts)]
    for row in rows:
        del row["queries"]
    queries = finished(tmp_path / "queries", "queries", [pa.Table.from_pylist(listed, QUERIES)])
    candidates = finished(
        tmp_path / "candidates", "candidates", [pa.Table.from_pylist(rows, CANDIDATES)]
    )

    def run() -> Dataset:
        config = BalanceConfig("cap", 1)
        return balance(
            candidates, queries, str(tmp_path / "out"), config, seed=0, engines=Engines()
        )

    pairs = run()
    matches = datasets.open_dataset(str(tmp_path / "out" / "matches"))
    assert matches.manifest.dropped == {"no_query": 2}
    assert matches.manifest.rows == 4
    assert pairs.manifest.rows + pairs.manifest.dropped["balanced_out"] == 4
    assert Counter(q for row in pairs.table().to_pylist() for q in row["queries"]) == {
        "cat": 1,
        "dog": 1,
    }
    (tmp_path / "out" / "pairs" / "manifest.json").unlink()
    shard = tmp_path / "out" / "pairs" / "00000.parquet"
    written = shard.stat().st_mtime_ns
    assert run().manifest.content_hash == pairs.manifest.content_hash
    assert shard.stat().st_mtime_ns == written, "a finished shard was written again"
