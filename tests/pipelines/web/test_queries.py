"""The query list: a whole one from a small corpus beside a plain loop, and one from a file."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from pipelines import datasets
from pipelines.engines import Engines
from pipelines.web.match import normal_form
from pipelines.web.queries import (
    QueriesConfig,
    canonical,
    lemma,
    read_queries,
    title_name,
    write_file_queries,
    write_queries,
)

Rows = list[tuple[str, str, int]]

ARTICLES = [
    ("New York", "New York is a city. New York has parks; a park is green."),
    ("Mercury (planet)", "Mercury is a planet, the planet Mercury is hot."),
    ("Park", "A park in New York is a park. A city is a city."),
    ("St. Louis", "St. Louis is a city in Missouri."),
    ("!!!", "A band is a band."),
]
LEMMAS = {
    "noun": ["city n 1 0", "new_york n 1 0", "garden_party n 1 0", "saint_louis n 1 0"],
    "verb": ["is v 1 0", "garden_Party v 1 0"],
    "adj": ["hot a 1 0"],
    "adv": ["at_hand r 1 0"],
}


def config_over(folder: Path) -> QueriesConfig:
    lines = [json.dumps({"title": title, "text": text}) for title, text in ARTICLES]
    (folder / "one.jsonl").write_text("\n".join(lines[:2]))
    (folder / "two.jsonl").write_text("\n".join([*lines[2:], "{broken"]))
    for part, lemmas in LEMMAS.items():
        licence = "  1 This software and database\n"
        (folder / f"index.{part}").write_text(licence + "".join(f"{x}\n" for x in lemmas))
    corpus = (str(folder / "*.jsonl"),)
    return QueriesConfig(corpus, str(folder), min_count=3, min_bigram_count=2, min_pmi=2.0)


def plain_list(config: QueriesConfig) -> Rows:
    """The four sources one after the other, each leaving out what stands already."""
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for _, text in ARTICLES:
        spaced = text.translate({ord(mark): " | " for mark in ".;,"})
        sentence = spaced.lower().split()
        words.update(word for word in sentence if word != "|")
        pairs.update(pair for pair in pairwise(sentence) if "|" not in pair)
    total = sum(words.values())
    rows: Rows = [(w, "unigram", n) for w, n in words.items() if n >= config.min_count]
    for (left, right), n in pairs.items():
        strength = math.log2(n * total / (words[left] * words[right]))
        if n >= config.min_bigram_count and strength >= config.min_pmi:
            rows.append((f"{left} {right}", "bigram", n))
    rows += [(title.split(" (")[0].lower(), "title", 0) for title, _ in ARTICLES]
    for part in LEMMAS.values():
        rows += [(line.split()[0].replace("_", " ").lower(), "synset", 0) for line in part]
    taken: dict[str, tuple[str, str, int]] = {}
    for row in rows:
        if normal_form(row[0]):
            taken.setdefault(normal_form(row[0]), row)
    return list(taken.values())


def built(config: QueriesConfig, folder: Path) -> tuple[Rows, dict[str, int]]:
    dropped = write_queries(config, str(folder), Engines())
    rows = [row for b in datasets.shard_batches(f"{folder}/00000.parquet") for row in b.to_pylist()]
    return [(row["query"], row["source"], row["count"]) for row in rows], dict(dropped)


def test_equals_the_plain_list(tmp_path: Path) -> None:
    config = config_over(tmp_path)
    rows, dropped = built(config, tmp_path / "out")
    assert sorted(rows) == sorted(plain_list(config))
    assert ("new york", "bigram", 3) in rows
    assert ("mercury", "unigram", 3) not in rows
    assert ("mercury", "title", 0) in rows
    assert ("st. louis", "title", 0) in rows
    assert ("garden party", "synset", 0) in rows
    order = ["unigram", "bigram", "title", "synset"]
    assert rows == sorted(rows, key=lambda row: (order.index(row[1]), -row[2], row[0]))
    # covered: the titles New York and Park, the lemmas city, new york, is, garden party (twice)
    assert {key: dropped[key] for key in ("covered", "no_word", "not_json")} == {
        "covered": 6,
        "no_word": 1,
        "not_json": 1,
    }


def test_each_source_can_be_left_out(tmp_path: Path) -> None:
    config = config_over(tmp_path)
    rows, _ = built(replace(config, wordnet="", titles=False, max_length=5), tmp_path / "a")
    assert {source for _, source, _ in rows} == {"unigram"}
    rows, dropped = built(replace(config, corpus=()), tmp_path / "b")
    assert {source for _, source, _ in rows} == {"synset"}
    assert dropped == {"covered": 1}


def test_pure_parts() -> None:
    assert canonical("  New\tYork ") == "new york"
    assert title_name("Mercury (planet)") == "mercury"
    assert title_name("(What's the Story) Morning Glory?") == "(what's the story) morning glory?"
    assert lemma("a_cappella a 1 2 \\ + 1 0 00000001") == "a cappella"


def test_config_names_what_is_legal() -> None:
    with pytest.raises(ValueError, match="corpus and wordnet are both empty"):
        QueriesConfig()
    with pytest.raises(ValueError, match="min_count is 0; legal: 1 or more"):
        QueriesConfig(wordnet="x", min_count=0)


def test_a_list_from_a_file_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_bytes("\ufeffNew  York\r\ncat\n\n t-shirt\nT shirt\n!!!\n東京\ncat".encode())
    assert list(read_queries(str(path)))[:2] == ["new york", "cat"]
    dropped = write_file_queries(str(path), str(tmp_path / "out"))
    batches = datasets.shard_batches(f"{tmp_path}/out/00000.parquet")
    rows = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    assert rows == [(query, "file", 0) for query in ("new york", "cat", "t-shirt", "東京")]
    assert dropped == {"no_word": 1, "duplicate": 2}


def test_a_file_that_is_no_utf8_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_bytes(b"cat\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"line 2: .*legal: UTF-8"):
        list(read_queries(str(path)))
    path.write_bytes(b"")
    assert write_file_queries(str(path), str(tmp_path / "out")) == {"no_word": 0, "duplicate": 0}
