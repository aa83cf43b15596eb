"""Reading WARC and WAT files (ISO 28500; WAT is Common Crawl's JSON extract of a WARC).

A crawl's file is one gzip member a record, so that damage has an edge: a bad record costs itself,
a torn file costs its end, and the rest is read. This is why the record layer is our own: FastWARC
2.0.1 ends without a word where a file is torn, and loses all that follows a record of wrong
length. Damage is a counted reason, never the end of a run; an error of the storage itself is
raised, for then the file is not known to be bad.

Reasons: truncated_warc and corrupt_warc (at most one a file); malformed_record, record_too_large,
http_status (not 200), and those of `pipelines.web.payload`.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from pipelines.web.payload import Headers, RecordError, decode_body

MAX_HEAD = 1 << 16
"""Bytes of the longest record head that is parsed."""
_BLOCK = 1 << 16


@dataclass(frozen=True)
class WarcLimits:
    """Sizes beyond which a record is skipped."""

    max_record_bytes: int = 16 << 20
    """Bytes of a WARC record as it lies in the file, decompressed."""
    max_page_bytes: int = 8 << 20
    """Bytes of a page after its content encodings are undone."""


@dataclass(frozen=True)
class Record:
    """One WARC record: its head (names in lower case) and its block."""

    head: dict[str, str]
    block: bytes


@dataclass(frozen=True)
class Response:
    """One archived HTTP response of status 200, its transfer and content encodings undone."""

    url: str
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class WatPage:
    """One response of status 200 as a WAT tells it; `html` (HTML-Metadata) is None if it was no
    HTML."""

    url: str
    headers: Headers
    html: dict[str, Any] | None


def read_pages(
    path: str, drops: Counter[str], limits: WarcLimits = WarcLimits()
) -> Iterator[Response | WatPage]:
    """Pages of one WARC or WAT file, gzipped or not, at a path or fsspec URL; `drops` counts the
    rest."""
    import fsspec  # type: ignore[import-untyped]

    with fsspec.open(path, "rb") as raw:
        for record in read_records(raw, drops, limits.max_record_bytes):
            try:
                page = _page(record, limits.max_page_bytes)
            except RecordError as error:
                drops[error.reason] += 1
                continue
            if page is not None:
                yield page


def read_records(raw: IO[bytes], drops: Counter[str], max_bytes: int) -> Iterator[Record]:
    """The complete records of a WARC file in `raw`, at most `max_bytes` each; `drops` counts the
    rest."""
    stream = _Stream(raw)
    while stream.next_member():
        try:
            while stream.more():
                record = _record(stream, max_bytes)
                if record is None:
                    drops["record_too_large"] += 1
                else:
                    yield record
        except RecordError as error:
            if stream.damage is None and stream.gzipped:
                drops["malformed_record"] += 1
            else:  # without members there is no edge to go on from
                stream.damage = stream.damage or error.reason
    if stream.damage is not None:
        drops[stream.damage] += 1


class _Stream:
    """The decompressed bytes of a WARC file, a gzip member at a time."""

    def __init__(self, raw: IO[bytes]) -> None:
        start = raw.read(2)
        raw.seek(0)
        self.gzipped = start == b"\x1f\x8b"
        self.damage: str | None = None
        self._blocks = self._inflate(raw) if self.gzipped else _plain(raw)
        self._member = -1
        self._ahead = next(self._blocks, None)
        self._buffer = bytearray()

    def _inflate(self, raw: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        """(index of the member, bytes), up to where the file is damaged."""
        member, inside, inflater = 0, False, zlib.decompressobj(31)
        data = raw.read(_BLOCK)
        try:
            while data:
                yield member, inflater.decompress(data, 1 << 20)
                data, inside = inflater.unconsumed_tail or inflater.unused_data, not inflater.eof
                if inflater.eof:
                    member, inflater = member + 1, zlib.decompressobj(31)
                data = data or raw.read(_BLOCK)
        except zlib.error:
            self.damage = "corrupt_warc"
        else:
            self.damage = "truncated_warc" if inside else None

    def next_member(self) -> bool:
        """Go to the next member, past what is left of this one; False at the end of the file."""
        self._buffer.clear()
        while self._ahead is not None and self._ahead[0] == self._member:
            self._ahead = next(self._blocks, None)
        if self._ahead is None:
            return False
        self._member = self._ahead[0]
        return True

    def _fill(self) -> bool:
        """Have more bytes of this member in the buffer; False at its end."""
        if self._ahead is None or self._ahead[0] != self._member:
            return False
        self._buffer += self._ahead[1]
        self._ahead = next(self._blocks, None)
        return True

    def more(self) -> bool:
        """Whether this member holds anything but line ends from here on."""
        while True:
            self._buffer = self._buffer.lstrip(b"\r\n")
            if self._buffer:
                return True
            if not self._fill():
                return False

    def head(self) -> bytes:
        """Bytes up to the next empty line, which is taken too."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD or not self._fill():
                raise RecordError("corrupt_warc")
        return self.take(end + 4)

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._buffer) < size:
            if not self._fill():
                raise RecordError("truncated_warc")
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def skip(self, size: int) -> None:
        """Pass over `size` bytes without holding them."""
        while size > 0:
            size -= len(self.take(min(size, max(1, len(self._buffer)))))


