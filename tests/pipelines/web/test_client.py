"""The HTTP client against a loopback server that does all that a bad one can do."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from yarl import URL

from pipelines.web import answers
from pipelines.web.answers import Answer
from pipelines.web.client import Client, ClientConfig
from pipelines.web.safety import AddressPolicy

CONFIG = ClientConfig(backoff_seconds=0.01, max_wait_seconds=0.2, total_seconds=5.0, robots=False)


class OnlyTheTestServer(AddressPolicy):
    """The default policy, but for the one address that the test server listens on."""

    def forbidden_reason(self, ip: object) -> str | None:
        return None if str(ip) == "127.0.0.1" else super().forbidden_reason(ip)


class Site(BaseHTTPRequestHandler):
    """What it does is in the path; `seen` counts requests by path."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[str]] = Counter()
    robots = ""
    robots_status = 200

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        Site.seen[parts.path] += 1
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        getattr(self, parts.path.strip("/").split("/")[0].replace(".", "_"))(query)

    def reply(self, body: bytes = b"body", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def ok(self, query: dict[str, str]) -> None:
        self.reply()

    def robots_txt(self, query: dict[str, str]) -> None:
        self.reply(Site.robots.encode(), Site.robots_status, X_Robots_Tag="noindex")

    def status(self, query: dict[str, str]) -> None:
        self.reply(status=int(query["code"]))

    def loop(self, query: dict[str, str]) -> None:
        number = int(query["n"])
        self.reply(b"", 302, Location=f"/loop?n={number + 1}" if number < 10_000 else "/ok")

    def to(self, query: dict[str, str]) -> None:
        self.reply(b"", 302, Location=query["url"])

    def optout(self, query: dict[str, str]) -> None:
        self.reply(X_Robots_Tag="googlebot: nosnippet, sightmill: noimageai")

    def busy(self, query: dict[str, str]) -> None:
        first = Site.seen["/busy"] == 1
        self.reply(status=429 if first else 200, **({"Retry_After": "9999"} if first else {}))

    def flaky(self, query: dict[str, str]) -> None:
        self.reply(status=503 if Site.seen["/flaky"] < 3 else 200)

    def lost(self, query: dict[str, str]) -> None:
        if Site.seen["/lost"] < 3:
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.reply()

    def short(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)
        self.close_connection = True

    def drip(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.1)

    def endless(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")

    def announced(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "99999999999")
        self.end_headers()
        self.close_connection = True

    def zipped(self, query: dict[str, str]) -> None:
        self.reply(gzip.compress(b"plain" * int(query.get("n", 1))), Content_Encoding="gzip")

    def coded(self, query: dict[str, str]) -> None:
        self.reply(Content_Encoding=query["as"])

    def nonsense(self, query: dict[str, str]) -> None:
        self.wfile.write(b"SMTP ready\r\n\r\n")
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """Root URL of a fresh server."""
    Site.seen, Site.robots, Site.robots_status = Counter(), "", 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


async def take(body: bytes) -> Answer:
    return Answer("ok", value=body)


def get(
    *urls: str, config: ClientConfig = CONFIG, policy: AddressPolicy | None = None
) -> list[Answer]:
    """The answers of `urls`, all at once."""

    async def run() -> list[Answer]:
        client = Client(config, policy or OnlyTheTestServer())
        try:
            return list(await asyncio.gather(*(client.get(url, take) for url in urls)))
        finally:
            await client.close()

    return asyncio.run(run())


def outcome(answer: Answer) -> tuple[str, str]:
    return answer.status, answer.detail


def config(**changes: object) -> ClientConfig:
    from dataclasses import replace

    return replace(CONFIG, **changes)


def test_body(site: str) -> None:
    assert get(f"{site}/ok") == [Answer("ok", value=b"body")]
    assert get(f"{site}/ok?x=ünïcode&y=%20") == [Answer("ok", value=b"body")]


def test_ten_thousand_redirects(site: str) -> None:
    answer = get(f"{site}/loop?n=0")[0]
    assert outcome(answer) == ("too_many_redirects", "more than 5")
    assert Site.seen["/loop"] == 6


def test_redirects_within_the_limit(site: str) -> None:
    assert get(f"{site}/loop?n=9996")[0].status == "ok"
    assert get(f"{site}/loop?n=9995")[0].status == "too_many_redirects"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.2:{port}/ok", "address_loopback"),
        ("http://[::1]:{port}/ok", "address_loopback"),
        ("http://169.254.169.254/latest/meta-data", "address_link_local"),
        ("http://10.0.0.1/", "address_private"),
        ("http://[::ffff:169.254.169.254]/", "address_link_local"),
        ("http://127.2:{port}/ok", "url_malformed"),  # an address to a resolver
        ("http://2130706434:{port}/ok", "url_malformed"),
        ("http://0x7f.0.0.2:{port}/ok", "address_loopback"),
        ("//127.0.0.2:{port}/ok", "address_loopback"),
        ("file:///etc/passwd", "url_scheme"),
        ("http://user:word@127.0.0.1:{port}/ok", "url_credentials"),
        ("http://:80/", "url_malformed"),
    ],
)
def test_where_a_redirect_may_not_lead(site: str, target: str, reason: str) -> None:
    target = target.format(port=urlsplit(site).port)
    assert get(str(URL(f"{site}/to") % {"url": target}))[0].status == reason
    assert "/ok" not in Site.seen
    if target.startswith("http"):
        assert get(target)[0].status == reason


