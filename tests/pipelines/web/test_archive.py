"""The archive holds each page once and whole, wherever a kill cuts its open file."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipelines.web.archive import Archive
from pipelines.web.warc import Response, WarcLimits, read_pages

HEADERS = (("Content-Type", "text/html"), ("Content-Encoding", "gzip"), ("X-A", "b\r\nWARC: c"))


def page(number: int) -> Response:
    return Response(f"http://site.example/{number}", HEADERS, b"<p>page %d" % number)


def test_files_roll_and_never_show_torn(tmp_path: Path) -> None:
    with Archive(str(tmp_path), max_pages=3) as archive:
        for number in range(7):
            archive.append(page(number), "192.0.2.1")
            complete = sum(1 for _ in archive.stored(WarcLimits()))
            assert complete == (number + 1) // 3 * 3
    assert [path.name for path in archive.files] == [f"crawl-{i:05d}.warc.gz" for i in range(3)]
    stored = list(archive.stored(WarcLimits()))
    assert [found.url for found in stored] == [page(i).url for i in range(7)]
    assert stored[0].body == page(0).body
    assert ("Content-Encoding", "gzip") not in stored[0].headers
    assert len(stored[0].headers) == 2


def test_another_reader_reads_it(tmp_path: Path) -> None:
    with Archive(str(tmp_path)) as archive:
        for number in range(3):
            archive.append(page(number), "")
    path = str(archive.files[0])
    records = [
        (record.record_type, record.headers.get("WARC-Target-URI"), record.reader.read())
        for record in ArchiveIterator(path)
    ]
    assert [kind for kind, _, _ in records] == [WarcRecordType.warcinfo] + 3 * [
        WarcRecordType.response
    ]
    assert [(url, body) for _, url, body in records[1:]] == [
        (page(i).url, page(i).body) for i in range(3)
    ]


def test_any_cut_keeps_every_complete_page(tmp_path: Path) -> None:
    written = Archive(str(tmp_path / "whole"))
    ends = []
    hidden = tmp_path / "whole" / ".crawl.warc.gz.open"
    for number in range(4):
        written.append(page(number), "")
        ends.append(hidden.stat().st_size)
    data = hidden.read_bytes()
    for cut in range(0, len(data) + 1, 7):
        folder = tmp_path / "cut"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / hidden.name).write_bytes(data[:cut])
        with Archive(str(folder)) as archive:
            assert len(list(archive.stored(WarcLimits()))) == sum(end <= cut for end in ends)
            archive.append(page(9), "")
        drops: Counter[str] = Counter()
        urls = [found.url for path in archive.files for found in read_pages(str(path), drops)]
        assert urls[-1] == page(9).url
        assert not drops
        assert not (folder / hidden.name).exists()


def test_full_disk_leaves_no_torn_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(str(tmp_path))
    archive.append(page(0), "")
    file = archive._file
    assert file is not None
    write = file.write

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(file, name)

        def write(self, data: bytes) -> int:
            return write(data[:10])

    monkeypatch.setattr(archive, "_file", Full())
    with pytest.raises(OSError, match=r"no room for \d+ bytes in .*crawl"):
        archive.append(page(1), "")
    archive.close()
    assert [found.url for found in archive.stored(WarcLimits())] == [page(0).url]


def test_a_damaged_finished_file_is_named(tmp_path: Path) -> None:
    with Archive(str(tmp_path)) as archive:
        archive.append(page(0), "")
    path = archive.files[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"crawl-00000.warc.gz is damaged .*truncated_warc"):
        list(Archive(str(tmp_path)).stored(WarcLimits()))
