"""Every recipe of the command line, one after the other, on a small web served on loopback."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipelines.datasets import open_dataset
from workflows import cli

WORDS = ("red cat", "blue dog", "green bird", "white horse", "black sheep", "grey mouse")


def picture(number: int) -> bytes:
    from PIL import Image

    noise = np.random.default_rng(number).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((96, 80), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


class Site(BaseHTTPRequestHandler):
    """A front page, twelve pages with a picture each, and the pictures."""

    def do_GET(self) -> None:
        name = self.path.strip("/")
        if self.path == "/":
            self.answer("".join(f'<a href="/page{i}">{i}</a>' for i in range(12)).encode())
        elif name.startswith("page"):
            number = int(name[4:])
            text = f"a {WORDS[number % 6]} number {number}"
            self.answer(f'<html lang="en"><img src="/{number}.jpg" alt="{text}">'.encode())
        elif name.endswith(".jpg"):
            self.answer(picture(int(name[:-4])), "image/jpeg")
        else:
            self.send_error(404)

    def answer(self, body: bytes, kind: str = "text/html; charset=utf-8") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def sightmill(recipe: str, *arguments: str) -> int:
    module, config, _ = cli.RECIPES[recipe]
    imported = __import__(module, fromlist=[config])
    return cli.run(f"sightmill {recipe}", getattr(imported, config), list(arguments))


def test_every_recipe_in_turn(
    site: str, tmp_path: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    crawl, corpus, tars = (str(tmp_path / name) for name in ("crawl", "corpus", "tars"))
    loopback = ("--crawl.allow-private", "--crawl.delay-s", "0")
    assert sightmill("crawl", "--crawl.seeds", site, "--out", crawl, *loopback) == 0

    queries = tmp_path / "queries.txt"
    queries.write_text("cat\ndog\nbird\nred cat\nunicorn\n")
    wit = ("--warc", f"{crawl}/*.warc.gz", "--queries", str(queries), "--per-query", "1")
    wit += ("--out", corpus, "--image-size", "64")
    assert sightmill("wit", *wit, "--allow-private") == 0
    pairs = open_dataset(f"{corpus}/pairs")
    kept = pairs.table(["queries"]).column(0).to_pylist()
    assert sorted(q for found in kept for q in found) == ["bird", "cat", "dog", "red cat"]
    samples = open_dataset(f"{corpus}/samples")
    assert 3 <= samples.manifest.rows <= 4 and samples.manifest.dropped == {}
    assert min(samples.table(["width", "height"]).to_pylist()[0].values()) == 64
    before = samples.manifest.content_hash
    assert sightmill("wit", *wit, "--allow-private") == 0
    assert open_dataset(f"{corpus}/samples").manifest.content_hash == before

    folders = [f"{corpus}/{name}" for name in ("candidates", "matches", "pairs", "samples")]
    assert sightmill("verify", *folders) == 0
    assert sightmill("show", f"{corpus}/samples", "--rows", "1") == 0
    assert sightmill("export", f"{corpus}/samples", "--out", tars) == 0
    capsys.readouterr()
    assert sightmill("trace", f"{corpus}/samples") == 0
    traced = capsys.readouterr().out
    assert "candidates" in traced and "queries" in traced and "127.0.0.1" in traced

    Path(folders[0], "00000.parquet").write_bytes(b"torn")
    assert sightmill("verify", folders[0]) == 1


def test_private_addresses_are_refused_unless_allowed(
    site: str, tmp_path: Path, ray_session: None
) -> None:
    crawl = str(tmp_path / "crawl")
    loopback = ("--crawl.allow-private", "--crawl.delay-s", "0")
    assert sightmill("crawl", "--crawl.seeds", site, "--out", crawl, *loopback) == 0
    (tmp_path / "queries.txt").write_text("cat\n")
    arguments = ("--warc", f"{crawl}/*.warc.gz", "--queries", str(tmp_path / "queries.txt"))
    assert sightmill("wit", *arguments, "--out", str(tmp_path / "corpus")) == 0
    samples = open_dataset(str(tmp_path / "corpus" / "samples")).manifest
    assert samples.rows == 0 and set(samples.dropped) == {"address_loopback"}


def test_the_query_list_recipe(tmp_path: Path) -> None:
    rows = [{"title": "Saint Bernard", "text": "st bernard dog " * 120}]
    (tmp_path / "wiki.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ("--queries.corpus", str(tmp_path / "wiki.jsonl"), "--out", str(tmp_path / "list"))
    assert sightmill("queries", *arguments) == 0
    found = open_dataset(str(tmp_path / "list")).table().to_pylist()
    assert {row["query"]: row["source"] for row in found}["saint bernard"] == "title"
    assert {"dog", "bernard"} <= {row["query"] for row in found if row["source"] == "unigram"}


def test_a_users_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sightmill("show", str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert "has no manifest.json" in error and "Traceback" not in error
    wit = ("--warc", f"{tmp_path}/none/*.gz", "--queries", "q", "--out", str(tmp_path / "o"))
    assert sightmill("wit", *wit) == 1
    assert "no file matches" in capsys.readouterr().err
