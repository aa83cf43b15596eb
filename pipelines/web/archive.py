"""A crawl's archive: rolling gzipped WARC files that survive a kill at any moment.

A page is one gzip member and one write. The open file has a hidden name; it is renamed when it is
full, so that a visible file is never torn. After a kill the hidden file may end within a member:
`Archive` cuts that off and renames the rest. Hence each page is in the archive once, whole, or not
at all, and the archive is all the state that a crawl needs to go on.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pipelines.web.payload import Headers
from pipelines.web.safety import USER_AGENT
from pipelines.web.warc import Response, WarcLimits, read_pages

_OPEN = ".crawl.warc.gz.open"
_NAME = re.compile(r"crawl-(\d{5})\.warc\.gz")


class Archive:
    """The WARC files of one folder, open for more. Use it in a with statement."""

    def __init__(self, folder: str, max_pages: int = 1000, max_bytes: int = 64 << 20) -> None:
        self._folder = Path(folder)
        self._max_pages, self._max_bytes = max_pages, max_bytes
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO | None = None
        self._pages = self._bytes = 0
        if self._hidden.exists():
            _cut_torn_end(self._hidden)
            self._publish()

    @property
    def files(self) -> list[Path]:
        """The finished files, in the order of their numbers."""
        return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))

    @property
    def _hidden(self) -> Path:
        return self._folder / _OPEN

    def stored(self, limits: WarcLimits) -> Iterator[Response]:
        """Every page of the finished files. Raises ValueError naming the file that is damaged."""
        for path in self.files:
            drops: Counter[str] = Counter()
            for page in read_pages(str(path), drops, limits):
                if isinstance(page, Response):
                    yield page
            if drops:
                raise ValueError(f"{path} is damaged ({dict(drops)}): remove it, then crawl again")

    def append(self, page: Response, ip_address: str) -> None:
        """Archive one page; once this has returned, a kill of the process does not undo it."""
        if self._file is None:
            self._file = self._hidden.open("ab", buffering=0)
            self._write(warcinfo_record())
        self._write(response_record(page, ip_address))
        self._pages += 1
        if self._pages >= self._max_pages or self._bytes >= self._max_bytes:
            self.close()

    def _write(self, record: bytes) -> None:
        """Append one member, whole or not at all. Raises OSError, such as when the disk is full."""
        assert self._file is not None
        member, end = gzip.compress(record, 6, mtime=0), self._file.tell()
        try:
            if self._file.write(member) < len(member):
                raise OSError(errno.ENOSPC, f"no room for {len(member)} bytes in {self._hidden}")
        except OSError:
            self._file.truncate(end)
            raise
        self._bytes += len(member)

    def close(self) -> None:
        """Finish the open file, if there is one."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._publish()
        self._file, self._pages, self._bytes = None, 0, 0

    def _publish(self) -> None:
        number = int(self.files[-1].name[6:11]) + 1 if self.files else 0
        if self._hidden.stat().st_size:
            self._hidden.rename(self._folder / f"crawl-{number:05d}.warc.gz")
        else:
            self._hidden.unlink()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def response_record(page: Response, ip_address: str) -> bytes:
    """A WARC/1.1 response record whose payload is the decoded page."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in _stored_headers(page.headers))
    head = f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode("latin-1", "replace")
    extra = {"WARC-Target-URI": page.url}
    if ip_address:
        extra["WARC-IP-Address"] = ip_address
    return _record("response", "application/http;msgtype=response", extra, head + page.body)


def warcinfo_record() -> bytes:
    """The record that opens each file: who wrote it, by which rules."""
    lines = f"software: {USER_AGENT}\r\nformat: WARC File Format 1.1\r\nrobots: obey\r\n"
    return _record("warcinfo", "application/warc-fields", {}, lines.encode())


def _record(kind: str, content_type: str, extra: dict[str, str], block: bytes) -> bytes:
    head = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid4()}>",
        "WARC-Date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **extra,
        "Content-Type": content_type,
        "Content-Length": str(len(block)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return b"WARC/1.1\r\n" + lines.encode() + b"\r\n" + block + b"\r\n\r\n"


def _stored_headers(headers: Headers) -> Iterator[tuple[str, str]]:
    """Headers that stay true of the decoded payload, on one line each."""
    for name, value in headers:
        if name.lower() not in ("content-encoding", "transfer-encoding", "content-length"):
            yield name, value.replace("\r", " ").replace("\n", " ")


def _cut_torn_end(path: Path) -> None:
    """Truncate a file of gzip members after the last complete one."""
    end = 0
    with path.open("rb") as file:
        inflater, seen, data = zlib.decompressobj(31), 0, file.read(1 << 16)
        while data:
            seen += len(data)
            try:
                inflater.decompress(data)
            except zlib.error:  # no kill writes this, but a full disk with a hole in the file may
                break
            data = inflater.unused_data
            seen -= len(data)
            if inflater.eof:
                end, inflater = seen, zlib.decompressobj(31)
            data = data or file.read(1 << 16)
    os.truncate(path, end)
