"""The demo's web from the real packages, where the cache has them all; no network is asked."""

from __future__ import annotations

import pytest

from workflows.demo_web import packages, testsets, web


@pytest.fixture(scope="module")
def real() -> web.DemoWeb:
    found = packages.cached()
    if found.missing:
        pytest.skip(f"the cache lacks {', '.join(found.missing)}")
    return web.build(found.paths, web.DemoWebConfig())


def test_enough_concepts_and_pictures(real: web.DemoWeb) -> None:
    assert len(real.concepts) >= 1500
    assert len({it.name for it in real.concepts}) == len(real.concepts)
    assert 0.15 < len(real.held) / len(real.concepts) < 0.25
    assert len(real.styles) >= 50
    assert [it.name for it in real.sites] == list(web.SITE_ORDER)
    assert sum(len(it.paths("image/")) for it in real.sites) > 15_000
    assert sum(len(it.paths("text/html")) for it in real.sites) > 5_000


def test_no_test_picture_is_served(real: web.DemoWeb) -> None:
    kept = ("twitter-held", "openmoji", "fluent", "photo", "clipart")
    tables = (testsets.emoji_table(real, size=16), testsets.style_table(real))
    rows = [row for table in tables for row in table.to_pylist() if row["group"] in kept]
    tests = {row["image"] for row in rows}
    sizes = {len(image) for image in tests}
    for site in real.sites:
        for path in site.paths("image/"):
            served = site.resources[path].read()
            assert len(served) not in sizes or served not in tests, f"{site.name}{path}"


def test_wordnet_is_where_it_is_looked_for() -> None:
    if "wordnet-base" in packages.cached().missing:
        pytest.skip("the cache lacks wordnet-base")
    assert "banana" in (packages.wordnet_dict() / "index.noun").read_text()
