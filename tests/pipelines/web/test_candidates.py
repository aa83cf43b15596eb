"""Candidate pairs of one page."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import records
from pipelines.web.candidates import (
    Candidate,
    candidates,
    clean_text,
    image_reference,
    largest_variant,
)
from pipelines.web.warc import Response, WatPage

PAGE = "http://site.example/dir/page.html"


def pairs(
    html: str | bytes, content_type: str = "text/html", **headers: str
) -> tuple[list[Candidate], dict[str, int]]:
    body = html if isinstance(html, bytes) else html.encode()
    drops: Counter[str] = Counter()
    fields = (
        ("Content-Type", content_type),
        *((k.replace("_", "-"), v) for k, v in headers.items()),
    )
    return list(candidates(Response(PAGE, fields, body), drops)), dict(drops)


def test_rows_are_the_columns_of_the_dataset() -> None:
    assert list(Candidate._fields) == records.CANDIDATES.names
    [found], drops = pairs('<html lang="en-GB"><img src="owl.png" alt="an owl">')
    url = "http://site.example/dir/owl.png"
    assert found == (records.record_id(url, "an owl"), url, "an owl", "alt", PAGE, "en")
    assert drops == {}


def test_texts_of_an_image() -> None:
    found, drops = pairs(
        """<figure><figure><img src=a alt=" An&nbsp;&eacute;gret &amp;\n heron " title="An égret">
        <figcaption>Fig.<b>1</b>: H<sub>2</sub>O<br>and <script>x</script>ice
        <a class="headerlink" href="#x">¶</a></figcaption></figure>
        <img src=b><figcaption>outer</figcaption></figure>
        <img src=c alt="same" title="same"><img src=d alt="" title=" "><img src=e>"""
    )
    assert [(c.image_url[-1], c.text_source, c.text) for c in found] == [
        ("a", "alt", "An égret & heron"),
        ("a", "figcaption", "Fig.1: H2O and ice"),
        ("a", "title", "An égret"),
        ("b", "figcaption", "outer"),
        ("c", "alt", "same"),
    ]
    assert drops == {"no_text": 2}


def test_urls_of_an_image() -> None:
    blank = "data:image/gif;base64,R0lGOD"
    found, drops = pairs(
        f"""<base href="//cdn.example/i/"><img alt=1 src="{blank}" data-src="lazy.jpg">
        <img alt=2 src="../x.png#part"><img alt=3 srcset="s.png 320w, l.png 1024w, m.png 640w">
        <img alt=4 src="{blank}"><img alt=5 src="ftp://x/y.png"><img alt=6><img alt=7 src="http://[/">
        <img alt=8 src="spacer.gif" data-original="real.png">"""
    )
    names = ["i/lazy.jpg", "x.png", "i/l.png", "i/real.png"]
    assert [c.image_url for c in found] == [f"http://cdn.example/{name}" for name in names]
    assert drops == {"data_uri": 1, "bad_url": 2, "no_url": 1}


@pytest.mark.parametrize(
    ("srcset", "url"),
    [
        ("a.png", "a.png"),
        ("a.png 1x, b.png 2.5x", "b.png"),
        ("a.png 1x,b.png 2x", "b.png"),
        ("http://x/a,b.png 100w, http://x/c,d.png 90w", "http://x/a,b.png"),
        ("", ""),
        (" , ", ""),
        ("a.png 1..2x", "a.png"),
    ],
)
def test_srcset(srcset: str, url: str) -> None:
    assert largest_variant(srcset) == url


def test_attributes_without_values() -> None:
    assert image_reference({"src": None, "srcset": None}) == ""


def test_texts_that_are_dropped() -> None:
    found, drops = pairs(
        f"<img src=a alt='{'x' * 1001}'><img src=b alt='{'x' * 1000}'>".encode()
        + b"<img src=c alt='caf\x81\x8d\xe9 \xff\xfe'><img src=d alt='\xc3\xa9'>"
    )
    assert [c.image_url[-1] for c in found] == ["b", "d"]
    assert drops == {"text_too_long": 1, "undecodable": 1}


def test_text_is_normalised() -> None:
    assert clean_text("e\u0301\u200b\x00 \u00a0\ta\ufeff\u00ad\n") == "é a"
    assert clean_text("\U0001f468\u200d\U0001f33e farmer") == "\U0001f468\u200d\U0001f33e farmer"


def test_wrong_charset_is_not_mistaken() -> None:
    html = "<html lang=ru><img src=a alt='красное яблоко на столе'>".encode("cp1251")
    for declared in ("utf-8", "iso-8859-1", "windows-1251", "no-such"):
        [found], _ = pairs(html, f"text/html; charset={declared}")
        assert found.text == "красное яблоко на столе"


def test_languages() -> None:
    long = "eine Zeichnung von einem Hund im Garten"
    html = f"<img src=a alt='{long}'><img src=b alt='Hut'>"
    assert [c.language for c in pairs(f"<html lang=en>{html}")[0]] == ["de", "en"]
    assert [c.language for c in pairs(html)[0]] == ["de", "und"]
    prose = "<title>Die Bilder</title><p>Hier sind einige Bilder von Tieren und von Hüten zu sehen."
    assert [c.language for c in pairs(prose + html)[0]] == ["de", "de"]


def test_opt_outs_and_other_types() -> None:
    html = "<img src=a alt=b>"
    assert pairs(html, X_Robots_Tag="noai") == ([], {"opt_out_header": 1})
    assert pairs(html, X_Robots_Tag="otherbot: noai")[1] == {}
    for name, content in (("robots", "NoImageAI"), ("Sightmill", "noai"), ("robots", "a, noindex")):
        meta = f'<meta name="{name}" content="{content}">'
        assert pairs(meta + html) == ([], {"opt_out_meta": 1})
    assert pairs('<meta name="otherbot" content="noai">' + html)[1] == {}
    assert pairs(html, "application/pdf") == ([], {"not_html": 1})
    assert pairs("<i>" * 9999 + html) == ([], {"too_deep": 1})
    assert pairs("", "text/html") == ([], {})


def wat(head: dict[str, object], *links: dict[str, str]) -> tuple[list[Candidate], dict[str, int]]:
    drops: Counter[str] = Counter()
    page = WatPage(PAGE, (), {"Head": head, "Links": list(links)})
    return list(candidates(page, drops)), dict(drops)


def test_wat() -> None:
    image = {
        "path": "IMG@/src",
        "url": "o.png?a=1&amp;b=2",
        "alt": "an owl",
        "title": "Bubo &amp; co",
    }
    found, drops = wat(
        {"Base": "/base/"},
        image,
        {"path": "A@/href", "url": "x.html", "text": "no"},
        {"path": "IMG@/src", "url": "x.png"},
    )
    assert [c[1:4] for c in found] == [
        ("http://site.example/base/o.png?a=1&b=2", "an owl", "alt"),
        ("http://site.example/base/o.png?a=1&b=2", "Bubo & co", "title"),
    ]
    assert drops == {"no_text": 1}
    metas = [{"name": "robots", "content": "noai"}, {"property": "og:title", "content": "x"}]
    assert wat({"Metas": metas}, image) == ([], {"opt_out_meta": 1})
    dropped: Counter[str] = Counter()
    assert list(candidates(WatPage(PAGE, (), None), dropped)) == []
    assert dropped == {"not_html": 1}


def test_a_wat_and_its_warc_give_the_same_pairs() -> None:
    html = '<html><img src="a.png" alt="an owl"><img src="/b.png" title="a hat &amp; a cat">'
    links = [
        {"path": "IMG@/src", "url": "a.png", "alt": "an owl"},
        {"path": "IMG@/src", "url": "/b.png", "title": "a hat &amp; a cat"},
    ]
    assert wat({}, *links)[0] == pairs(html)[0]


TOKENS = [
    *(
        b"<img ",
        b"src=",
        b"alt=",
        b"srcset=",
        b"data-src=",
        b">",
        b"<figure>",
        b"<figcaption>",
        b"'",
    ),
    *(
        b'"',
        b"a.png",
        b"//",
        b"http://[",
        b"data:",
        b"\xff\xfe",
        b"\xd0\xba",
        b"&#xD800;",
        b"&amp",
        b" ",
    ),
    *(
        b"<base href=",
        b"<html lang=",
        b"</figure>",
        b"1x,",
        b"<meta charset=utf-16>",
        b"\0",
        b"<svg>",
    ),
]


@settings(database=None, derandomize=True, max_examples=300)
@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.sampled_from(["", "; charset=utf-7"]))
def test_no_page_raises(tokens: list[bytes], charset: str) -> None:
    found, _ = pairs(b"".join(tokens), f"text/html{charset}")
    for candidate in found:
        assert candidate.image_url.startswith("http")
        assert candidate.text
        "".join(candidate).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["IMG@/src", "a", "\ud800", "//["]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Head", "Links", "Metas", "Base", "path", "url", "alt", "name"]), inner
        )
    ),
)


@settings(database=None, derandomize=True, max_examples=300)
@given(st.dictionaries(st.sampled_from(["Head", "Links"]), json_values))
def test_no_wat_raises(html: dict[str, object]) -> None:
    for candidate in candidates(WatPage(PAGE, (), html), Counter()):
        "".join(candidate).encode()
