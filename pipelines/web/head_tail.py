"""How unevenly the queries are matched, before and after balancing: the figures for the report.

A query is a head query if more than `per_query` pairs include it, else a tail query, and empty if
none does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.datasets import Dataset
from pipelines.web.balance import count_queries


@dataclass(frozen=True)
class HeadTail:
    """Pairs a query; all three in one order of queries: `before` descending, then name."""

    per_query: int
    """Pairs above which a query is a head query."""
    queries: list[str]
    """All queries, the empty ones too."""
    before: npt.NDArray[np.int64]
    """Pairs that include the query."""
    after: npt.NDArray[np.int64]
    """Pairs that the query kept."""

    @property
    def head_queries(self) -> int:
        """Number of queries above per_query."""
        return int((self.before > self.per_query).sum())

    @property
    def empty_queries(self) -> int:
        """Number of queries that no text includes."""
        return int((self.before == 0).sum())

    @property
    def matches(self) -> int:
        """Number of (pair, query) incidences before balancing."""
        return int(self.before.sum())

    @property
    def tail_share(self) -> float:
        """Share of `matches` that is in tail queries (MetaCLIP's p, 0.06 there); 0 of nothing."""
        head = int(self.before[: self.head_queries].sum())
        return (self.matches - head) / self.matches if self.matches else 0.0

    @property
    def tail_share_after(self) -> float:
        """The same over the incidences kept, of the same tail queries."""
        kept = int(self.after.sum())
        return int(self.after[self.head_queries :].sum()) / kept if kept else 0.0

    def summary(self) -> dict[str, int | float]:
        """The figures by name, as JSON values."""
        return {
            "queries": len(self.queries),
            "head_queries": self.head_queries,
            "tail_queries": len(self.queries) - self.head_queries - self.empty_queries,
            "empty_queries": self.empty_queries,
            "matches": self.matches,
            "matches_kept": int(self.after.sum()),
            "head_share": 1 - self.tail_share if self.matches else 0.0,
            "tail_share": self.tail_share,
            "tail_share_after": self.tail_share_after,
        }


def _count(shards: Iterable[str]) -> Counter[str]:
    total: Counter[str] = Counter()
    for shard in shards:
        total.update(dict(count_queries(shard)))
    return total


def head_tail(queries: Dataset, matches: Dataset, pairs: Dataset, per_query: int) -> HeadTail:
    """Counted over the datasets, a batch at a time: memory grows with the queries only."""
    before, after = _count(matches.shards), _count(pairs.shards)
    names: list[str] = queries.table(["query"]).column("query").to_pylist()
    names.sort(key=lambda name: (-before[name], name))
    counts = [np.array([count[name] for name in names], np.int64) for count in (before, after)]
    return HeadTail(per_query, names, *counts)
