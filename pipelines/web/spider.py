"""The crawler's own process: Scrapy, told to be polite, bounded and hard to lead astray.

`python -m pipelines.web.spider FOLDER`, the config as one JSON line on standard input; JSON lines
of progress on standard output. It ends when its standard input does, so that no crawler
outlives the process that wanted it.

What of Scrapy is used: its downloader (delays and open requests a site, timeouts, sizes, retries,
content encodings), its robots.txt and its scheduler. What is not: its duplicate filter and its
redirects of pages, since `pipelines.web.harvest` must know of both, and its job folder, since the
archive is the state.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.crawler import Crawler, CrawlerProcess
from scrapy.exceptions import CloseSpider, StopDownload
from scrapy.http import Response
from twisted.internet.task import LoopingCall

from pipelines import storage
from pipelines.web.archive import Archive
from pipelines.web.crawl import SUMMARY, CrawlConfig, CrawlProgress
from pipelines.web.gate import ALLOW_PRIVATE, drop_reason, is_robots
from pipelines.web.harvest import Harvest
from pipelines.web.page import is_html
from pipelines.web.safety import ROBOTS_TOKEN, USER_AGENT
from pipelines.web.warc import Response as Page

MAX_CRAWL_DELAY_S = 30.0
"""Seconds of the longest Crawl-delay that is obeyed to the letter."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def scrapy_settings(config: CrawlConfig) -> dict[str, Any]:
    """Scrapy's settings for a crawl."""
    return {
        "USER_AGENT": USER_AGENT,
        "ROBOTSTXT_OBEY": True,
        "ROBOTSTXT_USER_AGENT": ROBOTS_TOKEN,
        "DOWNLOAD_DELAY": config.delay_s,
        "CONCURRENT_REQUESTS": config.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": config.concurrency_per_site,
        "DOWNLOAD_TIMEOUT": config.timeout_s,
        "DOWNLOAD_MAXSIZE": config.max_page_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "RETRY_TIMES": config.retries,
        "RETRY_GIVE_UP_LOG_LEVEL": "INFO",
        "REDIRECT_MAX_TIMES": config.max_redirects,
        "METAREFRESH_ENABLED": False,
        "COOKIES_ENABLED": False,
        "HTTPPROXY_ENABLED": False,  # a proxy would connect to addresses that nobody judged
        "DOWNLOADER": "pipelines.web.gate.PerSiteDownloader",
        "DOWNLOADER_MIDDLEWARES": {"pipelines.web.gate.Gate": 1},
        "TWISTED_DNS_RESOLVER": "pipelines.web.gate.PinnedNameResolver",
        ALLOW_PRIVATE: config.allow_private,
        "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
        "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
        "CONCURRENT_ITEMS": 1,  # so many tasks are started a response: 100 cost a third of the time
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_LEVEL": "WARNING",
        "STATS_DUMP": False,
    }


