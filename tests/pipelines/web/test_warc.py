"""Reading WARC and WAT: what is complete is read, what is not is counted."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from pathlib import Path

import brotli  # type: ignore[import-untyped]
import pytest
from fastwarc.warc import WarcRecord, WarcRecordType

from pipelines.web.payload import RecordError, decode_body
from pipelines.web.warc import (
    Response,
    WarcLimits,
    WatPage,
    fingerprint,
    matching,
    read_pages,
)

HTML = b"<html><p>some words</p></html>" * 30
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def record(number: int, body: bytes = HTML, head: bytes = OK) -> bytes:
    """A response record, written by FastWARC."""
    made = WarcRecord()
    made.init_headers(WarcRecordType.response)
    made.headers["WARC-Target-URI"] = f"http://site.example/{number}"
    made.headers["Content-Type"] = "application/http; msgtype=response"
    made.set_bytes_content(head + body)
    out = io.BytesIO()
    made.write(out, checksum_data=True)
    return out.getvalue()


def encoded(encoding: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode()


MEMBERS = [gzip.compress(record(number), mtime=0) for number in range(4)]


def read(path: Path, data: bytes, **limits: int) -> tuple[list[str], dict[str, int]]:
    path.write_bytes(data)
    drops: Counter[str] = Counter()
    pages = list(read_pages(str(path), drops, WarcLimits(**limits)))
    assert all(isinstance(page, Response) and page.body == HTML for page in pages)
    return [page.url[-1] for page in pages], dict(drops)


def test_pages_of_a_whole_file(tmp_path: Path) -> None:
    raw = b"".join(record(number) for number in range(4))
    for data in (b"".join(MEMBERS), raw, gzip.compress(raw)):
        assert read(tmp_path / "f", data) == (["0", "1", "2", "3"], {})
    assert read(tmp_path / "f", b"") == ([], {})
    (tmp_path / "f").write_bytes(MEMBERS[0])
    page = next(iter(read_pages(f"file://{tmp_path}/f", Counter())))
    assert page.headers == (("Content-Type", "text/html"),)


def test_truncated_anywhere(tmp_path: Path) -> None:
    data = b"".join(MEMBERS)
    edges = [sum(map(len, MEMBERS[:n])) for n in range(5)]
    for cut in range(2, len(data), 11):
        urls, drops = read(tmp_path / "f", data[:cut])
        complete = sum(edge <= cut for edge in edges) - 1
        assert len(urls) in (complete, complete + 1)  # a member may lack but its checksum
        assert drops == ({} if cut in edges else {"truncated_warc": 1})


def test_truncated_without_compression(tmp_path: Path) -> None:
    raw = record(0) + record(1)
    assert read(tmp_path / "f", raw[:-500]) == (["0"], {"truncated_warc": 1})


def test_a_bad_record_costs_itself(tmp_path: Path) -> None:
    length = f"Content-Length: {len(OK + HTML)}".encode()
    for wrong in (b"Content-Length: 99999", b"Content-Length: 7", b"Content-Length: -1", b"X: 1"):
        bad = gzip.compress(record(1).replace(length, wrong, 1))
        urls, drops = read(tmp_path / "f", MEMBERS[0] + bad + MEMBERS[2])
        assert urls == ["0", "2"]
        assert drops == {"malformed_record": drops["malformed_record"]}


def test_corrupt_bytes(tmp_path: Path) -> None:
    data = bytearray(b"".join(MEMBERS))
    data[len(MEMBERS[0]) + len(MEMBERS[1]) + 100] ^= 0xFF
    urls, drops = read(tmp_path / "f", bytes(data))
    assert urls == ["0", "1"]
    assert set(drops) <= {"corrupt_warc", "malformed_record"}
    assert read(tmp_path / "f", b"no archive at all\n" * 99) == ([], {"corrupt_warc": 1})


def test_large_records_are_passed_over(tmp_path: Path) -> None:
    data = gzip.compress(record(0, bytes(3 << 20))) + MEMBERS[1]
    assert read(tmp_path / "f", data, max_record_bytes=1 << 20) == (["1"], {"record_too_large": 1})


def test_content_encodings(tmp_path: Path) -> None:
    raw_deflate = zlib.compressobj(wbits=-15)
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (HTML[:50], HTML[50:], b""))
    bodies = [
        (encoded("gzip"), gzip.compress(HTML)),
        (encoded("deflate"), zlib.compress(HTML)),
        (encoded("deflate"), raw_deflate.compress(HTML) + raw_deflate.flush()),
        (encoded("br"), brotli.compress(HTML)),
        (encoded("gzip, br"), brotli.compress(gzip.compress(HTML))),
        (encoded("gzip"), HTML),  # decoded by the archiver, the header left as it was
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTML),
    ]
    data = b"".join(record(number, body, head) for number, (head, body) in enumerate(bodies))
    assert read(tmp_path / "f", data) == ([str(n) for n in range(len(bodies))], {})


@pytest.mark.parametrize("compress", [gzip.compress, lambda data: brotli.compress(data, quality=1)])
def test_bombs(tmp_path: Path, compress: object) -> None:
    body = compress(bytes(1 << 26))  # type: ignore[operator]
    encoding = "gzip" if body[:2] == b"\x1f\x8b" else "br"
    data = record(0, body, encoded(encoding)) + record(1)
    assert read(tmp_path / "f", data) == (["1"], {"page_too_large": 1})


def test_bodies_that_cannot_be_decoded() -> None:
    for encoding in ("gzip", "deflate", "br", "zstd", "compress"):
        with pytest.raises(RecordError, match="bad_content_encoding"):
            decode_body(b"\x01garbage" * 9, (("Content-Encoding", encoding),), 1 << 20)


def test_statuses_and_other_records(tmp_path: Path) -> None:
    head = b"HTTP/1.1 404 Not Found\r\n\r\n"
    info = record(1).replace(b"WARC-Type: response", b"WARC-Type: request", 1)
    data = record(0, head=head) + info + record(2, head=b"no HTTP\r\n\r\n") + record(3)
    assert read(tmp_path / "f", data) == (["3"], {"http_status": 1, "malformed_record": 1})


def wat(envelope: object) -> bytes:
    block = json.dumps({"Envelope": envelope}).encode()
    lines = ["WARC/1.0", "WARC-Type: metadata", "Content-Type: application/json"]
    head = "\r\n".join([*lines, f"Content-Length: {len(block)}", "", ""])
    return gzip.compress(head.encode() + block + b"\r\n\r\n")


def envelope_of(status: str, html: object) -> dict[str, object]:
    http = {
        "Response-Message": {"Status": status},
        "Headers": {"Content-Type": "text/html"},
        "HTML-Metadata": html,
    }
    return {
        "WARC-Header-Metadata": {"WARC-Target-URI": "http://site.example/"},
        "Payload-Metadata": {"HTTP-Response-Metadata": http},
    }


def test_wat(tmp_path: Path) -> None:
    html = {"Links": [{"path": "IMG@/src", "url": "a.png", "alt": "a"}]}
    request: object = {
        "WARC-Header-Metadata": {},
        "Payload-Metadata": {"HTTP-Request-Metadata": {}},
    }
    records = [envelope_of("200", html), request, envelope_of("404", html), {"Payload-Metadata": 7}]
    path = tmp_path / "f.wat.gz"
    path.write_bytes(b"".join(wat(found) for found in records))
    drops: Counter[str] = Counter()
    pages = list(read_pages(str(path), drops))
    assert pages == [WatPage("http://site.example/", (("Content-Type", "text/html"),), html)]
    assert drops == {"http_status": 1, "malformed_record": 1}


def test_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one, two, moved = tmp_path / "1.warc", tmp_path / "2.warc", tmp_path / "a" / "1.warc"
    one.write_bytes(b"x" * 200_000)
    two.write_bytes(b"y")
    moved.write_bytes(one.read_bytes())
    whole = fingerprint([str(one), str(two)])
    assert fingerprint([str(two), str(moved)]) == whole
    for position in (0, 150_000):
        data = bytearray(moved.read_bytes())
        data[position] = 0
        one.write_bytes(data)
        assert fingerprint([str(one), str(two)]) != whole
    with pytest.raises(FileNotFoundError, match="gone"):
        list(read_pages(str(tmp_path / "gone.warc"), Counter()))


def test_matching(tmp_path: Path) -> None:
    for name in ("b.warc.gz", "a.warc.gz", "a.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.warc.gz").mkdir()
    expected = [f"{tmp_path}/a.warc.gz", f"{tmp_path}/b.warc.gz"]
    assert matching(f"{tmp_path}/*.warc.gz") == expected
    assert matching(f"file://{tmp_path}/*.warc.gz") == [f"file://{path}" for path in expected]
    assert matching(expected[0]) == expected[:1]
    with pytest.raises(FileNotFoundError, match="none"):
        matching(f"{tmp_path}/none*")
