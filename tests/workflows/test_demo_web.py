"""The demo's web from small made packages: concepts, hold-outs, sites, test sets, server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

import pytest
from PIL import Image
from selectolax.lexbor import LexborHTMLParser

from pipelines.records import LABELLED
from workflows.demo_web import concepts, serve, testsets
from workflows.demo_web.oddities import huge_png
from workflows.demo_web.packages import PACKAGES, cached
from workflows.demo_web.sites import Resource, Site, text
from workflows.demo_web.styles import series, subject
from workflows.demo_web.web import SITE_ORDER, DemoWeb, DemoWebConfig, build

NAMES = [
    "fox",
    "owl",
    "key",
    "tiger",
    "pear",
    "bus",
    "drum",
    "goat",
    "lemon",
    "moon",
    "rose",
    "bear",
]
CONFIG = DemoWebConfig(held_fraction=0.5, slow_seconds=0.2, drip_seconds=0.4)


def picture(color: int, kind: str = "png") -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (8, 6), (color, 255 - color, 7, 200)).save(out, kind, lossless=True)
    return out.getvalue()


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def make_emoji(cache: Path) -> None:
    entries = [
        {"unified": f"1F4{n:02X}-FE0F", "name": name.upper(), "short_name": f"{name}_{n}"}
        | {"category": "Animals & Things", "subcategory": "thing"}
        for n, name in enumerate([*NAMES, "twin one", "twin two"])
    ]
    flag = entries[0] | {"unified": "1F1E6", "name": "FLAG", "category": "Flags"}
    undrawn = entries[0] | {"unified": "1F999", "name": "LLAMA"}
    words = {chr(0x1F400 + n): [name, f"{name} word", "thing"] for n, name in enumerate(NAMES)}
    folder = cache / PACKAGES["emojilib"].folder / "package/dist"
    put(folder / "emoji-en-US.json", json.dumps(words))
    for shade, (hand, (name, inner)) in enumerate(concepts._FOLDERS.items()):
        root = cache / PACKAGES[name].folder
        put(root / "package/emoji.json", json.dumps([*entries, flag, undrawn]))
        for n, entry in enumerate([*entries, flag]):
            stem = str(entry["unified"]).lower()
            color = 60 * shade + (12 if hand == "twitter" and "TWIN" in str(entry["name"]) else n)
            if hand == "openmoji":
                put(root / inner / f"{stem.upper()}.svg", f'<svg xmlns="{SVG}"><g id="{n}"/></svg>')
            elif hand == "fluent":
                put(root / inner / f"{stem}.webp", picture(color, "webp"))
            else:
                put(root / inner / f"{stem}.png", picture(color))


SVG = "http://www.w3.org/2000/svg"
RDF = (
    "<rdf:RDF><cc:Work><dc:title>{0}</dc:title><dc:subject><rdf:Bag><rdf:li>{1}</rdf:li></rdf:Bag>"
)
RDF += "</dc:subject></cc:Work></rdf:RDF>"


def make_pictures(cache: Path) -> None:
    png = cache / PACKAGES["openclipart-png"].folder / "usr/share/openclipart/png"
    svg = cache / PACKAGES["openclipart-svg"].folder / "usr/share/openclipart/svg"
    arts = [
        ("animals/fox_jo_01", "Fox"),
        ("animals/fox_jo_02", "fox 2"),
        ("animals/fox_al_01", "a fox"),
    ]
    arts += [("tools/key_01", "Key"), ("logos/key_club", "Key Club"), ("unsorted/x", "")]
    arts += [("food/pear", "Clipart by N - owl"), ("food/owl", "Clipart by N - owl")]
    for n, (path, title) in enumerate(arts):
        put(png / f"{path}.png", picture(100 + n))
        put(svg / f"{path}.svg", RDF.format(title, "a &amp; b"))
    (png / "animals/alias.png").symlink_to("fox_jo_01.png")
    put(png / "food/copy_of_key.png", picture(103))
    stamps = cache / PACKAGES["tuxpaint-stamps-default"].folder / "usr/share/tuxpaint/stamps"
    captions = {"fox": "A fox.", "red_fox": "A red fox.", "owl": "An owl.", "key2": "A key."}
    for n, (stem, caption) in enumerate({**captions, "cartoon/pear": "A pear."}.items()):
        put(stamps / f"animals/{stem}.png", picture(150 + n))
        put(stamps / f"animals/{stem}.txt", f"{caption}\nde.utf8=Das ist {stem}.\nfr.utf8=\n")
    root = cache / PACKAGES["gnucash-docs"].folder / "usr/share/doc/gnucash-docs/guide-en"
    put(root / "index.html", '<a href="b.html">b</a><img src="figures/a%20b.png" alt="An account">')
    put(root / "b.html", "<p>b")
    put(root / "figures/a b.png", picture(1))
    (root / "out.png").symlink_to("/etc/hostname")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    make_emoji(folder)
    make_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def web(cache: Path) -> DemoWeb:
    return build(cached(cache).paths, CONFIG)


def site(web: DemoWeb, name: str) -> Site:
    return next(it for it in web.sites if it.name == name)


def test_concepts_are_what_every_hand_draws_alone(web: DemoWeb) -> None:
    assert sorted(it.name for it in web.concepts) == sorted(NAMES)  # no flag, llama, twin
    fox = web.concepts[0]
    assert (fox.key, fox.name, fox.other_names) == ("1f400", "fox", ("fox 0",))
    assert fox.keywords == ("fox word", "thing") and set(fox.drawings) == set(concepts.HANDS)


def test_names_stay_unique_without_keywords(cache: Path) -> None:
    paths = {name: path for name, path in cached(cache).paths.items() if name != "emojilib"}
    assert [it.name for it in concepts.emoji_concepts(paths)] == NAMES
    assert concepts.emoji_concepts({}) == []


def test_holding_depends_on_seed_and_key_alone(web: DemoWeb) -> None:
    held = concepts.held_keys(web.concepts, 0, 0.5)
    assert held == web.held and 0 < len(held) < len(NAMES)
    assert concepts.held_keys(web.concepts[::-2], 0, 0.5) <= held
    assert concepts.held_keys(web.concepts, 1, 0.5) != held
    assert concepts.held_keys(web.concepts, 0, 0.2) < held


def test_held_drawings_of_twitter_are_nowhere_on_the_web(web: DemoWeb) -> None:
    held = {it.drawings["twitter"].read_bytes() for it in web.concepts if it.key in web.held}
    served = {resource.read() for it in web.sites for resource in it.resources.values()}
    assert held and not held & served
    for concept in web.concepts:
        assert concept.drawings["google"].read_bytes() in served
        assert (concept.drawings["twitter"].read_bytes() in served) == (concept.key not in web.held)
        assert concept.drawings["fluent"].read_bytes() not in served


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("A Sumatran tiger.", "tiger"),
        ("color Tiger (B and W)", "tiger"),
        ("Dog 01 Drawn With Straight Lines", "dog"),
        ("A pair of closed scissors.", "scissors"),
        ("Owl on Branch", "owl"),
        ("polar bear", "polar bear"),
        ("Cake and tiger", None),
        ("Tiger Lily", None),
        ("one two three tiger", None),
        ("gramastar", None),
        ("", None),
    ],
)
def test_subject_of_a_title(title: str, shown: str | None) -> None:
    assert subject(title, {"tiger", "dog", "scissors", "owl", "bear", "polar bear"}) == shown


def test_variants_are_one_series() -> None:
    assert series("a/pie_apple_bw") == series("b/pie_apple") != series("b/pie_cherry")
    assert series("frog-1.png") == series("frog.png")
    assert series("01") == "01"


def test_styles_hold_out_and_withhold(web: DemoWeb) -> None:
    assert [style.name for style in web.styles] == ["fox", "key", "owl"]
    fox, test = web.styles[0], web.style_test
    assert len(fox.photographs) == 2 and len(fox.clip_art) == 3
    assert len(test.photographs["fox"]) == 1
    stems = {art.path.rpartition("_")[0] for art in test.clip_art["fox"]}
    assert len(stems) == 1  # one series of two
    assert [art.path for art in test.clip_art["owl"]] == ["food/owl"]  # its title is wrong
    tests = [
        it for group in (test.photographs, test.clip_art) for one in group.values() for it in one
    ]
    held = {it.file.read_bytes() for it in tests}
    served = {resource.read() for it in web.sites for resource in it.resources.values()}
    assert held and not held & served
    withheld = {path.name for path in test.withheld}
    assert "copy_of_key.png" in withheld  # the same bytes under another name
    assert ("alias.png" in withheld) == ("fox_jo_01.png" in withheld)


def test_a_web_is_the_same_each_time_and_follows_its_seed(cache: Path, web: DemoWeb) -> None:
    def content(other: DemoWeb) -> dict[str, bytes]:
        return {
            it.name + path: resource.read()
            for it in other.sites
            for path, resource in it.resources.items()
        }

    assert content(build(cached(cache).paths, CONFIG)) == content(web)
    assert content(build(cached(cache).paths, replace(CONFIG, seed=1))) != content(web)


def crawl(it: Site) -> tuple[set[str], dict[str, str]]:
    """Pages that robots.txt allows and links reach, and alt texts by image path."""
    rules = RobotFileParser()
    if "/robots.txt" in it.resources:
        rules.parse(it.resources["/robots.txt"].read().decode().splitlines())
    else:
        rules.allow_all = True
    ahead, pages, alts = ["/"], set[str](), dict[str, str]()
    while ahead:
        path = ahead.pop()
        resource = it.resources.get(path)
        if path in pages or resource is None or not rules.can_fetch("*", path):
            continue
        if resource.status == 302:
            continue
        pages.add(path)
        tree = LexborHTMLParser(resource.read())
        base = urljoin("http://h", path)
        ahead += [
            unquote(urlsplit(urljoin(base, a.attributes["href"] or "")).path) for a in tree.css("a")
        ]
        for node in tree.css("img"):
            url = unquote(urlsplit(urljoin(base, node.attributes["src"] or "")).path)
            alts[url] = node.attributes["alt"] or ""
    return pages, alts


def test_every_page_and_picture_can_be_reached(web: DemoWeb) -> None:
    broken = {"google": set(), "twitter": {"/old/a.png"}, "clipart": set(), "stamps": {"/gone.png"}}
    for it in web.sites:
        pages, alts = crawl(it)
        forbidden = ("/drafts/", "/print/", "/browse/unsorted/")
        expected = {p for p in it.paths("text/html") if not p.startswith(forbidden)}
        assert expected - pages <= {"/guide-en/"}, it.name  # a folder's second URL
        for path in broken.get(it.name, set()):
            assert path in alts
            alts.pop(path)
        assert all(it.resources[path].content_type.startswith("image/") for path in alts)
        shown = {
            p for p in it.paths("image/") if not p.startswith(("/drafts/", "/files/unsorted/"))
        }
        assert shown == set(alts), it.name


def test_sites_word_their_texts_differently(web: DemoWeb) -> None:
    fox = next(it for it in web.concepts if it.key not in web.held)
    google = site(web, "google").resources["/category/animals-things/"].read().decode()
    assert f'alt="{fox.name}"' in google
    assert f"<figcaption>{fox.name}: {fox.name} word, thing</figcaption>" in google
    _, alts = crawl(site(web, "twitter"))
    assert alts[f"/assets/72x72/{fox.key}.png"] in (fox.name, f"{fox.name}, {fox.name} word, thing")
    german = site(web, "stamps").resources["/de/animals/"].read().decode()
    assert '<html lang="de">' in german and 'alt="Das ist ' in german
    assert "/fr/animals/" not in site(web, "stamps").resources  # no caption in French


def test_oddities(web: DemoWeb) -> None:
    clip_art, stamps, twitter = (site(web, name) for name in ("clipart", "stamps", "twitter"))
    assert clip_art.resources["/files/logos/key_club.png"].headers == {"X-Robots-Tag": "noai"}
    assert twitter.resources["/ads/follow-us.jpg"].read().startswith(b"<!doctype html>")
    assert twitter.resources["/old/a.png"].headers["Location"] == "/old/b.png"
    assert twitter.resources["/old/b.png"].headers["Location"] == "/old/a.png"
    with (
        pytest.raises(OSError),
        Image.open(io.BytesIO(stamps.resources["/odd/torn.png"].read())) as it,
    ):
        it.load()
    with Image.open(io.BytesIO(huge_png(130))) as small:
        assert small.size == (130, 130) and small.getextrema() == (255, 255)
    assert len(clip_art.resources["/posters/sky.png"].read()) < 100_000
    assert "/guide-en/out.png" not in site(web, "gnucash").resources
    assert "/robots.txt" not in site(web, "gnucash").resources


def test_emoji_table(web: DemoWeb) -> None:
    table = testsets.emoji_table(web, size=16)
    assert table.schema.equals(LABELLED) and len(set(table["image_id"].to_pylist())) == 4 * len(
        NAMES
    )
    rows = table.to_pylist()
    groups = {row["group"] for row in rows}
    assert groups == {"google", "twitter-held", "twitter-known", "openmoji", "fluent"}
    held = testsets.held_labels(web)
    assert [row["label"] for row in rows if row["group"] == "twitter-held"] == held
    for row in rows:
        assert web.concepts[row["label"]].name == row["class_name"]
        with Image.open(io.BytesIO(row["image"])) as drawn:
            assert drawn.format == "PNG"
            assert drawn.size == ((16, 16) if row["group"] in ("openmoji", "fluent") else (8, 6))
    fluent = next(row for row in rows if row["group"] == "fluent")
    with Image.open(io.BytesIO(fluent["image"])) as drawn:
        assert drawn.mode == "RGBA" and 195 <= drawn.getpixel((3, 3))[3] <= 205


def test_style_table(web: DemoWeb) -> None:
    rows = testsets.style_table(web).to_pylist()
    for group in ("photo", "clipart", "emoji"):
        assert {row["class_name"] for row in rows if row["group"] == group} == {"fox", "key", "owl"}
    assert all(web.styles[row["label"]].name == row["class_name"] for row in rows)


def test_missing_packages_leave_their_sites_out(cache: Path) -> None:
    assert build({}, CONFIG).sites == ()
    assert testsets.emoji_table(build({}, CONFIG)).num_rows == 0
    paths = cached(cache).paths
    some = {name: paths[name] for name in paths if "twitter" not in name and "svg" not in name}
    less = build(some, CONFIG)
    assert [it.name for it in less.sites] == ["google", "clipart", "stamps", "gnucash"]
    assert not any("twitter" in it.drawings for it in less.concepts) and not less.styles


# The server


@pytest.fixture
def config() -> Iterator[DemoWebConfig]:
    """A configuration whose ports are free at the moment."""
    for first in range(20_000 + os.getpid() % 20_000, 65_000, 20):
        with socket.socket() as one, socket.socket() as last:
            try:
                one.bind(("127.0.0.1", first))
                last.bind(("127.0.0.1", first + len(SITE_ORDER) - 1))
            except OSError:
                continue
        yield replace(CONFIG, first_port=first)
        return


def get(url: str) -> tuple[bytes, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read(), answer.headers["Content-Type"]


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_serve(cache: Path, config: DemoWebConfig, web: DemoWeb) -> None:
    with serve.serve(config, cache) as served:
        assert list(served.sites) == [it.name for it in web.sites]
        assert served.seeds == list(served.sites.values())
        assert served.sites["gnucash"] == f"http://127.0.0.1:{config.first_port + 5}/"
        assert served.counts["gnucash"] == {"pages": 4, "images": 1}
        for it in web.sites:
            assert get(served.sites[it.name])[0] == it.resources["/"].read()
        front = served.sites["gnucash"]
        assert get(f"{front}guide-en/figures/a%20b.png?again")[1] == "image/png"
        with pytest.raises(HTTPError, match="404"):
            get(f"{front}nothing")
        started = time.monotonic()
        assert get(f"{served.sites['stamps']}en/news/")[0].endswith(b"</html>\n")
        assert time.monotonic() - started > 0.1
    with pytest.raises(ProcessLookupError):
        os.kill(served.pid, 0)


def test_the_server_dies_with_a_killed_parent(cache: Path, config: DemoWebConfig) -> None:
    script = (
        "import sys, time; from pathlib import Path; from workflows.demo_web import serve, web\n"
        f"config = web.DemoWebConfig(first_port={config.first_port})\n"
        f"with serve.serve(config, Path({str(cache)!r})) "
        "as served:\n    print(served.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=serve._CHECKOUT
    ) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) and listens(config.first_port)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and listens(config.first_port):
        time.sleep(0.05)
    assert not listens(config.first_port)


def test_a_taken_port_is_named(config: DemoWebConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_PORT_SECONDS", 0.2)

    async def listen() -> None:
        async with AsyncExitStack() as stack:
            await serve._listen(Site("google", "", {}), config, stack)

    with socket.socket() as other:
        other.bind(("127.0.0.1", config.first_port))
        other.listen()
        with pytest.raises(serve.ServeError, match=rf"127.0.0.1:{config.first_port} .*first_port"):
            asyncio.run(listen())


def test_methods_and_slow_bodies() -> None:
    import aiohttp
    from aiohttp import test_utils

    body = bytes(range(200))
    resources = {
        "/slow": Resource(body, "image/png", drip_seconds=0.3),
        "/": Resource(b"x", "text/plain", headers={"X-Robots-Tag": "noai"}),
        "/robots.txt": text("User-agent: *\n"),
    }

    async def ask() -> None:
        server = test_utils.RawTestServer(serve.handler(Site("s", "", resources)))
        async with server, aiohttp.ClientSession() as session:
            async with session.get(server.make_url("/slow")) as answer:
                assert await answer.read() == body
            async with session.head(server.make_url("/?a=b")) as answer:
                assert answer.headers["X-Robots-Tag"] == "noai" and await answer.read() == b""
                assert answer.headers["Content-Length"] == "1"
            async with session.post(server.make_url("/")) as answer:
                assert answer.status == 405

    asyncio.run(ask())
