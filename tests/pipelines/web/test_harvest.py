"""The rules of a crawl, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.web.archive import Archive
from pipelines.web.crawl import CrawlConfig
from pipelines.web.harvest import Harvest, site
from pipelines.web.warc import Response

HTML = (("Content-Type", "text/html"),)


def page(path: str, body: str, *headers: tuple[str, str]) -> Response:
    return Response(f"http://example.org{path}", (*HTML, *headers), body.encode())


def harvest_in(folder: Path, **fields: int) -> Harvest:
    config = CrawlConfig(seeds=("http://www.example.org",), **fields)  # type: ignore[arg-type]
    return Harvest(config, Archive(str(folder)))


@pytest.mark.parametrize(
    ("netloc", "name"),
    [
        ("www.Example.org", "example.org"),
        ("example.org:443", "example.org"),
        ("user:secret@example.org:8080", "example.org:8080"),
        ("127.0.0.1:8001", "127.0.0.1:8001"),
    ],
)
def test_sites(netloc: str, name: str) -> None:
    assert site(netloc) == name


def test_a_seed_that_redirects_within_its_site(tmp_path: Path) -> None:
    harvest = harvest_in(tmp_path)
    [seed] = harvest.begin()
    assert seed == "http://www.example.org/"
    target = "https://example.org/"
    assert harvest.redirected(seed, "https://example.org", 1) == [target]
    assert harvest.redirected("http://example.org/x", "https://example.org/", 1) == []
    assert harvest.redirected("http://example.org/y", "http://elsewhere.example/", 1) == []
    assert harvest.redirected("http://example.org/z", "javascript:1", 1) == []
    assert harvest.redirected("http://example.org/w", "/v", 6) == []
    assert harvest.summary().dropped == {"off_site": 1, "bad_redirect": 1, "redirect_limit": 1}


def test_headers_that_forbid(tmp_path: Path) -> None:
    harvest = harvest_in(tmp_path)
    harvest.begin()
    links = '<a href="/a">a</a><a href="/a.PNG">b</a><a href="https://www.example.org/c">c</a>'
    closed = page("/", links, ("X-Robots-Tag", "noai, nofollow"))
    assert harvest.arrived(closed, 200, "") == []
    assert harvest.pages == 0
    harvest = harvest_in(tmp_path)
    [seed] = harvest.begin()
    opted_out = Response(seed, (*HTML, ("X-Robots-Tag", "noai")), links.encode())
    due = ["http://www.example.org/a", "https://www.example.org/c"]
    assert harvest.arrived(opted_out, 200, "") == due
    assert harvest.pages == 0
    assert harvest.summary().dropped == {"not_html": 1, "opt_out_header": 1}


def test_the_hash_knows_urls_and_payloads_only(tmp_path: Path) -> None:
    hashes = []
    for number, order in enumerate(("ab", "ba")):
        harvest = harvest_in(tmp_path / str(number))
        for name in order:
            header = ("Date", f"day {number}")
            harvest.arrived(page(f"/{name}", f"page {name}", header), 200, f"192.0.2.{number}")
        hashes.append(harvest.summary().content_hash)
        assert harvest.summary().bytes == 2 * len("page a")
    assert hashes[0] == hashes[1]
    harvest.arrived(page("/a", "other"), 200, "")
    assert harvest.summary().content_hash != hashes[0]
