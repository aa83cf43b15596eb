"""What a crawl has and what it wants next: the rules of the crawl, without any network.

A `Harvest` joins the archive (the pages that are here), the frontier (the pages that are due) and
the reasons why other URLs are not archived. The spider tells it what happened and asks it what to
fetch; a test may do the same.

Reasons: off_site, url_* and address_* (see `pipelines.web.safety`), not_html, redirect_limit,
http_<status>, opt_out_header, too_deep; the spider's own are in `pipelines.web.gate`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from urllib.parse import urlsplit

from pipelines.web.archive import Archive
from pipelines.web.crawl import CrawlConfig, CrawlSummary
from pipelines.web.frontier import Frontier
from pipelines.web.page import Page, UnreadablePageError, absolute_url, is_html
from pipelines.web.payload import header
from pipelines.web.safety import AddressPolicy, opted_out, robots_tag
from pipelines.web.warc import Response, WarcLimits

_NO_PAGE = re.compile(
    r"\.(7z|aac|avi|bmp|bz2|css|csv|docx?|epub|exe|gif|gz|ico|iso|jar|jpe?g|js|json|mov|mp[34]|mpeg|odt"
    r"|ogg|pdf|png|pptx?|rar|svgz?|tar|tgz|tiff?|txt|wav|web[mp]|woff2?|xlsx?|xml|xz|zip)$",
    re.IGNORECASE,
)
"""Endings of URLs that are not asked for, since what they name is no page."""


class Harvest:
    """The state of a crawl. Methods that return URLs return those that are to be fetched next."""

    def __init__(self, config: CrawlConfig, archive: Archive) -> None:
        self._config, self._archive = config, archive
        self._frontier = Frontier(config.max_depth)
        self._policy = AddressPolicy(config.allow_private)
        names = config.sites or tuple(urlsplit(seed).netloc for seed in config.seeds)
        self._sites = frozenset(map(site, names))
        self._hashes: dict[str, int] = {}
        self._drops: dict[str, str] = {}
        self._bytes = 0

    @property
    def pages(self) -> int:
        """Pages archived so far."""
        return len(self._hashes)

    @property
    def known(self) -> int:
        """URLs met so far that are or were to be fetched."""
        return len(self._frontier)

    def begin(self) -> list[str]:
        """Take up what is in the archive, then start from the seeds."""
        largest = self._config.max_page_bytes
        for page in self._archive.stored(WarcLimits(largest + (1 << 20), largest)):
            self._hold(page)
            self._frontier.arrived(page.url, self._links(page))
        seeds = (absolute_url(seed, seed) or seed for seed in self._config.seeds)
        return self._frontier.seed(seed for seed in seeds if self._admits(seed))

    def arrived(self, page: Response, status: int, ip_address: str) -> list[str]:
        """The response to `page.url` is here: archive it, or note why not."""
        reason = self._refusal(page, status)
        if reason is not None:
            self.failed(page.url, reason)
        if reason not in (None, "opt_out_header"):  # which forbids to keep a page, not to follow it
            return []
        try:
            links = self._links(page)
        except UnreadablePageError as error:
            self.failed(page.url, error.reason)
            return []
        if reason is None:
            self._archive.append(page, ip_address)
            self._hold(page)
        return self._frontier.arrived(page.url, links)

    def redirected(self, url: str, location: str, redirects: int) -> list[str]:
        """`url` redirects to `location`, as the `redirects`th redirect in a row."""
        target = absolute_url(location, url)
        if redirects > self._config.max_redirects:
            self.failed(url, "redirect_limit")
        elif target is None:
            self.failed(url, "bad_redirect")
        elif self._admits(target):
            return self._frontier.redirected(url, target)
        return []

    def failed(self, url: str, reason: str) -> None:
        """`url` will not be archived."""
        self._drops[url] = reason

    def summary(self) -> CrawlSummary:
        """Counts, and the hash of what was archived."""
        dropped = Counter(self._drops.values())
        dropped["max_depth"] += self._frontier.beyond()
        return CrawlSummary(
            pages=self.pages,
            bytes=self._bytes,
            dropped={reason: dropped[reason] for reason in sorted(dropped) if dropped[reason]},
            content_hash=f"{sum(self._hashes.values()) % (1 << 128):032x}",
            files=[path.name for path in self._archive.files],
        )

    def _refusal(self, page: Response, status: int) -> str | None:
        if status != 200:
            return f"http_{status}"
        if not is_html(header(page.headers, "content-type"), page.body):
            return "not_html"
        return "opt_out_header" if opted_out(page.headers) else None

    def _hold(self, page: Response) -> None:
        payload = hashlib.sha256(page.body).digest()
        digest = hashlib.blake2b(page.url.encode() + b"\0" + payload, digest_size=16).digest()
        self._hashes[page.url] = int.from_bytes(digest, "big")
        self._bytes += len(page.body)

    def _links(self, page: Response) -> list[str]:
        if {"nofollow", "none"}.intersection(robots_tag(page.headers)):
            return []
        content_type = header(page.headers, "content-type")
        links = dict.fromkeys(Page(page.url, page.body, content_type).links())
        return [link for link in links if self._admits(link)]

    def _admits(self, url: str) -> bool:
        """Whether `url` may be fetched; if not, the reason is noted."""
        if url in self._frontier:
            return True
        if url not in self._drops:
            reason = self._url_refusal(url)
            if reason is None:
                return True
            self._drops[url] = reason
        return False

    def _url_refusal(self, url: str) -> str | None:
        parts = urlsplit(url)
        if site(parts.netloc) not in self._sites:
            return "off_site"
        if _NO_PAGE.search(parts.path):
            return "not_html"
        return self._policy.check_url(url)


def site(netloc: str) -> str:
    """What `netloc` and its variants share: no user, no `www.`, no default port."""
    name = netloc.rpartition("@")[2].lower().removeprefix("www.")
    return name.removesuffix(":80").removesuffix(":443")
