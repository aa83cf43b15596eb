"""CLIP's query list: what the web is searched for, and what the corpus is balanced over.

"The base query list is all words occurring at least 100 times in the English version of Wikipedia.
This is augmented with bi-grams with high pointwise mutual information as well as the names of all
Wikipedia articles above a certain search volume. Finally all WordNet synsets not already in the
query list are added." (Radford et al. 2021, section 2.2; 500,000 queries.) The thresholds that
CLIP leaves out are fields of `QueriesConfig`. Search volumes are in no dump, so every title is
taken: hand over a corpus of the articles that matter.

Sources rank unigram, bigram, title, synset, and each brings only what no earlier one has. Two
queries are the same if `match.normal_form` is: they would match the same texts.
"""

from __future__ import annotations

import io
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines import datasets, storage
from pipelines.engines import Engines, beam_pipeline
from pipelines.records import QUERIES
from pipelines.web.articles import METRICS, count_metric, read_articles
from pipelines.web.match import normal_form
from pipelines.web.ngrams import count_bigrams, count_words, pmi

if TYPE_CHECKING:
    import apache_beam as beam

SOURCES = ("unigram", "bigram", "title", "synset", "file")
"""Where a query comes from, in order of precedence."""

RANK = {source: rank for rank, source in enumerate(SOURCES)}

DISAMBIGUATION = re.compile(r"\s+\([^()]*\)\s*$")
"""The end of "Mercury (planet)", which tells articles apart and is no part of the name."""


@dataclass(frozen=True)
class QueriesConfig:
    """What becomes a query."""

    corpus: tuple[str, ...] = ()
    """Globs: .jsonl of {title, text}, .xml MediaWiki dump, else text; also .gz, .bz2."""
    wordnet: str = ""
    """WordNet's folder with index.noun, .verb, .adj and .adv; empty: no synsets."""
    min_count: int = 100
    """Occurrences that a word needs."""
    min_bigram_count: int = 20
    """Occurrences that a bigram needs; mutual information says little about rare ones."""
    min_pmi: float = 8.0
    """Bits of pointwise mutual information that a bigram needs; MetaCLIP took 30 on Wikipedia."""
    titles: bool = True
    """Whether the articles' titles become queries."""
    max_length: int = 256
    """Characters of the longest query."""

    def __post_init__(self) -> None:
        if not self.corpus and not self.wordnet:
            raise ValueError("corpus and wordnet are both empty; legal: at least one of them")
        for key in ("min_count", "min_bigram_count", "max_length"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}; legal: 1 or more")


Query = tuple[int, str, int]
"""Rank of its source, query, occurrences in the corpus; of equal queries the least stays."""


# Pure functions


def canonical(name: str) -> str:
    """A query as it is shown: lower case, single spaces."""
    return " ".join(name.lower().split())


def title_name(title: str) -> str:
    """What an article is about: its title without a disambiguation at the end."""
    return canonical(DISAMBIGUATION.sub("", title))


def lemma(line: str) -> str:
    """The lemma that a line of WordNet's index.* is about."""
    return canonical(line.partition(" ")[0].replace("_", " "))


def unigram(counted: tuple[str, int], config: QueriesConfig) -> Iterator[Query]:
    """The query that a word makes, if it is frequent."""
    word, count = counted
    if count >= config.min_count:
        yield RANK["unigram"], word, count
    else:
        count_metric("rare_word")


def bigram(
    counted: tuple[tuple[str, str], int],
    known: Mapping[str, int],
    total: int,
    config: QueriesConfig,
) -> Iterator[Query]:
    """The query that two words in a row make, if it is frequent and strong enough."""
    (left, right), count = counted
    if count < config.min_bigram_count:
        count_metric("rare_bigram")
    elif pmi(count, known[left], known[right], total) < config.min_pmi:
        count_metric("weak_bigram")
    else:
        yield RANK["bigram"], f"{left} {right}", count


def keyed(query: Query, max_length: int) -> Iterator[tuple[str, Query]]:
    """A query under its normal form, unless it has none or is too long."""
    form = normal_form(query[1])
    if not form:
        count_metric("no_word")
    elif len(query[1]) > max_length:
        count_metric("too_long")
    else:
        count_metric("offered")
        yield form, query


def distinct(group: tuple[str, Query]) -> Query:
    """The query that stands for its normal form."""
    count_metric("distinct")
    return group[1]