def test_addresses_in_other_digits(site: str) -> None:
    fullwidth = "http://\uff11\uff12\uff17.0.0.2"
    assert get(f"{fullwidth}:{urlsplit(site).port}/ok")[0].status == "address_loopback"


def test_a_name_that_resolves_to_a_private_address(site: str) -> None:
    port = urlsplit(site).port
    assert (
        get(f"http://localhost:{port}/ok", policy=AddressPolicy())[0].status == "address_loopback"
    )
    assert (
        get(f"http://localhost:{port}/ok", policy=AddressPolicy(allow_private=True))[0].status
        == "ok"
    )


def test_the_socket_is_the_last_gate(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddressPolicy, "check_url", lambda self, url: None)
    assert get(f"{site}/ok", policy=AddressPolicy())[0].status == "address_loopback"
    assert not Site.seen


def test_a_slow_drip(site: str) -> None:
    answer = get(f"{site}/drip", config=config(total_seconds=0.4))[0]
    assert outcome(answer) == ("timeout", "more than 0.4 seconds")
    assert Site.seen["/drip"] == 1


def test_too_many_bytes(site: str) -> None:
    limited = config(max_bytes=100_000)
    for path in ("endless", "announced", "zipped?n=30000"):
        answer = get(f"{site}/{path}", config=limited)[0]
        assert outcome(answer) == ("too_many_bytes", "more than 100000")


def test_content_encoding(site: str) -> None:
    assert get(f"{site}/zipped")[0].value == b"plain"
    assert outcome(get(f"{site}/coded?as=br")[0]) == ("bad_response", "Content-Encoding: br")
    assert outcome(get(f"{site}/coded?as=gzip")[0]) == ("bad_response", "not gzip")


def test_opt_out(site: str) -> None:
    answer = get(f"{site}/optout")[0]
    assert outcome(answer) == ("opt_out", "X-Robots-Tag: noimageai")
    assert Site.seen["/optout"] == 1
    assert get(f"{site}/optout", config=config(opt_out=False))[0].status == "ok"


def test_too_many_requests_then_success(site: str) -> None:
    started = time.monotonic()
    assert get(f"{site}/busy")[0].status == "ok"
    assert Site.seen["/busy"] == 2
    assert 0.2 <= time.monotonic() - started < 5  # Retry-After: 9999 is cut to max_wait_seconds


def test_what_may_pass_is_tried_again(site: str) -> None:
    assert get(f"{site}/flaky")[0].status == "ok"
    assert Site.seen["/flaky"] == 3
    assert get(f"{site}/lost")[0].status == "ok"
    assert get(f"{site}/status?code=500")[0].status == "http_500"
    assert Site.seen["/status"] == 3
    assert outcome(get(f"{site}/short")[0]) == ("connection_lost", "in the body")
    assert Site.seen["/short"] == 3


@pytest.mark.parametrize("code", [206, 400, 401, 403, 404, 410, 501])
def test_what_will_not_pass_is_not(site: str, code: int) -> None:
    assert outcome(get(f"{site}/status?code={code}")[0]) == (f"http_{code}", "")
    assert Site.seen["/status"] == 1