def _plain(raw: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    while data := raw.read(_BLOCK):
        yield 0, data


def _record(stream: _Stream, max_bytes: int) -> Record | None:
    """The record that begins here; None if it is larger than `max_bytes`, and passed over."""
    version, *lines = stream.head().decode("utf-8", "replace").split("\r\n")
    if not version.startswith("WARC/"):
        raise RecordError("corrupt_warc")
    pairs = (line.partition(":") for line in lines if line)
    head = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = head.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise RecordError("corrupt_warc")
    if int(length) > max_bytes:
        stream.skip(int(length))
        return None
    return Record(head, stream.take(int(length)))


def _page(record: Record, max_bytes: int) -> Response | WatPage | None:
    """The page in a record, None if it holds something else. Raises RecordError."""
    kind, content_type = record.head.get("warc-type"), record.head.get("content-type", "")
    url = record.head.get("warc-target-uri", "").strip("<>")
    if kind == "metadata" and content_type.startswith("application/json"):
        return _wat_page(record.block)
    if kind != "response" or not url.startswith(("http://", "https://")):
        return None
    head, _, body = record.block.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = status_line.split(" ")[1:2]
    if not status_line.startswith("HTTP/") or not status:
        raise RecordError("malformed_record")
    if status[0] != "200":
        raise RecordError("http_status")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name.strip(), value.strip()) for name, _, value in pairs)
    return Response(url, headers, decode_body(body, headers, max_bytes))


def _wat_page(block: bytes) -> WatPage | None:
    """The page that a WAT record describes, None if it describes a request or the like."""
    try:
        envelope = json.loads(block)["Envelope"]
        url = envelope["WARC-Header-Metadata"].get("WARC-Target-URI", "")
        http = envelope["Payload-Metadata"].get("HTTP-Response-Metadata")
        if http is None or not url.startswith(("http://", "https://")):
            return None
        if str(http["Response-Message"]["Status"]) != "200":
            raise RecordError("http_status")
        url.encode()  # a lone surrogate is a ValueError
        headers = tuple((name, str(value)) for name, value in http.get("Headers", {}).items())
        html = http.get("HTML-Metadata")
        return WatPage(url, headers, html if isinstance(html, dict) else None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError("malformed_record") from error


def matching(pattern: str) -> list[str]:
    """Files that a path or fsspec URL with wildcards names. Raises FileNotFoundError if none do."""
    import fsspec

    fs, inner = fsspec.core.url_to_fs(pattern)
    found = sorted(path for path in fs.glob(inner) if fs.isfile(path))
    if not found:
        raise FileNotFoundError(f"no file matches {pattern!r}")
    return [fs.unstrip_protocol(path) if "://" in pattern else path for path in found]


def fingerprint(files: Iterable[str]) -> str:
    """Identity of a set of WARC files: 32 hex digits over each one's name, size and outer 64 KiB.

    Cheap at any size, and independent of folder and order. A change in a file's middle that keeps
    its size and both ends goes unseen; no writer of gzipped records makes one.
    """
    import fsspec

    lines = []
    for path in files:
        with fsspec.open(path, "rb") as file:
            head = file.read(1 << 16)
            size = file.seek(0, 2)
            file.seek(max(0, size - (1 << 16)))
            ends = hashlib.sha256(head + file.read()).hexdigest()
        lines.append(f"{posixpath.basename(path)} {size} {ends}")
    return hashlib.blake2b("\n".join(sorted(lines)).encode(), digest_size=16).hexdigest()
