"""What we put into Scrapy's downloader: politeness by site, and a gate that no forbidden address
passes.

Scrapy counts delays by host name, so that two servers on two ports would share one; here a site is
host and port (`PerSiteDownloader`). URLs are judged before each request, redirects of robots.txt
included (`Gate`), and names when they are resolved, so that the connection goes to an address that
was judged (`PinnedNameResolver`). `drop_reason` says in one word why a request failed.

A robots.txt that cannot be had because of the server forbids everything, one that is not there
allows everything (RFC 9309, 2.3.1); Scrapy by itself would read an error page as rules.
"""

from __future__ import annotations

from typing import Any, ClassVar

from scrapy import Request
from scrapy.core.downloader import Downloader
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
)
from scrapy.http import Response
from scrapy.resolver import CachingHostnameResolver, HostResolution
from scrapy.utils.httpobj import urlparse_cached

from pipelines.web.safety import AddressPolicy

ALLOW_PRIVATE = "SIGHTMILL_ALLOW_PRIVATE"
"""Our setting beside Scrapy's: whether loopback and private addresses may be connected to."""

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (DownloadTimeoutError, "timeout"),
    (DownloadCancelledError, "page_too_large"),
    (CannotResolveHostError, "unknown_host"),
    (DownloadConnectionRefusedError, "connection_refused"),
    (ResponseDataLossError, "connection_lost"),
    (DownloadFailedError, "connection_lost"),
)


class RefusedRequest(IgnoreRequest):
    """A request that our rules forbid; `reason` is the drop reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PerSiteDownloader(Downloader):
    """Counts delays and open requests by host and port."""

    def get_slot_key(self, request: Request) -> str:
        """The site of a request."""
        return str(urlparse_cached(request).netloc)

    def _wait_for_download(self, slot: Any, request: Request, done: Any) -> Any:
        """Count a request as open from here on. Scrapy 2.19 does so only when the request's task
        first runs, and starts its whole queue until then: 36 were open where 2 were allowed."""
        slot.transferring.add(request)
        return super()._wait_for_download(slot, request, done)


class Gate:
    """Outermost downloader middleware: judges every URL, and what a failed robots.txt means."""

    unreachable: ClassVar[dict[str, str]] = {}
    """Why the robots.txt of a site cannot be had."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Gate:
        """As Scrapy makes its middlewares."""
        return cls(AddressPolicy(crawler.settings.getbool(ALLOW_PRIVATE)))

    def process_request(self, request: Request) -> None:
        """Raise RefusedRequest for a URL that must not be fetched."""
        reason = self._policy.check_url(request.url)
        if reason is not None:
            raise RefusedRequest(reason)

    def process_response(self, request: Request, response: Response) -> Response:
        """Put the rules that an error status stands for in place of a robots.txt's body."""
        if not is_robots(request) or response.status == 200:
            return response
        if response.status < 500:
            return response.replace(body=b"")
        return _everything_forbidden(request, "robots_unreachable")

    def process_exception(self, request: Request, exception: Exception) -> Response | None:
        """A robots.txt that cannot be had forbids everything."""
        if not is_robots(request):
            return None
        return _everything_forbidden(request, drop_reason(request, exception))


def is_robots(request: Request) -> bool:
    """Whether a request is Scrapy's own, for a robots.txt."""
    return bool(request.meta.get("dont_obey_robotstxt"))


def _everything_forbidden(request: Request, reason: str) -> Response:
    Gate.unreachable[urlparse_cached(request).netloc] = reason
    return Response(request.url, status=200, body=b"User-agent: *\nDisallow: /\n")


class PinnedNameResolver(CachingHostnameResolver):
    """Hands out allowed addresses only, so that what was judged is what is connected to."""

    policy: AddressPolicy
    refused: ClassVar[dict[str, str]] = {}
    """Host names that have none but forbidden addresses, with the reason."""

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: Any) -> PinnedNameResolver:
        """As Scrapy makes its resolver."""
        resolver: PinnedNameResolver = super().from_crawler(crawler, reactor)
        resolver.policy = AddressPolicy(crawler.settings.getbool(ALLOW_PRIVATE))
        return resolver

    def resolveHostName(
        self, receiver: Any, host: str, *args: Any, **kwargs: Any
    ) -> HostResolution:
        """Resolve `host` by Scrapy's resolver, past the forbidden addresses."""
        return super().resolveHostName(_Sieve(receiver, host, self.policy), host, *args, **kwargs)


class _Sieve:
    """A resolution receiver (Twisted's interface) that lets allowed addresses through."""

    def __init__(self, receiver: Any, host: str, policy: AddressPolicy) -> None:
        self._receiver, self._host, self._policy = receiver, host, policy
        self._passed, self._reason = False, ""

    def resolutionBegan(self, resolution: Any) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:
        reason = self._policy.forbidden_reason(address.host)
        if reason is None:
            self._passed = True
            self._receiver.addressResolved(address)
        else:
            self._reason = reason

    def resolutionComplete(self) -> None:
        if self._reason and not self._passed:
            PinnedNameResolver.refused[self._host] = self._reason
        self._receiver.resolutionComplete()


def drop_reason(request: Request, error: Exception) -> str:
    """Why `request` brought no response: one word for the drop counts."""
    if isinstance(error, RefusedRequest):
        return error.reason
    parts = urlparse_cached(request)
    if isinstance(error, IgnoreRequest):  # Scrapy tells its two apart by their messages only
        robots = Gate.unreachable.get(parts.netloc, "robots")
        return robots if "robots.txt" in str(error) else "page_too_large"
    host = parts.hostname or ""
    if isinstance(error, CannotResolveHostError) and host in PinnedNameResolver.refused:
        return PinnedNameResolver.refused[host]
    found = (reason for kind, reason in _REASONS if isinstance(error, kind))
    return next(found, f"error_{type(error).__name__}")
