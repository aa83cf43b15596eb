"""Which queries does a text include? Every text against every query, as CLIP built WIT.

A query is matched on whole words: text and query are cut into tokens by one rule, `tokens`, and a
query is found where its tokens follow one another in the text's. With a space around every token
this is exactly the sub-string test `" query " in " text "` of CLIP (Radford et al. 2021, section
2.2) and MetaCLIP (Xu et al. 2023), so it needs no automaton: the queries become a trie over token
numbers, and a batch of texts walks that trie all at once in numpy, one step a query word. At
500,000 queries this does about twice the captions a second of an Aho-Corasick automaton
over characters (`benchmarks/match.py`), whose every character is a cache miss; here every token is
one.

In scripts that put no space between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) every
character is a token of its own, so that a query there matches as a sub-string.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.datasets import Dataset
from pipelines.engines import Engines, beam_pipeline
from pipelines.records import CANDIDATES, MATCHES
from pipelines.web import shards

Ints = npt.NDArray[np.int64]

ASCII_WORD = re.compile(r"[0-9a-z]+")

UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai and Lao, Burmese, Khmer
    *((0x3005, 0x3007), (0x3040, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF)),  # kana, Bopomofo
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),  # Han
)
"""Code points, first and last of each range, of scripts without spaces between words."""

INVISIBLE = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
"""Variation selectors: they choose how the character before is drawn, and are part of no word."""


def _within(point: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= point <= last for first, last in ranges)


class _Spacing(dict[int, str]):
    """Table for `str.translate`: what each code point becomes; learned as texts bring them.

    Letters, digits and combining marks stay (`re`'s \\w leaves marks out and would cut Hindi words
    at their vowels); format characters such as soft hyphens vanish; everything else is a space.
    """

    def __missing__(self, point: int) -> str:
        character = chr(point)
        category = unicodedata.category(character)
        if category == "Cf" or _within(point, INVISIBLE):
            kept = ""
        elif not character.isalnum() and category not in ("Mn", "Mc"):
            kept = " "
        else:
            kept = f" {character} " if _within(point, UNSPACED) else character
        self[point] = kept
        return kept


_SPACING = _Spacing()


def unicode_tokens(text: str) -> list[str]:
    """The tokens of any text: composed (NFKC), case-folded, cut at all that is not a word."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.translate(_SPACING).split()


def tokens(text: str) -> list[str]:
    """The tokens of a text or query: `unicode_tokens`, by a shorter way where all is ASCII."""
    return ASCII_WORD.findall(text.lower()) if text.isascii() else unicode_tokens(text)


def normal_form(text: str) -> str:
    """Tokens joined by single spaces; two queries with one normal form are the same query."""
    return " ".join(tokens(text))


