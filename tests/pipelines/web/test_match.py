"""The matcher beside the sub-string test that it stands for."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import datasets
from pipelines.datasets import Dataset, Manifest, Shard
from pipelines.engines import Engines
from pipelines.records import CANDIDATES, QUERIES, record_id
from pipelines.web.match import (
    Matcher,
    match_batch,
    normal_form,
    tokens,
    unicode_tokens,
    write_matches,
)


def matched(queries: list[str], texts: list[str]) -> list[set[str]]:
    matcher = Matcher(queries)
    found: list[set[str]] = [set() for _ in texts]
    rows, indices = matcher.match(texts)
    for row, index in zip(rows.tolist(), indices.tolist(), strict=True):
        assert matcher.queries[index] not in found[row], "reported twice"
        found[row].add(matcher.queries[index])
    return found


def plain_loop(queries: list[str], text: str) -> set[str]:
    """Every query looked for in turn; of those that look alike the least is named."""
    least: dict[str, str] = {}
    for query in sorted(queries, reverse=True):
        least[normal_form(query)] = query
    return {
        query for form, query in least.items() if form and f" {form} " in f" {normal_form(text)} "
    }


LATIN = ["a", "b", "ab", "A", "cat", "dog", "é", "e\u0301", "ß", "SS", "ﬁ", "１", "İ", "I"]
OTHERS = ["東", "京", "タワー", "ไทย", "한국", "हिन्दी", "हि"]
MARKS = [" ", " ", "-", ", ", "'s", "_", "\u00ad", "\ufe0f", "❤", "\n"]
PIECES = st.sampled_from([*LATIN, *OTHERS, *MARKS])
TEXTS = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=12))


@settings(max_examples=300, deadline=None)
@given(queries=st.lists(TEXTS, max_size=12), texts=st.lists(TEXTS, max_size=6))
def test_finds_exactly_what_the_plain_loop_finds(queries: list[str], texts: list[str]) -> None:
    assert matched(queries, texts) == [plain_loop(queries, text) for text in texts]


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.characters(max_codepoint=127)))
def test_short_way_for_ascii_equals_the_long_one(text: str) -> None:
    assert tokens(text) == unicode_tokens(text)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_normal_form_is_stable_and_blind_to_case_and_composition(text: str) -> None:
    form = normal_form(text)
    assert normal_form(form) == form
    assert normal_form(unicodedata.normalize("NFD", text)) == form
    assert normal_form(text.casefold()) == form


@settings(max_examples=200, deadline=None)
@given(
    query=st.lists(st.sampled_from(["cat", "dog", "é", "x1"]), min_size=1, max_size=3).map(
        " ".join
    ),
    text=st.lists(
        st.sampled_from(["cat", "dog", "É", "x1", "s", " ", " ", ".", "'", "-", "(", "—"]),
        max_size=10,
    ).map("".join),
)
def test_a_query_matches_where_non_word_characters_delimit_it(query: str, text: str) -> None:
    words = r"[\W_]+".join(map(re.escape, query.split()))
    delimited = re.search(rf"(?<![^\W_]){words}(?![^\W_])", text.lower()) is not None
    assert (matched([query], [text]) == [{query}]) == delimited


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("cat", "A CAT, asleep", True),
        ("cat", "concatenate", False),
        ("cat", "the cat's bowl", True),
        ("new york", "New\u00a0York", True),
        ("new york", "new yorker", False),
        ("t-shirt", "red T shirt", True),
        ("cafe", "café", False),
        ("café", "CAFE\u0301", True),
        ("straße", "STRASSE", True),
        ("cat", "big_cat_2", True),
        ("हि", "हिन्दी", False),
        ("हिन्दी", "मानक हिन्दी", True),
        ("京都", "東京都庁", True),
        ("東京 tower", "東京tower", True),
        ("iphone", "iphoneの写真", True),
        ("ไทย", "ประเทศไทยสวย", True),
        ("co-op", "co\u00adop", False),
        ("coop", "co\u00adop", True),
        ("!!!", "!!! live", False),
    ],
)
def test_examples(query: str, text: str, found: bool) -> None:
    assert matched([query], [text]) == [{query} if found else set()]


def test_nested_and_repeated_queries_are_each_found_once() -> None:
    queries = ["new", "new york", "new york city", "york city", "city", "new jersey", "york"]
    assert matched(queries, ["New York City, New York!", "old york", ""]) == [
        set(queries) - {"new jersey"},
        {"york"},
        set(),
    ]


def test_a_walk_stays_in_its_text() -> None:
    assert matched(["new york"], ["new", "york"]) == [set(), set()]


def test_no_queries_match_nothing() -> None:
    assert matched([], ["a", ""]) == [set(), set()]
    assert matched(["...", ""], ["a ... b"]) == [set()]


def candidate(number: int, text: str) -> dict[str, str]:
    url = f"http://a.example/{number}.png"
    return {
        "pair_id": record_id(url, text),
        "image_url": url,
        "text": text,
        "text_source": "alt",
        "page_url": "http://a.example/",
        "language": "en",
    }


def test_match_batch_keeps_rows_with_queries_only() -> None:
    rows = [candidate(0, "a cat"), candidate(1, "nothing"), candidate(2, "dog, cat")]
    batch = pa.RecordBatch.from_pylist(rows, CANDIDATES)
    kept = match_batch(batch.slice(1), Matcher(["cat", "dog"]))
    assert kept.to_pylist() == [{**rows[2], "queries": ["cat", "dog"]}]
    assert match_batch(batch, Matcher([])).num_rows == 0


def finished(path: Path, name: str, shards: list[pa.Table]) -> Dataset:
    """A dataset without the hashing and checks of `datasets.build`."""
    listed = []
    for number, table in enumerate(shards):
        datasets.write_shard(f"{path}/{number}.parquet", table)
        listed.append(Shard(f"{number}.parquet", len(table), ""))
    rows = sum(shard.rows for shard in listed)
    return Dataset(str(path), Manifest(name, [], rows, listed, "", {}, "", 0, "", [], {}, {}))


def test_write_matches_goes_shard_by_shard_and_counts_drops(tmp_path: Path) -> None:
    texts = [["a cat", "nothing"], ["dog and cat"], [], ["no"]]
    tables = [
        pa.Table.from_pylist([candidate(10 * s + i, t) for i, t in enumerate(part)], CANDIDATES)
        for s, part in enumerate(texts)
    ]
    candidates = finished(tmp_path / "candidates", "candidates", tables)
    listed = [{"query": q, "source": "file", "count": 0} for q in ("cat", "dog", "cow")]
    queries = finished(tmp_path / "queries", "queries", [pa.Table.from_pylist(listed, QUERIES)])
    folder = str(tmp_path / "matches")
    assert write_matches(candidates, queries, folder, Engines()) == {"no_query": 2}
    found = [
        [
            row["queries"]
            for batch in datasets.shard_batches(f"{folder}/{n:05d}.parquet")
            for row in batch.to_pylist()
        ]
        for n in range(4)
    ]
    assert found == [[["cat"]], [["cat", "dog"]], [], []]
