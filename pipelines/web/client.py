"""A polite, suspicious HTTP client: one URL in, one answer out, and never an exception.

Suspicious: every hop of a redirect chain is judged by the address policy, the resolver hands out
judged addresses only, and each socket is judged once more before it connects, so that no spelling
of an address slips through. Bytes, seconds and redirects are bounded; compressed bodies are
unpacked within the same bound.

Polite: robots.txt (RFC 9309) and X-Robots-Tag are honoured, a host has a bounded number of
connections, a 429 or 503 with Retry-After pauses the whole host, and a host that does not answer at
all is left alone for a while (circuit breaker). Only what may pass is tried again: 408, 425, 429,
5xx and lost connections, never a 404 nor an opt-out; the wait doubles each time, with a jitter that
is a hash of the URL.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from protego import Protego
from yarl import URL

from pipelines.records import uniform
from pipelines.web.answers import Answer, failure, joined, retry_after, unpacked
from pipelines.web.safety import (
    ROBOTS_TOKEN,
    USER_AGENT,
    AddressPolicy,
    AddressRefused,
    PinnedResolver,
    opted_out,
)

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
ROBOTS_BYTES = 512 * 1024
"""RFC 9309, 2.5: at least 500 KiB of robots.txt are to be read; the rest is ignored."""
HOSTS_KEPT = 10_000


@dataclass(frozen=True)
class ClientConfig:
    """Limits and manners of one worker."""

    per_worker: int = 64
    """URLs in flight at a time."""
    per_host: int = 8
    """Of those, to one host and port."""
    attempts: int = 3
    """Tries of a URL whose failure may pass."""
    backoff_seconds: float = 0.5
    """Wait before the second try; doubles with each further one, times a jitter of 0.5 to 1.5."""
    max_wait_seconds: float = 30.0
    """No wait is longer, whatever Retry-After says."""
    connect_seconds: float = 10.0
    """To resolve the name and open the connection."""
    total_seconds: float = 30.0
    """For one hop, from its start to its last byte."""
    max_bytes: int = 20_000_000
    """Of a body, as sent and as unpacked."""
    max_redirects: int = 5
    """Hops after the first."""
    breaker_failures: int = 5
    """Failed connections in a row after which a host is left alone."""
    breaker_seconds: float = 30.0
    """How long it is; then one URL tries again."""
    robots: bool = True
    """Honour the image host's robots.txt."""
    opt_out: bool = True
    """Honour X-Robots-Tag."""
    allow_private: bool = False
    """Fetch from loopback and private networks."""


Finish = Callable[[bytes], Awaitable[Answer]]
"""Makes the answer out of a whole body."""


@dataclass(slots=True)
class Host:
    """What is known of a host and port."""

    slots: asyncio.Semaphore
    paused_until: float = 0.0
    """Monotonic time before which it wants no request (Retry-After)."""
    broken_until: float = 0.0
    """Monotonic time before which we leave it alone."""
    failures: int = 0
    """Failed connections in a row."""
    failure: Answer = field(default_factory=lambda: Answer("unreachable"))
    """The last of them."""
    robots: asyncio.Task[Answer | Protego] | None = None


