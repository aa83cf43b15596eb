"""Matching and balancing 1,000,000 candidates over 100,000 queries: memory on the local runner.

    python benchmarks/balance.py [--candidates 1000000] [--queries 100000] [--per-query 200]

Writes synthetic candidates in shards, then runs `pipelines.web.balance.balance` (both datasets
with their content hashes and quality checks) in a process of its own and prints that process's
peak resident memory beside the 2 GiB that it may have. The same over a tenth of the candidates
shows that the memory is flat.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from match import synthetic

from pipelines import datasets
from pipelines.engines import Engines
from pipelines.records import CANDIDATES, QUERIES, record_id
from pipelines.web.balance import BalanceConfig, balance

BOUND_MIB = 2048
ROWS_A_SHARD = 50_000


def candidates_of(texts: list[str], first: int) -> pa.Table:
    """A shard of candidates with URLs as long as real ones."""
    numbers = range(first, first + len(texts))
    urls = [f"https://host{n % 997}.example/images/2026/{n}.jpg" for n in numbers]
    columns = {
        "pair_id": [record_id(url, text) for url, text in zip(urls, texts, strict=True)],
        "image_url": urls,
        "text": texts,
        "text_source": ["alt"] * len(texts),
        "page_url": [f"https://host{n % 997}.example/pages/{n // 20}.html" for n in numbers],
        "language": ["en"] * len(texts),
    }
    return pa.Table.from_pydict(columns, CANDIDATES)


def make(folder: str, texts: list[str], queries: list[str]) -> None:
    """The two datasets that the child starts from."""

    def write_candidates(out: str) -> dict[str, int]:
        for first in range(0, len(texts), ROWS_A_SHARD):
            table = candidates_of(texts[first : first + ROWS_A_SHARD], first)
            datasets.write_shard(f"{out}/{first:09d}.parquet", table)
        return {}

    def write_queries(out: str) -> dict[str, int]:
        columns = {"query": queries, "source": ["file"] * len(queries), "count": [0] * len(queries)}
        datasets.write_shard(f"{out}/00000.parquet", pa.Table.from_pydict(columns, QUERIES))
        return {}

    for name, write in (("candidates", write_candidates), ("queries", write_queries)):
        datasets.build(f"{folder}/{name}", name=name, config={}, seed=0, parents=[], write=write)


def child(folder: str, config: BalanceConfig) -> None:
    """Balance, and print this process's figures."""
    candidates, queries = (
        datasets.open_dataset(f"{folder}/{n}") for n in ("candidates", "queries")
    )
    start, cpu = time.time(), time.process_time()
    pairs = balance(candidates, queries, f"{folder}/out", config, seed=0, engines=Engines())
    figures = {
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seconds": time.time() - start,
        "cpu_seconds": time.process_time() - cpu,
        "candidates": candidates.manifest.rows,
        "pairs": pairs.manifest.rows,
    }
    print(json.dumps(figures))


def measure(texts: list[str], queries: list[str], config: BalanceConfig) -> dict[str, float]:
    """The child's figures over these candidates."""
    with tempfile.TemporaryDirectory() as folder:
        make(folder, texts, queries)
        command = [sys.executable, __file__, "--child", folder]
        command += ["--mode", config.mode, "--per-query", str(config.per_query)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(printed.splitlines()[-1])
    print(", ".join(f"{name} {value:,.0f}" for name, value in figures.items()), flush=True)
    return figures


def main() -> int:
    """Measure both sizes; exit status 1 if the larger one is out of bounds."""
    parser = argparse.ArgumentParser(description="Memory of matching and balancing.")
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--per-query", type=int, default=200)
    parser.add_argument("--mode", choices=["cap", "sample"], default="cap")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    config = BalanceConfig(options.mode, options.per_query)
    if options.child:
        child(options.child, config)
        return 0
    queries, texts = synthetic(options.queries, options.candidates)
    tenth = measure(texts[: len(texts) // 10], queries, config)
    whole = measure(texts, queries, config)
    print(f"ten times the candidates take {whole['mib'] / tenth['mib']:.2f} times the memory")
    ok = whole["mib"] < BOUND_MIB
    line = {"name": f"balance/{config.mode}", "ours": whole["mib"], "peer": BOUND_MIB}
    print(json.dumps({**line, "ratio": BOUND_MIB / whole["mib"], "unit": "MiB resident", "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
