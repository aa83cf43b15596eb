"""The frontier of a crawl: which URLs are known, and how few links lead to each.

A page's depth is the least number of links from a seed. Pages arrive in any order, so a page may
first be found by a detour: when a shorter way turns up later, the gain is passed on along the links
that are known by then. So the set of pages within `max_depth` is a function of the web alone and
never of the order of arrival, which is what makes a resumed crawl equal an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterable


class Frontier:
    """Depths and links of the URLs met so far.

    Every method returns the URLs that became due by it: within depth, and not fetched or due
    before.
    """

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._depth: dict[str, int] = {}
        self._leads_to: dict[str, dict[str, int]] = {}
        """Of each page that is here: the URLs it leads to, and how many links that costs."""

    def __contains__(self, url: str) -> bool:
        return url in self._depth

    def __len__(self) -> int:
        return len(self._depth)

    def seed(self, urls: Iterable[str]) -> list[str]:
        """Start from `urls`, at depth 0."""
        return self._walk([(url, 0) for url in urls])

    def arrived(self, url: str, links: Iterable[str]) -> list[str]:
        """The page `url` is here and has `links`. It may be here before any way to it is known."""
        return self._open(url, dict.fromkeys(links, 1))

    def redirected(self, url: str, target: str) -> list[str]:
        """`url` redirects to `target`, which costs no link."""
        return self._open(url, {target: 0})

    def beyond(self) -> int:
        """How many URLs are known that lie deeper than `max_depth`."""
        return len({url for found in self._leads_to.values() for url in found} - self._depth.keys())

    def _open(self, url: str, ways: dict[str, int]) -> list[str]:
        self._leads_to[url] = ways
        depth = self._depth.get(url)
        return (
            [] if depth is None else self._walk([(to, depth + cost) for to, cost in ways.items()])
        )

    def _walk(self, ways: list[tuple[str, int]]) -> list[str]:
        due = []
        while ways:
            url, depth = ways.pop()
            known = self._depth.get(url)
            if depth > self._max_depth or (known is not None and known <= depth):
                continue
            if known is None and url not in self._leads_to:
                due.append(url)
            self._depth[url] = depth
            ways += [(to, depth + cost) for to, cost in self._leads_to.get(url, {}).items()]
        return due[::-1]
