"""The crawler against sites on loopback: polite, bounded, and the same after any kill."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines import datasets
from pipelines.web.crawl import (
    LOG,
    CrawlConfig,
    CrawlError,
    CrawlProgress,
    build_crawl,
    crawl,
    read_summary,
    warc_files,
)
from pipelines.web.warc import read_pages

Answer = bytes | Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


class LoopbackSite:
    """A server on a port of 127.0.0.1 that answers from a dict of paths and logs what was asked."""

    def __init__(self, answers: Mapping[str, Answer], pause_s: float = 0.0) -> None:
        self.answers, self.pause_s = dict(answers), pause_s
        self.asked: list[str] = []
        self.times: list[float] = []
        self.open = self.most_open = 0
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._serve, args=(started,), daemon=True).start()
        started.wait(10)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.name}{path}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._answer, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            self.times.append(time.monotonic())
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            await asyncio.sleep(self.pause_s)
            answer = self.answers.get(path, response(b"", "404 Not Found"))
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


def response(body: bytes, status: str = "200 OK", kind: str = "text/html", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def links(*paths: str) -> bytes:
    return response("".join(f'<a href="{path}">x</a>' for path in paths).encode())


async def drip(writer: asyncio.StreamWriter) -> None:
    """One byte now and then, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while not writer.is_closing():
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.1)


@contextmanager
def sites(*answers: Mapping[str, Answer], pause_s: float = 0.0) -> Iterator[list[LoopbackSite]]:
    running = [LoopbackSite(found, pause_s) for found in answers]
    try:
        yield running
    finally:
        for site in running:
            site.stop()


def polite(*seeds: str, **fields: object) -> CrawlConfig:
    settings: dict[str, object] = {"allow_private": True, "delay_s": 0.0, "timeout_s": 1.0}
    return CrawlConfig(seeds=seeds, **{**settings, "retries": 0, **fields})  # type: ignore[arg-type]


def archived(folder: Path) -> list[str]:
    pages = (page for file in warc_files(str(folder)) for page in read_pages(file, Counter()))
    return sorted(page.url for page in pages)


HOSTILE: dict[str, Answer] = {
    "/robots.txt": response(b"User-agent: sightmill\nDisallow: /private/\n", kind="text/plain"),
    "/": links(
        *("/a", "/private/x", "/gone", "/photo.png", "/data", "/drip", "/large", "/bomb", "/noai"),
        *("/r/0", "/moved", "/metadata", "/deep", "/a#fragment", "mailto:x@y", "http://[bad/"),
        "http://user:secret@127.0.0.1:1/",
        "http://elsewhere.example/",
    ),
    "/a": links("/b", "/"),
    "/b": response("<p>ä".encode("latin-1"), kind="text/html; charset=latin-1"),
    "/data": response(b"{}", kind="application/json"),
    "/drip": drip,
    "/large": response(b"x" * 200_000),
    "/bomb": response(gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip"),
    "/noai": response(b'<a href="/behind">x</a>', X_Robots_Tag="noai"),
    "/behind": response(b"kept: only the page that asks for it is left out"),
    **{f"/r/{i}": response(b"", "302 Found", Location=f"/r/{i + 1}") for i in range(10_000)},
    "/moved": response(b"", "301 Moved", Location="/new"),
    "/new": response(b"new"),
    "/metadata": response(b"", "302 Found", Location="http://169.254.169.254/latest/meta-data"),
    "/deep": response(b"<div>" * 15_000),
}


def test_hostile_site(tmp_path: Path) -> None:
    with sites(HOSTILE, {"/": links("/x"), "/x": response(b"x")}) as (bad, good):
        allowed = (bad.name, good.name, "169.254.169.254")
        config = polite(bad.url(), good.url(), max_page_bytes=100_000, sites=allowed)
        summary = crawl(config, str(tmp_path / "one"))
        expected = {bad.url(p) for p in ("/", "/a", "/b", "/behind", "/new")}
        assert archived(tmp_path / "one") == sorted(expected | {good.url(), good.url("/x")})
        assert summary.dropped == {
            "address_link_local": 1,
            "http_404": 1,
            "not_html": 2,
            "off_site": 2,
            "opt_out_header": 1,
            "page_too_large": 2,
            "redirect_limit": 1,
            "robots": 1,
            "timeout": 1,
            "too_deep": 1,
        }
        assert "/private/x" not in bad.asked
        assert "/photo.png" not in bad.asked
        assert sum(path.startswith("/r/") for path in bad.asked) == config.max_redirects + 1
        assert bad.asked.count("/robots.txt") == good.asked.count("/robots.txt") == 1
        assert max(Counter(bad.asked).values()) == 1

        again = crawl(config, str(tmp_path / "two"))
        assert again.content_hash == summary.content_hash
        asked = len(bad.asked)
        assert crawl(config, str(tmp_path / "one")) == summary
        assert len(bad.asked) == asked
        bad.answers["/new"] = response(b"newer")
        assert crawl(config, str(tmp_path / "three")).content_hash != summary.content_hash


def web_of(pages: int) -> dict[str, Answer]:
    """Pages of which each leads to some others; from the first, all are within 40 links."""
    return {
        "/": links("/0"),
        **{
            f"/{i}": links(*(f"/{(i * 3 + k) % pages}" for k in range(1, 4)), f"/{i + 1}")
            for i in range(pages)
        },
    }


START = """
import sys, json
from pipelines.web.crawl import CrawlConfig, crawl
config = CrawlConfig(**json.loads(sys.argv[2]))
crawl(config, sys.argv[1], lambda progress: print(progress.pages, flush=True))
"""


def spider_of(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0])