def write_rows(queries: Sequence[Query], folder: str) -> None:
    """Queries to one shard."""
    ranks, names, counts = zip(*queries, strict=True) if queries else ((), (), ())
    table = pa.Table.from_arrays(
        [
            pa.array(names, pa.string()),
            pa.array([SOURCES[r] for r in ranks], pa.string()),
            pa.array(counts, pa.int64()),
        ],
        schema=QUERIES,
    )
    datasets.write_shard(posixpath.join(folder, "00000.parquet"), table)


def write_sorted(queries: list[Query], folder: str) -> None:
    """Queries to one shard: by source, then occurrences, most first, then name."""
    write_rows(sorted(queries, key=lambda query: (query[0], -query[2], query[1])), folder)


# Lifted to Beam


def corpus_queries(articles: beam.PCollection, config: QueriesConfig) -> beam.PCollection:
    """Unigrams, bigrams and titles of the articles."""
    import apache_beam as beam

    batches = articles | beam.BatchElements(min_batch_size=64, max_batch_size=1024)
    counts = batches | beam.FlatMap(count_words) | "Add words" >> beam.CombinePerKey(sum)
    total = beam.pvalue.AsSingleton(counts | beam.Values() | beam.CombineGlobally(sum))
    frequent = beam.Filter(lambda item: item[1] >= config.min_bigram_count)
    known = beam.pvalue.AsDict(counts | "Words of bigrams" >> frequent)
    pairs = batches | beam.FlatMap(count_bigrams, known) | "Add pairs" >> beam.CombinePerKey(sum)
    found = [
        counts | "Unigrams" >> beam.FlatMap(unigram, config),
        pairs | "Bigrams" >> beam.FlatMap(bigram, known, total, config),
    ]
    if config.titles:
        found.append(
            articles | beam.Map(lambda article: (RANK["title"], title_name(article[0]), 0))
        )
    return found | "From corpus" >> beam.Flatten()


def synset_queries(pipeline: beam.Pipeline, folder: str) -> beam.PCollection:
    """Lemmas of WordNet's synsets."""
    import apache_beam as beam

    parts = [posixpath.join(folder, f"index.{part}") for part in ("noun", "verb", "adj", "adv")]
    lines = pipeline | beam.Create(parts) | beam.io.ReadAllFromText()
    return (
        lines
        | "No licence" >> beam.Filter(lambda line: not line.startswith(" "))
        | beam.Map(lambda line: (RANK["synset"], lemma(line), 0))
    )


def write_queries(config: QueriesConfig, folder: str, engines: Engines) -> Mapping[str, int]:
    """Fill `folder` with the query list; drops by reason.

    rare_word, rare_bigram, weak_bigram (its mutual information), no_word (nothing of it can match),
    too_long, covered (an earlier source has it).
    """
    import apache_beam as beam

    with beam_pipeline(engines) as pipeline:
        found = []
        if config.corpus:
            found.append(corpus_queries(read_articles(pipeline, config.corpus), config))
        if config.wordnet:
            found.append(synset_queries(pipeline, config.wordnet))
        _ = (
            found
            | "All" >> beam.Flatten()
            | "By normal form" >> beam.FlatMap(keyed, config.max_length)
            | "First source" >> beam.CombinePerKey(min)
            | "Distinct" >> beam.Map(distinct)
            | beam.combiners.ToList()
            | beam.Map(write_sorted, folder)
        )
    counted = pipeline.result.metrics().query()["counters"]
    dropped = {c.key.metric.name: c.result for c in counted if c.key.metric.namespace == METRICS}
    dropped["covered"] = dropped.pop("offered", 0) - dropped.pop("distinct", 0)
    return dropped


# A list from a file


def read_queries(path: str) -> Iterator[str]:
    """The queries of a file, one a line, as they are shown; ValueError where it is no UTF-8."""
    fs, inner = storage.filesystem(path)
    with fs.open_input_stream(inner) as source:
        for number, line in enumerate(io.BufferedReader(source), 1):
            try:
                yield canonical(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: {error}; legal: UTF-8") from error


def write_file_queries(path: str, folder: str) -> Mapping[str, int]:
    """Fill `folder` with the queries of a file, in its order; drops: no_word, duplicate."""
    queries: dict[str, str] = {}
    dropped = Counter(no_word=0, duplicate=0)
    for query in filter(None, read_queries(path)):
        form = normal_form(query)
        if not form:
            dropped["no_word"] += 1
        elif queries.setdefault(form, query) is not query:
            dropped["duplicate"] += 1
    write_rows([(RANK["file"], query, 0) for query in queries.values()], folder)
    return dropped
