"""From bytes to a tree: characters, URLs, links and limits."""

from __future__ import annotations

import itertools

import pytest

from pipelines.web.page import (
    Page,
    UnreadablePageError,
    _absolute_url,
    absolute_url,
    decode,
    is_html,
    primary_subtag,
)

RUSSIAN, FRENCH = "Красное яблоко на столе", "Boîte à outils côté fenêtre"
CHINESE = "图像编辑器的主窗口和工具箱，左边是工具，右边是图层"


@pytest.mark.parametrize(
    ("text", "encoding", "declared"),
    [
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (CHINESE, "gbk", "gb2312"),
        ("Zażółć gęślą jaźń", "iso-8859-2", "iso-8859-2"),
        ("이미지 편집기 창", "euc-kr", "euc-kr"),
        # the declaration is wrong, or missing
        (RUSSIAN, "cp1251", "utf-8"),
        (RUSSIAN, "cp1251", "iso-8859-1"),
        (FRENCH, "latin-1", "utf-8"),
        (FRENCH, "utf-8", "iso-8859-1"),
        (CHINESE, "gbk", "utf-8"),
        (CHINESE, "utf-8", "no-such-charset"),
        (FRENCH * 2, "utf-8", "utf-16"),
        (FRENCH, "utf-8", None),
        (FRENCH, "cp1252", None),
    ],
)
def test_charsets(text: str, encoding: str, declared: str | None) -> None:
    by_header = f"text/html; charset={declared}" if declared else "text/html"
    assert decode(text.encode(encoding), by_header) == text
    meta = f'<meta charset="{declared}">' if declared else "<html>"
    assert decode((meta + text).encode(encoding), "text/html") == meta + text


def test_byte_order_marks_win() -> None:
    assert decode("\ufeffé".encode(), "text/html; charset=latin-1") == "é"
    assert decode("\ufeffé".encode("utf-16-le"), None) == "é"
    assert decode("<p>é".encode("utf-16-le"), "text/html; charset=utf-16le") == "<p>é"


def test_bytes_of_no_charset_become_replacement_characters() -> None:
    assert "\ufffd" in decode(b"caf\xe9 \xff\xfe\x81\x8d\x8f" + "é".encode() * 5, "text/html")


REFERENCES = [
    *("a.html", "/a/b.png", "a/b/", "../x", "./a", "a//b", "//h/x", "x?y=1", "a b", "", "#f", "/"),
    *(
        "http://q/",
        "%41/b",
        "a/../b",
        "/a/.b",
        "..",
        "A-_~.c",
        "javascript:1",
        "a:b",
        "ü.png",
        ".b",
    ),
]
BASES = [
    "http://H.com:80/d/e?q=/x/",
    "http://h/",
    "http://h",
    "https://h:8/a/b/c",
    "http://h/a/;p/x",
]


@pytest.mark.parametrize(("reference", "base"), itertools.product(REFERENCES, BASES))
def test_the_fast_join_equals_the_plain_one(reference: str, base: str) -> None:
    assert absolute_url(reference, base) == _absolute_url(reference, base)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        (" a b/ü.png#part ", "http://example.com/d/a%20b/%C3%BC.png"),
        ("//other.example/x\n/y", "http://other.example/x/y"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("HTTPS://Example.ORG:443", "https://example.org/"),
        ("?a=1&b=%20", "http://example.com/d/e?a=1&b=%20"),
        ("data:image/png;base64,AAAA", None),
        ("http://x:99999/", None),
        ("http://[x/", None),
        ("x" * 3000, None),
    ],
)
def test_absolute_urls(reference: str, url: str | None) -> None:
    assert absolute_url(reference, "http://EXAMPLE.com:80/d/e?q") == url


def test_links() -> None:
    html = b"""<html><head><base href="/base/"><meta http-equiv="refresh" content="3; URL='next'">
    </head><a href="a">1</a><a rel="external NoFollow" href="no">2</a><area href="/b">
    <iframe src="c"></iframe><a href="mailto:x@y">3</a><a name="d">4</a><a href="a#top">5</a>"""
    page = Page("http://site.example/dir/", html)
    expected = ["/base/next", "/base/a", "/b", "/base/c", "/base/a"]
    assert list(page.links()) == [f"http://site.example{path}" for path in expected]
    forbidden = Page("http://site.example/", b'<meta name="Robots" content="NOFOLLOW"><a href="a">')
    assert list(forbidden.links()) == []


def test_declared_language() -> None:
    assert Page("http://x/", b'<html lang="pt-BR">').language == "pt"
    assert Page("http://x/", b'<html xml:lang="zh_TW">').language == "zh"
    assert Page("http://x/", b"<p>").language == "und"
    assert [primary_subtag(tag) for tag in (None, "", "x", "english", "DE ")] == [
        *("und", "und", "und", "und", "de")
    ]
    page = Page("http://x/", b"<title>T</title><script>no</script><p>some <b>words</b> here</p>")
    assert page.opening() == "T some words here"


@pytest.mark.parametrize(
    "body",
    [
        b"<div>" * 100_000,
        b"<DIV></x>" * 9000,
        b"<span>" * 5000 + b"</span>" * 5000,
        b"<p><i>" * 3000,
        b"<p>" + b"".join(b"<b id=%d>" % i for i in range(64)) + b"<p>x" * 100_000 + b"</b>" * 64,
    ],
)
def test_what_would_blow_up_is_refused_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(UnreadablePageError, match="too_deep"):
        _ = Page("http://x/", body).tree


@pytest.mark.parametrize(
    "body",
    [
        b"<br>" * 100_000,
        b"<p>words<li>item" * 5000,
        b"<b>x</b>" * 9000,
        b"< " * 9000,
        b"<a" * 100_000,
        b"<a href=x>" * 9000,
        b"<table>" + b"<tr><td>x" * 9000,
        b"<div>" * 400 + b"<p><em>x</em> <code>y</code>" * 4000,
    ],
)
def test_what_only_is_long_is_parsed(body: bytes) -> None:
    assert Page("http://x/", body).tree is not None


def test_what_is_html() -> None:
    assert is_html("text/html; charset=utf-8", b"")
    assert is_html("Application/XHTML+XML", b"")
    assert not is_html("image/png", b"<html>")
    assert is_html(None, b"\xef\xbb\xbf\n<!DOCTYPE html>")
    assert not is_html(None, b"\x89PNG")