class Client:
    """Used within one event loop; `close` it there."""

    def __init__(self, config: ClientConfig, policy: AddressPolicy | None = None) -> None:
        self.config = config
        self.policy = policy or AddressPolicy(config.allow_private)
        self._hosts: dict[str, Host] = {}
        self._slots = asyncio.Semaphore(config.per_worker)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # ours are counted per URL, body and decoding included
                resolver=PinnedResolver(self.policy),
                ttl_dns_cache=300,
                ssl=ssl.create_default_context(),  # 9 ms: once, never per request
                socket_factory=self._socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_seconds),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, url: str, finish: Finish, wishes: bool = True) -> Answer:
        """The answer of `url`, after redirects and tries.

        `finish` runs on the body while the URL holds its slots. `wishes`: heed what the site wishes
        (robots.txt, opt-outs); not so for robots.txt itself.
        """
        for attempt in range(self.config.attempts - 1):
            answer = await self._follow(url, finish, wishes)
            if not answer.passing:
                return answer
            await asyncio.sleep(self._wait(url, attempt, answer))
        return await self._follow(url, finish, wishes)

    def _wait(self, url: str, attempt: int, answer: Answer) -> float:
        jitter = 0.5 + uniform(attempt, url)
        wait = max(answer.retry_after, self.config.backoff_seconds * 2**attempt * jitter)
        return float(min(wait, self.config.max_wait_seconds))

    async def _follow(self, url: str, finish: Finish, wishes: bool) -> Answer:
        for _ in range(self.config.max_redirects + 1):
            answer = await self._hop(url, finish, wishes)
            if not answer.location:
                return answer
            url = answer.location
        return Answer("too_many_redirects", f"more than {self.config.max_redirects}")

    async def _hop(self, url: str, finish: Finish, wishes: bool) -> Answer:
        """One request, or the reason why it is not made."""
        try:
            target = URL(url)
            spelt = str(target)  # an address in other digits becomes plain here
            reason = self.policy.check_url(url)
            if reason is None and spelt != url:
                reason = self.policy.check_url(spelt)
        except ValueError:
            reason = "url_malformed"
        if reason is not None:
            return Answer(reason)
        host = self._host(target)
        if wishes and self.config.robots:
            refusal = await self._robots_refusal(host, target)
            if refusal is not None:
                return refusal
        async with host.slots:
            await self._pause(host)
            if self._broken(host):
                return host.failure
            async with self._slots:
                return await self._request(host, target, finish, wishes)

    def _host(self, target: URL) -> Host:
        key = f"{target.scheme}://{target.raw_host}:{target.port}"
        if key not in self._hosts:
            while len(self._hosts) >= HOSTS_KEPT:
                self._hosts.pop(next(iter(self._hosts)))
            self._hosts[key] = Host(asyncio.Semaphore(self.config.per_host))
        return self._hosts[key]

    async def _pause(self, host: Host) -> None:
        while (wait := host.paused_until - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def _broken(self, host: Host) -> bool:
        """Whether the circuit is open; the first one after the pause passes and closes or renews
        it.
        """
        if host.failures < self.config.breaker_failures:
            return False
        if time.monotonic() < host.broken_until:
            return True
        host.broken_until = time.monotonic() + self.config.breaker_seconds
        return False

    async def _request(self, host: Host, target: URL, finish: Finish, wishes: bool) -> Answer:
        try:
            async with asyncio.timeout(self.config.total_seconds):
                async with self._session.get(target, allow_redirects=False) as response:
                    host.failures = 0
                    body = await self._read(host, response, wishes)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return self._failed(host, error)
        return body if isinstance(body, Answer) else await finish(body)

    async def _read(
        self, host: Host, response: aiohttp.ClientResponse, wishes: bool
    ) -> Answer | bytes:
        """The body, or the answer where there is none for us."""
        refusal = self._refusal(host, response, wishes and self.config.opt_out)
        if refusal is not None:
            return refusal
        limit = self.config.max_bytes
        too_many = Answer("too_many_bytes", f"more than {limit}")
        if (response.content_length or 0) > limit:
            return too_many
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                return too_many
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        coding = response.headers.get("Content-Encoding", "identity").lower()
        return body if coding in ("", "identity") else unpacked(body, coding, limit)

    def _refusal(
        self, host: Host, response: aiohttp.ClientResponse, opt_out: bool
    ) -> Answer | None:
        """What status and headers alone decide."""
        headers = response.headers
        if opt_out and "X-Robots-Tag" in headers and (word := opted_out(headers.items())):
            return Answer("opt_out", f"X-Robots-Tag: {word}")
        location = headers.get("Location")
        if response.status in (301, 302, 303, 307, 308) and location:
            return Answer("redirect", location=joined(response.url, location))
        if response.status in (200, 203):
            return None
        status = f"http_{response.status}"
        if response.status not in TRANSIENT:
            return Answer(status)
        pause = retry_after(response.headers.get("Retry-After", ""))
        if pause > 0:
            host.paused_until = time.monotonic() + min(pause, self.config.max_wait_seconds)
        return Answer(status, passing=True, retry_after=pause)

    def _failed(self, host: Host, error: Exception) -> Answer:
        answer = failure(error, self.config.total_seconds)
        if answer.status == "unreachable":
            host.failure = Answer(answer.status, answer.detail)
            host.failures += 1
            if host.failures >= self.config.breaker_failures:
                host.broken_until = time.monotonic() + self.config.breaker_seconds
        return answer

    async def _robots_refusal(self, host: Host, target: URL) -> Answer | None:
        """Why robots.txt keeps `target` from us; it is fetched once a host, by the first comer."""
        if host.robots is None:
            origin = target.origin()
            host.robots = asyncio.get_running_loop().create_task(self._fetch_robots(str(origin)))
        rules = await asyncio.shield(host.robots)
        if isinstance(rules, Answer):
            return rules
        return None if rules.can_fetch(str(target), ROBOTS_TOKEN) else Answer("robots")

    async def _fetch_robots(self, origin: str) -> Answer | Protego:
        """The rules of a host: RFC 9309, 2.3.1: none where robots.txt is missing, no access where
        it fails.
        """

        async def finish(body: bytes) -> Answer:
            return Answer("ok", value=body[:ROBOTS_BYTES].decode("utf-8", "replace"))

        answer = await self.get(f"{origin}/robots.txt", finish, wishes=False)
        if answer.status == "ok":
            return Protego.parse(answer.value)
        if answer.status.startswith("http_4") or answer.status == "too_many_redirects":
            return Protego.parse("")
        if answer.status in ("unreachable", "tls") or answer.status.startswith("address_"):
            return Answer(answer.status, answer.detail)
        return Answer("robots", f"robots.txt: {answer.status}")

    def _socket(self, address: Any) -> socket.socket:
        """A socket for one (family, type, protocol, name, address) of a look-up, if the policy
        allows it.
        """
        family, kind, protocol, _, where = address
        reason = self.policy.forbidden_reason(where[0])
        if reason is not None:
            raise AddressRefused(where[0], reason)
        return socket.socket(family=family, type=kind, proto=protocol)
