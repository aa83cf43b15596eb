"""What became of a URL, in words that do not change from run to run: no timings, no addresses.

The words are the drop reasons that reports count, so that each says something that one can act on.
"""

from __future__ import annotations

import email.utils
import ssl
import time
import zlib
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from pipelines.web.safety import AddressRefused


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a URL: status "ok" and a value, or the reason why there is none."""

    status: str
    detail: str = ""
    value: Any = None
    """What `finish` made of the body; None unless ok."""
    passing: bool = False
    """The failure may pass: worth another try."""
    retry_after: float = 0.0
    """Seconds that the server asked us to wait."""
    location: str = ""
    """Where a redirect leads to."""


_FAILURES: tuple[tuple[tuple[type[Exception], ...], Answer], ...] = (
    (
        (aiohttp.ClientConnectorDNSError,),
        Answer("unreachable", "name not resolved", passing=True),
    ),
    (
        (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError),
        Answer("unreachable", "no connection", passing=True),
    ),
    ((aiohttp.InvalidURL,), Answer("url_malformed")),
    (
        (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError),
        Answer("connection_lost", passing=True),
    ),
    ((aiohttp.ClientPayloadError,), Answer("connection_lost", "in the body", passing=True)),
)
"""The first line that fits an exception; connecting comes before what may happen when connected."""


def failure(error: Exception, total_seconds: float) -> Answer:
    """The answer for an exception of a request that was given `total_seconds`."""
    refused = _cause(error, AddressRefused)
    if refused is not None:
        return Answer(refused.reason)
    if _cause(error, ssl.SSLError) is not None:
        return Answer("tls", "no trusted connection")
    for kinds, answer in _FAILURES:
        if isinstance(error, kinds):
            return answer
    if isinstance(error, TimeoutError):
        return Answer("timeout", f"more than {total_seconds:g} seconds")
    return Answer("bad_response", type(error).__name__)


E = TypeVar("E", bound=BaseException)


def _cause(error: BaseException | None, kind: type[E]) -> E | None:
    """The first of `kind` in the chain of what led to `error`."""
    while error is not None and not isinstance(error, kind):
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return error


def joined(base: URL, location: str) -> str:
    """Where a redirect from `base` leads to; what is no URL is left for the policy to refuse."""
    try:
        return str(base.join(URL(location)))
    except ValueError:
        return location


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3: a number or a date), or 0."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def unpacked(body: bytes, coding: str, limit: int) -> Answer | bytes:
    """A body that came compressed though we had asked for it plain; at most `limit` bytes of it."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        return Answer("bad_response", f"Content-Encoding: {coding}"[:80])
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpacker.decompress(body, limit)
    except zlib.error:
        return Answer("bad_response", f"not {coding}")
    return Answer("too_many_bytes", f"more than {limit}") if unpacker.unconsumed_tail else plain
