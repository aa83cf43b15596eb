"""Payloads of HTTP messages: header look-up, and undoing transfer and content encodings within
limits.

Reasons: bad_content_encoding; page_too_large (found while decoding, so that a bomb is cut short);
malformed_record.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

Headers = tuple[tuple[str, str], ...]
_BLOCK = 1 << 16


class RecordError(Exception):
    """A record cannot be used; `reason` is the drop reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def header(headers: Headers, name: str) -> str | None:
    """The first header called `name` (lower case)."""
    return next((value for key, value in headers if key.lower() == name), None)


def decode_body(body: bytes, headers: Headers, limit: int) -> bytes:
    """A payload with its transfer and content encodings undone, at most `limit` bytes.

    Archives often hold a payload that is decoded already under headers that still name the
    encoding: what does not start like its encoding is taken as it is. Raises RecordError:
    bad_content_encoding, page_too_large.
    """
    if "chunked" in (header(headers, "transfer-encoding") or "").lower():
        body = _dechunked(body)
    encodings = (header(headers, "content-encoding") or "").lower().split(",")
    for encoding in reversed([name.strip() for name in encodings]):
        if encoding not in ("", "identity"):
            body = _decoded(body, encoding, limit)
    if len(body) > limit:
        raise RecordError("page_too_large")
    return body


def _dechunked(body: bytes) -> bytes:
    from fastwarc.stream_io import ChunkedReader

    size = body[:18].partition(b"\r\n")[0].partition(b";")[0]
    if not size.strip() or size.strip(b"0123456789abcdefABCDEF \t"):
        return body
    return _read_all(ChunkedReader(io.BytesIO(body)), len(body))


def _decoded(body: bytes, encoding: str, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader, ZstdReader

    if body.lstrip()[:1] == b"<":  # decoded already: no compressed stream starts like a tag
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflated(body, 31, limit)
    if encoding == "deflate":  # some servers leave out the zlib header
        return _inflated(body, 15 if body[:1] == b"\x78" else -15, limit)
    if encoding == "br":
        return _read_all(BrotliReader(io.BytesIO(body)), limit)
    if encoding == "zstd":
        return _read_all(ZstdReader(io.BytesIO(body)), limit)
    raise RecordError("bad_content_encoding")


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    try:
        data = zlib.decompressobj(window).decompress(body, limit + 1)
    except zlib.error as error:
        raise RecordError("bad_content_encoding") from error
    if len(data) > limit:
        raise RecordError("page_too_large")
    return data


def _read_all(stream: Any, limit: int) -> bytes:
    data = bytearray()
    try:
        while len(data) <= limit and (block := stream.read(_BLOCK)):
            data += block
    except OSError as error:
        raise RecordError("bad_content_encoding") from error
    if len(data) > limit:
        raise RecordError("page_too_large")
    return bytes(data)
