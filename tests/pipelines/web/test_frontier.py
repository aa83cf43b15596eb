"""The frontier finds the same pages in any order of arrival, and after any interruption."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.web.frontier import Frontier

Web = list[tuple[bool, list[int]]]
"""Of each page: whether it is a redirect (to its first link), and the pages that it links to."""


def within(web: Web, depth: int) -> set[str]:
    """Plain reference: breadth-first search from page 0, redirects at no cost."""
    best = {0: 0}
    ways = deque([0])
    while ways:
        page = ways.popleft()
        is_redirect, links = web[page]
        for to in links[:1] if is_redirect else links:
            reach = best[page] + (not is_redirect)
            if reach <= depth and reach < best.get(to, depth + 1):
                best[to] = reach
                ways.append(to)
    return {str(page) for page in best}


webs = st.integers(1, 12).flatmap(
    lambda size: st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, size - 1), min_size=1, max_size=4)),
        min_size=size,
        max_size=size,
    )
)


@settings(database=None, derandomize=True)
@given(webs, st.integers(0, 5), st.randoms(use_true_random=False), st.integers(0, 12))
def test_any_order_and_any_kill(web: Web, depth: int, chance: object, had: int) -> None:
    expected = within(web, depth)
    pages = sorted(page for page in expected if not web[int(page)][0])
    chance.shuffle(pages)  # type: ignore[attr-defined]
    frontier, fetched = Frontier(depth), set(pages[:had])
    for page in pages[:had]:  # what a killed crawl left in its archive
        assert frontier.arrived(page, [str(link) for link in web[int(page)][1]]) == []
    due = frontier.seed(["0"])
    while due:
        page = due.pop(chance.randrange(len(due)))  # type: ignore[attr-defined]
        assert page not in fetched
        fetched.add(page)
        is_redirect, links = web[int(page)]
        if is_redirect:
            due += frontier.redirected(page, str(links[0]))
        else:
            due += frontier.arrived(page, [str(link) for link in links])
    assert fetched == expected


def test_beyond_counts_what_the_depth_limit_cut() -> None:
    frontier = Frontier(max_depth=1)
    assert frontier.seed(["a"]) == ["a"]
    assert frontier.arrived("a", ["b", "c", "b"]) == ["b", "c"]
    assert frontier.arrived("b", ["a", "d", "e"]) == []
    assert frontier.beyond() == 2
    assert len(frontier) == 3
    assert "c" in frontier
    assert "d" not in frontier