def start_and_kill(config: CrawlConfig, folder: Path, pages: int, victim: str) -> None:
    command = [sys.executable, "-c", START, str(folder), json.dumps(vars(config))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= pages:
                break
        os.kill(process.pid if victim == "parent" else spider_of(process.pid), signal.SIGKILL)
    assert process.returncode != 0


def kept(folder: Path) -> set[str]:
    """Pages that are whole in a folder, once no spider writes there any more."""
    if not folder.exists():
        return set()
    with (folder / ".crawl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = [*folder.glob("crawl-*.warc.gz"), *folder.glob(".crawl.warc.gz.open")]
        return {page.url for file in files for page in read_pages(str(file), Counter())}


def test_killed_crawl_goes_on(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    with sites(web_of(120), pause_s=0.05) as (site,):
        config = polite(site.url(), max_depth=40, timeout_s=10.0)
        whole = crawl(config, str(tmp_path / "whole"))
        assert whole.pages == 121
        assert site.most_open == config.concurrency_per_site
        folder = tmp_path / "killed"
        for pages, victim in ((15, "parent"), (50, "spider")):
            had = kept(folder)
            site.asked.clear()
            start_and_kill(config, folder, pages, victim)
            assert had.isdisjoint(map(site.url, site.asked))
            assert len(kept(folder)) >= pages
            assert not (folder / "crawl.json").exists()
        had = kept(folder)
        site.asked.clear()
        summary = crawl(config, str(folder))
        assert had.isdisjoint(map(site.url, site.asked))
        assert summary.content_hash == whole.content_hash
        assert summary.dropped == whole.dropped
        assert archived(folder) == archived(tmp_path / "whole")
        stray = [path.name for path in folder.iterdir() if path.name.startswith("crawl-")]
        assert sorted(stray) == summary.files


def test_addresses_are_refused_unless_allowed(tmp_path: Path) -> None:
    with sites({"/": response(b"secret")}) as (site,):
        seeds = (site.url(), f"http://localhost:{site.port}/")
        summary = crawl(CrawlConfig(seeds=seeds, retries=0), str(tmp_path / "refused"))
        assert summary.pages == 0
        assert summary.dropped == {"address_loopback": 2}
        assert site.asked == []
        assert crawl(polite(seeds[1]), str(tmp_path / "allowed")).pages == 1


def test_robots_rules(tmp_path: Path) -> None:
    failing = {"/robots.txt": response(b"User-agent: *\nAllow: /\n", "503 Busy"), "/": links()}
    slow: dict[str, Answer] = {
        "/robots.txt": response(b"User-agent: *\nCrawl-delay: 0.4\n", kind="text/plain"),
        "/": links("/1", "/2", "/3"),
        **{f"/{i}": response(b"page") for i in range(1, 4)},
    }
    moved: dict[str, Answer] = {
        "/robots.txt": response(b"", "301 Moved", Location="/rules"),
        "/rules": response(b"User-agent: *\nDisallow: /1\n", kind="text/plain"),
        "/": response(b'<a href="/1">x</a><a rel="nofollow" href="/2">x</a>'),
    }
    with sites(failing, slow, moved) as running:
        config = polite(*(site.url() for site in running), concurrency_per_site=8)
        summary = crawl(config, str(tmp_path))
        assert summary.pages == 1 * 4 + 1
        assert summary.dropped == {"robots": 1, "robots_unreachable": 1}
        gaps = [b - a for a, b in zip(running[1].times[1:], running[1].times[2:], strict=False)]
        assert min(gaps) >= 0.15  # Scrapy varies a delay by half of it


def test_depth_and_page_limits(tmp_path: Path) -> None:
    with sites({"/": links("/1"), "/1": links("/2"), "/2": links("/3", "/1")}) as (site,):
        summary = crawl(polite(site.url(), max_depth=1), str(tmp_path / "depth"))
        assert archived(tmp_path / "depth") == [site.url("/"), site.url("/1")]
        assert summary.dropped == {"max_depth": 1}
        seen: list[CrawlProgress] = []
        assert (
            crawl(polite(site.url(), max_pages=2), str(tmp_path / "pages"), seen.append).pages == 2
        )
        assert seen[-1].pages == seen[-1].fetched == 2


def test_a_crawl_is_a_dataset_folder(tmp_path: Path) -> None:
    with sites({"/": links("/1"), "/1": links("/")}) as (site,):
        dataset = build_crawl(polite(site.url()), str(tmp_path / "crawl"))
        assert dataset.manifest.content_hash == read_summary(dataset.path).content_hash
        assert datasets.verify(dataset.path) == []
        with pytest.raises(ValueError, match="max_depth"):
            crawl(polite(site.url(), max_depth=3), dataset.path)


def test_a_crawler_that_cannot_write_says_so(tmp_path: Path) -> None:
    (tmp_path / ".crawl.warc.gz.open").mkdir()
    with sites({"/": links()}) as (site,), pytest.raises(CrawlError, match="Is a directory"):
        crawl(polite(site.url()), str(tmp_path))
    assert (tmp_path / LOG).exists()


def test_seeds_are_checked() -> None:
    with pytest.raises(ValueError, match="ftp://x/"):
        CrawlConfig(seeds=("ftp://x/",))