class PageSpider(Spider):
    """Carries URLs from the harvest to Scrapy's downloader, and what comes of them back."""

    name = ROBOTS_TOKEN

    def __init__(self, config: CrawlConfig, harvest: Harvest, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._config, self._harvest = config, harvest
        self._began, self._had = time.monotonic(), 0
        self.failure = ""
        """Traceback of what ended the crawl before its end."""
        self.reason = ""
        """Why it ended, in Scrapy's word."""

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> PageSpider:
        """As Scrapy makes its spiders."""
        spider: PageSpider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.skip_body, signals.headers_received)
        crawler.signals.connect(spider.obey_crawl_delay, signals.robots_parsed)
        crawler.signals.connect(spider.fail, signals.spider_error)
        return spider

    async def start(self) -> AsyncIterator[Request]:
        """The first requests."""
        due = self._harvest.begin()
        self._had = self._harvest.pages
        LoopingCall(self.report).start(0.5)
        for url in due:
            yield self._request(url, redirects=0)

    def _request(self, url: str, redirects: int) -> Request:
        meta = {"url": url, "redirects": redirects, "handle_httpstatus_all": True}
        return Request(url, self.parse, errback=self.failed, meta=meta, dont_filter=True)

    def parse(self, response: Response) -> Iterator[Request]:
        """Hand a response to the harvest and ask for what that leads to."""
        url, redirects = response.meta["url"], response.meta["redirects"]
        if response.status in _REDIRECTS and "Location" in response.headers:
            location = response.headers["Location"].decode("latin-1")
            due, redirects = self._harvest.redirected(url, location, redirects + 1), redirects + 1
        else:
            page = Page(url, _pairs(response.headers), response.body)
            due, redirects = self._harvest.arrived(page, response.status, _address(response)), 0
        for link in due:
            yield self._request(link, redirects)
        if 0 < self._config.max_pages <= self._harvest.pages:
            raise CloseSpider("max_pages")

    def failed(self, failure: Any) -> None:
        """Note why a request brought no response."""
        self._harvest.failed(
            failure.request.meta["url"], drop_reason(failure.request, failure.value)
        )

    def skip_body(self, headers: Any, request: Request, **_: Any) -> None:
        """Do not wait for the body of what is no page."""
        content_type = (headers.get("Content-Type") or b"").decode("latin-1")
        wanted = is_html(content_type, b"") or is_robots(request) or "Location" in headers
        if content_type and not wanted:
            raise StopDownload(fail=False)

    def obey_crawl_delay(self, robotparser: Any, request: Request) -> None:
        """Slow down for a site that asks for it."""
        delay = robotparser.crawl_delay(ROBOTS_TOKEN)
        if delay and delay > self._config.delay_s:
            downloader = self.crawler.engine.downloader
            key = downloader.get_slot_key(request)
            wait = min(float(delay), MAX_CRAWL_DELAY_S)
            downloader.per_slot_settings[key] = {"delay": wait, "concurrency": 1}
            if key in downloader.slots:
                downloader.slots[key].delay, downloader.slots[key].concurrency = wait, 1

    def fail(self, failure: Any) -> None:
        """Our own code failed, or the disk is full: end the crawl, and say so."""
        self.failure = self.failure or failure.getTraceback()
        self._closing = asyncio.ensure_future(
            self.crawler.engine.close_spider_async(reason="error")
        )

    def report(self) -> None:
        """Write a line of progress."""
        pages, seconds = self._harvest.pages, time.monotonic() - self._began
        progress = CrawlProgress(pages, self._harvest.known, pages - self._had, seconds)
        print(json.dumps(asdict(progress)), flush=True)

    def closed(self, reason: str) -> None:
        """Scrapy says why the crawl ended."""
        self.reason = reason
        self.report()


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, values in headers.items()
        for value in values
    )


def _address(response: Response) -> str:
    return "" if response.ip_address is None else str(response.ip_address)


def run(config: CrawlConfig, folder: Path) -> str:
    """Crawl into `folder` and write its summary; returns what went wrong, or nothing."""
    with Archive(str(folder)) as archive:
        harvest = Harvest(config, archive)
        process = CrawlerProcess(scrapy_settings(config))
        crawler = process.create_crawler(PageSpider)
        process.crawl(crawler, config=config, harvest=harvest)
        process.start()
        spider = crawler.spider
        if spider is None or spider.failure or spider.reason not in ("finished", "max_pages"):
            return (spider and spider.failure) or "the crawl was stopped"
        archive.close()
        storage.write_json(str(folder / SUMMARY), asdict(harvest.summary()))
    return ""


def main() -> None:
    """The process that `pipelines.web.crawl.crawl` starts."""
    folder = Path(sys.argv[1])
    config = CrawlConfig(**{k: _field(v) for k, v in json.loads(sys.stdin.readline()).items()})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with (folder / ".crawl.lock").open("w") as lock:
        fcntl.flock(
            lock, fcntl.LOCK_EX
        )  # an earlier crawler may take a moment to see its parent die
        sys.exit(run(config, folder) or 0)


def _field(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
