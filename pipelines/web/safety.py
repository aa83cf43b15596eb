"""What a hostile web may not make us do: the one place that knows the rules.

A page chooses the URLs that we fetch, so it could point us at the machine's own services or at a
cloud's metadata address (server-side request forgery), directly, by a redirect, or by a name that
resolves to a public address when checked and to a private one when connected to (DNS rebinding).
Hence three rules: every URL is checked before it is fetched, after each redirect again
(`AddressPolicy.check_url`); a name is resolved once and the connection goes to the very addresses
that were checked (`PinnedResolver`); an address is judged by what it reaches, so IPv6 forms that
carry an IPv4 address are unwrapped first (RFC 4291 mapped, RFC 6052 NAT64, RFC 3056 6to4, RFC 4380
Teredo).

Also here: how we name ourselves, and the opt-outs that sites state in `X-Robots-Tag` (`opted_out`).
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver, ResolveResult
else:
    AbstractResolver = object  # the base adds checks only, and its import costs 0.14 s

ROBOTS_TOKEN = "sightmill"
"""The product token that robots.txt and X-Robots-Tag may address us by (RFC 9309)."""

USER_AGENT = f"{ROBOTS_TOKEN}/0.1 (+https://example.org/sightmill)"

Address = IPv4Address | IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
OPT_OUTS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
"""Directives by which a page or image stays out of training sets; none is noindex and nofollow."""
_VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_HEADER = "x-robots-tag"


class AddressRefused(OSError):  # noqa: N818 - says what happened
    """A name resolved to nothing but forbidden addresses; `reason` is the drop reason."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host!r} is refused: {reason}")
        self.host = host
        self.reason = reason


def reached_address(address: Address) -> Address:
    """The address that a packet to `address` ends at: embedded IPv4 is unwrapped."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return address


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses may be connected to."""

    allow_private: bool = False
    """Allow loopback and private networks. Link-local (cloud metadata), multicast and reserved
    never are."""

    def forbidden_reason(self, ip: str | Address) -> str | None:
        """Why `ip` may not be connected to, as `address_<kind>`; None if it may."""
        kind = _kind(ip)
        if kind is None or (self.allow_private and kind in ("loopback", "private")):
            return None
        return f"address_{kind}"

    def check_url(self, url: str) -> str | None:
        """Why `url` may not be fetched; None if it may. Names are judged later, by the resolver.

        Reasons: url_malformed, url_scheme (not http or https), url_credentials, address_<kind>.
        """
        parts = _split(url)
        if parts is None:
            return "url_malformed"
        if parts.scheme not in ("http", "https"):
            return "url_scheme"
        if "@" in parts.netloc:
            return "url_credentials"
        host = parts.hostname
        if not host:
            return "url_malformed"
        address = _literal(host)
        return self.forbidden_reason(address) if address is not None else None


class PinnedResolver(AbstractResolver):
    """Resolves for aiohttp and hands out allowed addresses only; raises AddressRefused if none is
    left.

    aiohttp connects to what its resolver returns, so no second look-up can differ from the checked
    one. It does not ask the resolver about literal addresses: `AddressPolicy.check_url` covers
    those.
    """

    def __init__(self, policy: AddressPolicy, inner: AbstractResolver | None = None) -> None:
        from aiohttp.resolver import ThreadedResolver

        self._policy = policy
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Allowed addresses of `host`. Raises AddressRefused, or OSError where it has none."""
        found = await self._inner.resolve(host, port, family)
        reasons = [self._policy.forbidden_reason(result["host"]) for result in found]
        allowed = [result for result, reason in zip(found, reasons, strict=True) if reason is None]
        if not allowed:
            raise AddressRefused(host, next(filter(None, reasons), "address_none"))
        return allowed

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._inner.close()


def opted_out(headers: Iterable[tuple[str, str]], token: str = ROBOTS_TOKEN) -> str | None:
    """The `X-Robots-Tag` directive by which a response opts out, or None.

    `headers`: (name, value) pairs, repeated names allowed, such as `response.headers.items()`.
    Directives are noai, noimageai, noindex, noimageindex and none; `agent: directive` counts for
    our own token or `*` only.
    """
    return next((found for found in robots_tag(headers, token) if found in OPT_OUTS), None)


def robots_tag(headers: Iterable[tuple[str, str]], token: str = ROBOTS_TOKEN) -> Iterator[str]:
    """Directives of `X-Robots-Tag` headers that hold for `token`, lower case, in their order.

    An agent's name holds until the next one: `otherbot: noindex, nofollow, sightmill: noai` has
    noai.
    """
    for name, value in headers:
        addressed = True
        for part in value.lower().split(",") if name.lower() == _HEADER else ():
            agent, colon, rest = (piece.strip() for piece in part.partition(":"))
            if colon and agent not in _VALUED:
                addressed = agent in (token, "*")
            if addressed:
                yield rest if colon else agent


@functools.lru_cache(4096)
def _kind(ip: str | Address) -> str | None:
    """The kind of a special-purpose address (IANA registries), None for a global one."""
    address = reached_address(ipaddress.ip_address(ip))
    if isinstance(address, IPv4Address) and address in _THIS_NETWORK:
        return "unspecified"
    for kind in ("unspecified", "loopback", "link_local", "multicast"):
        if getattr(address, f"is_{kind}"):
            return kind
    if isinstance(address, IPv6Address) and address.is_site_local:
        return "private"
    if address.is_reserved:
        return "reserved"
    return None if address.is_global else "private"


@functools.lru_cache(4096)
def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _split(url: str) -> SplitResult | None:
    if re.search(r"[\x00-\x20\x7f\\]", url):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError where the port is not a number up to 65535
    except ValueError:
        return None
    return parts
