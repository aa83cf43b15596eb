"""Address policy, pinned resolution and opt-outs."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from pipelines.web.safety import AddressPolicy, AddressRefused, PinnedResolver, opted_out

FORBIDDEN = {
    "127.0.0.1": "address_loopback",
    "127.9.9.9": "address_loopback",
    "::1": "address_loopback",
    "10.1.2.3": "address_private",
    "172.16.0.1": "address_private",
    "192.168.1.1": "address_private",
    "100.64.0.1": "address_private",
    "fd00::1": "address_private",
    "fec0::1": "address_private",
    "169.254.169.254": "address_link_local",
    "fe80::1": "address_link_local",
    "fe80::1%eth0": "address_link_local",
    "224.0.0.1": "address_multicast",
    "ff02::1": "address_multicast",
    "240.0.0.1": "address_reserved",
    "255.255.255.255": "address_reserved",
    "0.0.0.0": "address_unspecified",
    "0.1.2.3": "address_unspecified",
    "::": "address_unspecified",
    # an IPv4 address inside an IPv6 one: mapped, NAT64, 6to4, Teredo
    "::ffff:127.0.0.1": "address_loopback",
    "::ffff:169.254.169.254": "address_link_local",
    "64:ff9b::a9fe:a9fe": "address_link_local",
    "64:ff9b::7f00:1": "address_loopback",
    "2002:7f00:1::": "address_loopback",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "address_loopback",
}


@pytest.mark.parametrize(("ip", "reason"), FORBIDDEN.items())
def test_special_addresses(ip: str, reason: str) -> None:
    assert AddressPolicy().forbidden_reason(ip) == reason
    opened = reason in ("address_loopback", "address_private")
    assert AddressPolicy(allow_private=True).forbidden_reason(ip) == (None if opened else reason)


@pytest.mark.parametrize("ip", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(ip: str) -> None:
    assert AddressPolicy().forbidden_reason(ip) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/a.png", None),
        ("https://example.org:8443/?q=1", None),
        ("http://[2606:4700::1111]/", None),
        ("file:///etc/passwd", "url_scheme"),
        ("ftp://example.org/", "url_scheme"),
        ("//example.org/", "url_scheme"),
        ("http://user:secret@example.org/", "url_credentials"),
        ("http://example.org\\@127.0.0.1/", "url_malformed"),
        ("http://example.org/a b", "url_malformed"),
        ("http://example.org:99999/", "url_malformed"),
        ("http://[::1/", "url_malformed"),
        ("http:///path", "url_malformed"),
        ("http://127.0.0.1:8080/", "address_loopback"),
        ("http://[::ffff:10.0.0.1]/", "address_private"),
        ("http://169.254.169.254/latest/meta-data/", "address_link_local"),
    ],
)
def test_urls(url: str, reason: str | None) -> None:
    assert AddressPolicy().check_url(url) == reason


class Names(AbstractResolver):
    """A resolver that answers from a list of addresses, a new list each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=ip, port=port, family=family, proto=0, flags=0)
            for ip in self.answers.pop(0)
        ]

    async def close(self) -> None:
        pass


def test_resolver_hands_out_allowed_addresses_only() -> None:
    names = Names(["10.0.0.1", "8.8.8.8"], ["127.0.0.1"], [])
    resolver = PinnedResolver(AddressPolicy(), names)
    found = asyncio.run(resolver.resolve("mixed.example", 80))
    assert [result["host"] for result in found] == ["8.8.8.8"]
    with pytest.raises(AddressRefused) as refused:  # the name rebinds to loopback
        asyncio.run(resolver.resolve("mixed.example", 80))
    assert refused.value.reason == "address_loopback"
    with pytest.raises(AddressRefused):
        asyncio.run(resolver.resolve("nowhere.example", 80))


async def _get(url: str, policy: AddressPolicy) -> None:
    import aiohttp

    connector = aiohttp.TCPConnector(resolver=PinnedResolver(policy))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url):
        pass


def test_aiohttp_connects_to_checked_addresses_only() -> None:
    """A name of loopback: refused by resolution, and reached (where nobody listens) if allowed."""
    import aiohttp

    with pytest.raises(aiohttp.ClientConnectorDNSError) as refused:
        asyncio.run(_get("http://localhost:1/", AddressPolicy()))
    assert isinstance(refused.value.os_error, AddressRefused)
    with pytest.raises(aiohttp.ClientConnectorError) as reached:
        asyncio.run(_get("http://localhost:1/", AddressPolicy(allow_private=True)))
    assert isinstance(reached.value.os_error, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("values", "directive"),
    [
        (["noai"], "noai"),
        (["NoIndex, nofollow"], "noindex"),
        (["none"], "none"),
        (["all", "noimageai"], "noimageai"),
        (["sightmill: noimageindex"], "noimageindex"),
        (["*: noai"], "noai"),
        (["otherbot: noai"], None),
        (["otherbot: noindex, nofollow, sightmill: noai"], "noai"),
        (["otherbot: noindex, noai"], None),
        (["max-snippet: 20, noindex"], "noindex"),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST"], None),
        (["nofollow, noarchive"], None),
        ([], None),
    ],
)
def test_opt_outs(values: list[str], directive: str | None) -> None:
    headers = [("Content-Type", "text/html"), *(("X-Robots-Tag", value) for value in values)]
    assert opted_out(headers) == directive