class Matcher:
    """All queries as a trie over tokens, in flat arrays; 500,000 take 2 s to build.

    A token's number is the number of its node under the root; all other nodes count on from there.
    Edges are kept as sorted keys `node * len(words) + token`. Of queries that share a normal form
    the least stands for all.
    """

    def __init__(self, queries: Iterable[str]) -> None:
        self.queries: list[str] = sorted(set(queries))
        self.names = pa.array(self.queries, pa.string())
        self.words: dict[str, int] = {}
        spelled = [
            [self.words.setdefault(word, len(self.words)) for word in tokens(query)]
            for query in self.queries
        ]
        edges: dict[int, int] = {}
        ends: dict[int, int] = {}
        width = len(self.words)
        for query, spelling in enumerate(spelled):
            if spelling:
                node = spelling[0]
                for token in spelling[1:]:
                    node = edges.setdefault(node * width + token, width + len(edges))
                ends.setdefault(node, query)
        self._freeze(edges, ends)

    def _freeze(self, edges: dict[int, int], ends: dict[int, int]) -> None:
        nodes = len(self.words) + len(edges)
        keys = np.fromiter(edges.keys(), np.int64, len(edges))
        order = keys.argsort()
        self.keys, self.children = keys[order], np.fromiter(edges.values(), np.int64)[order]
        self.query_at = np.full(nodes, -1, np.int64)  # the query that ends at a node
        self.query_at[list(ends)] = list(ends.values())
        self.branches = np.zeros(nodes, bool)
        self.branches[self.keys // max(len(self.words), 1)] = True

    def match(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """Every (text, query) such that the text includes the query, once each.

        Returns:
            rows: indices into `texts`, ascending.
            found: indices into `self.queries`, ascending within a row.
        """
        token, row = self._numbers(texts)
        position = np.flatnonzero(
            token >= 0
        )  # where a walk down the trie stands, all walks at once
        node = token[position]
        pairs = [np.empty(0, np.int64)]
        while len(position):
            query = self.query_at[node]
            ended = query >= 0
            pairs.append(row[position[ended]] * len(self.queries) + query[ended])
            position += 1
            following = token[position]
            open_ = self.branches[node] & (following >= 0)
            position, node = self._step(position[open_], node[open_], following[open_])
        found = np.concatenate(pairs)
        found.sort()
        found = found[np.diff(found, prepend=-1) > 0]
        rows, queries = np.divmod(found, max(len(self.queries), 1))
        return rows, queries

    def _numbers(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """Each token's number (-1: in no query, or the end of a text), and the row of its text."""
        cut = [tokens(text) for text in texts]
        for words in cut:
            words.append("\n")  # no token, so that no walk leaves its text
        lengths = np.fromiter(map(len, cut), np.int64, len(cut))
        flat = itertools.chain.from_iterable(cut)
        numbers = map(self.words.get, flat, itertools.repeat(-1))
        row = np.repeat(np.arange(len(cut)), lengths)
        return np.fromiter(numbers, np.int64, int(lengths.sum())), row

    def _step(self, position: Ints, node: Ints, token: Ints) -> tuple[Ints, Ints]:
        """Follow the edge (node, token) of each walk; walks without such an edge end."""
        wanted = node * len(self.words) + token
        order = wanted.argsort()  # a sorted search runs through memory once: 5 times as fast
        wanted = wanted[order]
        at = np.searchsorted(self.keys, wanted)
        there = at < len(self.keys)
        there[there] = self.keys[at[there]] == wanted[there]
        return position[order[there]], self.children[at[there]]


def match_batch(batch: pa.RecordBatch, matcher: Matcher) -> pa.RecordBatch:
    """Candidates to matches: `queries` added, sorted; rows without any query are left out."""
    rows, found = matcher.match(batch.column("text").to_pylist())
    count = np.bincount(rows, minlength=batch.num_rows)
    offsets = np.concatenate([[0], np.cumsum(count[count > 0])])
    queries = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), matcher.names.take(found))
    kept = batch.filter(pa.array(count > 0))
    return pa.RecordBatch.from_arrays(
        [*kept.columns, queries], names=[*kept.schema.names, "queries"]
    )


def write_matches(
    candidates: Dataset, queries: Dataset, folder: str, engines: Engines
) -> Mapping[str, int]:
    """Fill `folder` with matches, a shard for a shard of candidates; drops by reason (no_query)."""
    import apache_beam as beam

    class MatchShard(beam.DoFn):
        """Builds the matcher on its worker, once: it is too big to ship."""

        def setup(self) -> None:
            names = (batch.column(0).to_pylist() for batch in queries.batches(["query"]))
            self.matcher = Matcher(itertools.chain.from_iterable(names))

        def process(self, task: shards.Task) -> None:
            match = partial(match_batch, matcher=self.matcher)
            shards.stream(task, CANDIDATES.names, match, MATCHES)

        def teardown(self) -> None:
            del self.matcher

    tasks = shards.tasks(candidates, folder)
    with beam_pipeline(engines) as pipeline:
        _ = pipeline | beam.Create(tasks) | beam.Reshuffle() | beam.ParDo(MatchShard())
    return {"no_query": candidates.manifest.rows - shards.rows_written(tasks)}
