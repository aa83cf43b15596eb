"""From WARC files to the candidates dataset: the same rows however the pages lie in files."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import datasets
from pipelines.engines import Engines
from pipelines.records import CANDIDATES
from pipelines.web import extract
from pipelines.web.archive import response_record
from pipelines.web.candidates import SOURCES, Candidate, candidates
from pipelines.web.extract import (
    ExtractConfig,
    distinct,
    distinct_runs,
    shard_count,
    spill_file,
    write_candidates,
)
from pipelines.web.warc import Response

HTML = (("Content-Type", "text/html"),)


def page(number: int) -> Response:
    """A page with a logo that all share, a picture that some share, and one of its own."""
    shared = ("alt", "title")[number % 2]
    body = f"""<html lang=en><img src="/logo.png" alt="logo">
    <img src="/shared{number % 5}.png" {shared}="shared {number % 5}">
    <img src="{number}.png" alt="picture {number}">"""
    return Response(f"http://site.example/{number % 7}/{number}", HTML, body.encode())


def write_warc(path: Path, pages: Sequence[Response]) -> str:
    path.write_bytes(b"".join(gzip.compress(response_record(found, "")) for found in pages))
    return str(path)


def plain_reference(pages: Sequence[Response]) -> tuple[dict[str, Candidate], int]:
    """Least by (source, page URL) of each pair, and how many were dropped for it."""
    found = [c for one in pages for c in candidates(one, Counter())]
    ordered = sorted(found, key=lambda c: (SOURCES.index(c.text_source), c.page_url), reverse=True)
    best = {candidate.pair_id: candidate for candidate in ordered}
    return best, len(found) - len(best)


def rows(folder: Path) -> list[tuple[str, ...]]:
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize(("files", "run_rows", "shard_rows"), [(1, 1000, 1000), (3, 7, 20)])
def test_candidates_equal_a_plain_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, run_rows: int, shard_rows: int
) -> None:
    monkeypatch.setattr(extract, "RUN_ROWS", run_rows)
    pages = [page(number) for number in range(60)]
    random.Random(files).shuffle(pages)
    paths = [write_warc(tmp_path / f"{n}.warc.gz", pages[n::files]) for n in range(files)]
    folder = tmp_path / "out"
    dropped = write_candidates(
        [*paths, paths[0]], str(folder), ExtractConfig(rows_per_shard=shard_rows), Engines()
    )
    best, duplicates = plain_reference(pages)
    assert rows(folder) == [tuple(best[pair_id]) for pair_id in sorted(best)]
    assert dropped == {"duplicate": duplicates}
    assert [path.name for path in folder.iterdir() if path.suffix != ".parquet"] == []
    assert (len(list(folder.iterdir())) > 1) == (shard_rows < len(best))


def test_bad_files_and_pages_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    pages = [
        page(1),
        Response("http://site.example/p", (("Content-Type", "image/png"),), b"\x89PNG"),
        Response("http://site.example/o", (*HTML, ("X-Robots-Tag", "noai")), page(2).body),
        Response("http://site.example/b", HTML, b"<img src=a alt='caf\x81\x8d \xff\xfe'>"),
    ]
    torn = Path(write_warc(tmp_path / "torn.warc.gz", [page(3), page(4)]))
    torn.write_bytes(torn.read_bytes()[:-50])
    junk = tmp_path / "junk.warc.gz"
    junk.write_bytes(b"junk" * 100)
    files = [write_warc(tmp_path / "a.warc.gz", pages), str(torn), str(junk)]
    folder = tmp_path / "out"
    dropped = write_candidates(files, str(folder), ExtractConfig(), Engines())
    assert {row[2] for row in rows(folder)} == {
        *("logo", "shared 1", "picture 1", "shared 3", "picture 3")
    }
    assert dropped == {
        "not_html": 1,
        "opt_out_header": 1,
        "undecodable": 1,
        "truncated_warc": 1,
        "corrupt_warc": 1,
        "duplicate": 1,
    }


def test_no_files_make_an_empty_dataset(tmp_path: Path) -> None:
    assert write_candidates([], str(tmp_path), ExtractConfig(), Engines()) == {}
    [shard] = tmp_path.glob("*.parquet")
    assert pq.read_table(shard).num_rows == 0
    assert pq.read_schema(shard).names == CANDIDATES.names


def test_a_rerun_after_a_kill_takes_up_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [page(number) for number in range(40)]
    paths = [write_warc(tmp_path / f"{n}.warc.gz", pages[n::4]) for n in range(4)]
    config = ExtractConfig(rows_per_shard=10)
    whole = write_candidates(paths, str(tmp_path / "whole"), config, Engines())
    folder = tmp_path / "killed"
    spill_file(paths[0], str(folder), config)
    write = datasets.write_shard
    written: list[str] = []

    def killed_at_the_third(path: str, table: pa.Table) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, table)

    monkeypatch.setattr(datasets, "write_shard", killed_at_the_third)
    with pytest.raises(BaseException):  # noqa: B017 - what Beam makes of it
        write_candidates(paths, str(folder), config, Engines())
    monkeypatch.setattr(datasets, "write_shard", write)
    reads: list[str] = []
    monkeypatch.setattr(extract, "read_pages", lambda path, *_: reads.append(path))
    stamps = {path: Path(path).stat().st_mtime_ns for path in written}
    assert write_candidates(paths, str(folder), config, Engines()) == whole
    assert reads == []
    assert {path: Path(path).stat().st_mtime_ns for path in written} == stamps
    assert rows(folder) == rows(tmp_path / "whole")


def test_as_a_dataset(tmp_path: Path) -> None:
    files = [write_warc(tmp_path / "a.warc.gz", [page(number) for number in range(9)])]

    def build(name: str) -> datasets.Dataset:
        config = ExtractConfig()
        return datasets.build(
            str(tmp_path / name),
            name="candidates",
            config=config,
            seed=0,
            parents=[],
            write=lambda folder: write_candidates(files, folder, config, Engines()),
        )

    dataset = build("one")
    assert dataset.manifest.rows == 1 + 5 + 9
    assert dataset.manifest.dropped == {"duplicate": 8 + 4}
    assert datasets.verify(dataset.path) == []
    assert build("two").manifest.content_hash == dataset.manifest.content_hash


def candidate(pair_id: str, source: str, url: str, language: str = "en") -> Candidate:
    return Candidate(pair_id, "http://x/i", "text", source, url, language)


def test_which_of_equal_pairs_is_kept() -> None:
    found = [
        candidate("b", "title", "http://a/"),
        candidate("a", "alt", "http://z/"),
        candidate("b", "alt", "http://c/"),
        candidate("b", "alt", "http://b/", "fr"),
        candidate("b", "alt", "http://b/", "de"),
        candidate("b", "figcaption", "http://a/"),
    ]
    kept = [found[1], found[4]]
    columns = [pa.array(column) for column in zip(*found, strict=True)]
    table = distinct(pa.Table.from_arrays(columns, schema=CANDIDATES))
    assert [tuple(row.values()) for row in table.to_pylist()] == kept
    dropped: Counter[str] = Counter()
    [run] = distinct_runs(found, dropped)
    assert sorted(run) == kept
    assert dropped == {"duplicate": 4}


def test_shard_counts_are_powers_of_two() -> None:
    config = ExtractConfig(rows_per_shard=10, buckets=8)
    assert [shard_count(rows, config) for rows in (0, 1, 10, 11, 21, 40, 41, 10**9)] == [
        *(1, 1, 1, 2, 4, 4, 8, 8)
    ]
    with pytest.raises(ValueError, match="buckets is 100"):
        ExtractConfig(buckets=100)


def test_texts_are_judged_only_if_asked(tmp_path: Path) -> None:
    texts = ("logo", "IMG_1234.jpg", "a tabby cat")
    body = "".join(f'<img src="{i}.png" alt="{text}">' for i, text in enumerate(texts))
    path = write_warc(
        tmp_path / "a.warc.gz", [Response("http://site.example/", HTML, body.encode())]
    )
    for judge, kept in ((False, texts), (True, ("a tabby cat",))):
        folder = tmp_path / str(judge)
        config = ExtractConfig(judge_texts=judge)
        dropped = write_candidates([path], str(folder), config, Engines())
        shard = pq.read_table(next(folder.glob("*.parquet")))
        assert sorted(shard["text"].to_pylist()) == sorted(kept)
        assert sum(dropped.values()) == len(texts) - len(kept)