def test_no_http(site: str) -> None:
    assert get(f"{site}/nonsense")[0].status == "bad_response"


def test_a_host_that_does_not_answer_is_left_alone() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        root = f"http://127.0.0.1:{taken.getsockname()[1]}"
        tries = []

        class Counting(OnlyTheTestServer):
            def forbidden_reason(self, ip: object) -> str | None:
                tries.append(ip)
                return super().forbidden_reason(ip)

        found = get(
            *(f"{root}/{n}" for n in range(50)), policy=Counting(), config=config(per_host=2)
        )
    assert {outcome(answer) for answer in found} == {("unreachable", "no connection")}
    assert len(tries) < 50 + 20  # one a URL, one a socket


def test_a_broken_circuit_closes_again(site: str) -> None:
    async def run() -> list[str]:
        client = Client(
            config(breaker_failures=1, breaker_seconds=0.2, attempts=1), OnlyTheTestServer()
        )
        host = client._host(URL(site))
        host.failures, host.broken_until = 1, time.monotonic() + 0.2
        first = (await client.get(f"{site}/ok", take)).status
        await asyncio.sleep(0.25)
        rest = [(await client.get(f"{site}/ok", take)).status for _ in range(2)]
        await client.close()
        return [first, *rest]

    assert asyncio.run(run()) == ["unreachable", "ok", "ok"]


def test_names_that_do_not_resolve() -> None:
    answer = get("http://nowhere.invalid/x.jpg", config=config(attempts=1))[0]
    assert outcome(answer) == ("unreachable", "name not resolved")


@pytest.mark.parametrize(
    "url", ["", "x.jpg", "http://", "http://a b/", "ftp://a/b", "http://a:99999/"]
)
def test_what_is_no_url(url: str) -> None:
    assert get(url)[0].status in ("url_malformed", "url_scheme")


def test_robots_txt(site: str) -> None:
    Site.robots = "User-agent: *\nDisallow: /ok\nUser-agent: sightmill\nDisallow: /ok?secret\n"
    polite = config(robots=True)
    found = get(f"{site}/ok?secret=1", f"{site}/ok", f"{site}/ok?x", config=polite)
    assert [answer.status for answer in found] == ["robots", "ok", "ok"]
    assert Site.seen["/robots.txt"] == 1  # its own X-Robots-Tag: noindex is no opt-out
    redirected = str(URL(f"{site}/to") % {"url": "/ok?secret"})
    assert get(redirected, config=polite)[0].status == "robots"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, ("ok", "")), (403, ("ok", "")), (503, ("robots", "robots.txt: http_503"))],
)
def test_robots_txt_that_cannot_be_had(site: str, status: int, expected: tuple[str, str]) -> None:
    Site.robots_status = status
    assert outcome(get(f"{site}/ok", config=config(robots=True))[0]) == expected


def test_connections_to_a_host_are_bounded(site: str) -> None:
    open_now, most, lock = 0, 0, threading.Lock()

    def slow(self: Site, query: dict[str, str]) -> None:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.02)
        with lock:
            open_now -= 1
        self.reply()

    Site.slow = slow  # type: ignore[attr-defined]
    found = get(*(f"{site}/slow?{n}" for n in range(30)), config=config(per_host=3))
    assert {answer.status for answer in found} == {"ok"}
    assert most == 3


def test_waits_are_a_function_of_the_url() -> None:
    async def run() -> None:
        client = Client(ClientConfig(), AddressPolicy())
        waits = [[client._wait(url, n, Answer("x")) for n in range(8)] for url in ("a", "b", "a")]
        await client.close()
        assert waits[0] == waits[2] != waits[1]
        assert all(0.25 * 2**n <= wait <= 0.75 * 2**n for n, wait in enumerate(waits[0][:5]))
        assert waits[0][7] == 30.0

    asyncio.run(run())


def test_retry_after() -> None:
    assert answers.retry_after("120") == 120
    assert answers.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert answers.retry_after("Fri, 31 Dec 9999 23:59:59 GMT") > 3500
    assert answers.retry_after("") == answers.retry_after("soon") == answers.retry_after("-1") == 0


def test_an_exception_that_nobody_thought_of() -> None:
    assert answers.failure(aiohttp.ClientError(), 1) == Answer("bad_response", "ClientError")
