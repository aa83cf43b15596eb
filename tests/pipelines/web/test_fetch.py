"""Targets to pictures: every failure is a row; a kill costs no row and doubles none."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import datasets, stages
from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.records import FETCHED, TARGETS, record_id
from pipelines.web import fetch
from pipelines.web.client import ClientConfig
from pipelines.web.fetch import Fetch, FetchConfig, write_fetched

CONFIG = FetchConfig(
    client=ClientConfig(allow_private=True, backoff_seconds=0.01, total_seconds=5.0),
    batch_rows=8,
    shard_rows=16,
)


def jpeg(seed: int, side: int = 96) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def huge_png() -> bytes:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (20_000).to_bytes(4, "big") * 2
    return header + b"\x08\0\0\0\0" + bytes(40)


class Images(BaseHTTPRequestHandler):
    """Answers out of `pages`, and any /<number>.jpg; `seen` counts requests."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[str]] = Counter()
    delay = 0.0
    pages: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        Images.seen[self.path] += 1
        stem = self.path.strip("/").removesuffix(".jpg")
        body = Images.pages.get(self.path) or (jpeg(int(stem)) if stem.isdigit() else None)
        time.sleep(Images.delay if stem.isdigit() else 0)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    Images.seen, Images.delay = Counter(), 0.0
    Images.pages = {
        "/html.jpg": b"<!DOCTYPE html><html>no picture here</html>",
        "/torn.jpg": jpeg(1)[:700],
        "/huge.png": huge_png(),
        "/dot.jpg": jpeg(1, side=8),
        "/robots.txt": b"User-agent: *\nDisallow: /secret\n",
        "/secret.jpg": jpeg(1),
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def table(urls: list[str]) -> pa.Table:
    text = {
        "pair_id": "p",
        "text": "a picture",
        "source": "alt",
        "page_url": "http://p/",
        "language": "en",
        "queries": ["picture"],
    }
    columns = {"image_id": [record_id(url) for url in urls], "image_url": urls}
    return pa.table({**columns, "texts": [[text]] * len(urls)}, schema=TARGETS)


def targets(folder: Path, urls: list[str]) -> Dataset:
    def write(path: str) -> dict[str, int]:
        datasets.write_shard(f"{path}/a.parquet", table(urls))
        return {}

    return datasets.build(
        str(folder / "targets"), name="targets", config={}, seed=0, parents=[], write=write
    )


def build(folder: Path, parent: Dataset) -> Dataset:
    return datasets.build(
        str(folder / "fetched"),
        name="fetched",
        config=CONFIG,
        seed=0,
        parents=[parent],
        write=lambda path: write_fetched(parent, path, CONFIG, Engines()),
    )


def test_batch_callable_gives_a_row_for_a_row(site: str) -> None:
    paths = [
        "1.jpg",
        "html.jpg",
        "torn.jpg",
        "huge.png",
        "dot.jpg",
        "gone.jpg",
        "secret.jpg",
        "2.jpg",
    ]
    urls = [f"{site}/{path}" for path in paths] + ["http://169.254.169.254/x", "no url"]
    worker = Fetch(CONFIG)
    found, again = worker(table(urls)), worker(table(urls))
    worker.close()
    assert found.schema == FETCHED
    assert found.equals(again)
    assert found.column("image_url").to_pylist() == urls
    assert found.column("texts").to_pylist() == table(urls).column("texts").to_pylist()
    rows = found.to_pylist()
    assert [row["status"] for row in rows] == [
        "ok",
        "not_an_image",
        "undecodable",
        "too_many_pixels",
        "too_small",
        "http_404",
        "robots",
        "ok",
        "address_link_local",
        "url_malformed",
    ]
    for row in rows:
        ok = row["status"] == "ok"
        for name in FETCHED.names[FETCHED.names.index("image") :]:
            assert (row[name] is not None) == ok, name
    assert rows[0]["sha256"] != rows[7]["sha256"]


def test_large_bodies_are_decoded_in_the_pool(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [f"{site}/{n}.jpg" for n in range(5)]
    worker = Fetch(CONFIG)
    inline = worker(table(urls))
    monkeypatch.setattr(fetch, "INLINE_BYTES", 0)
    assert worker(table(urls)).equals(inline)
    worker.close()


def test_through_ray(site: str, tmp_path: Path, ray_session: None) -> None:
    paths = [f"{n}.jpg" for n in range(40)] + ["html.jpg", "gone.jpg", "gone2.jpg"]
    parent = targets(tmp_path, [f"{site}/{path}" for path in paths])
    whole = build(tmp_path, parent)
    assert whole.manifest.rows == 43
    assert whole.manifest.dropped == {"http_404": 2, "not_an_image": 1}
    assert len(whole.shards) >= 2
    expected = Fetch(CONFIG)(table([f"{site}/{path}" for path in paths]))
    assert whole.table().sort_by("image_id").equals(expected.sort_by("image_id"))

    os.remove(tmp_path / "fetched/manifest.json")  # as if killed before the manifest
    Images.seen.clear()
    assert build(tmp_path, parent).manifest.content_hash == whole.manifest.content_hash
    assert not Images.seen


def start_child(parent: Dataset, folder: Path) -> subprocess.Popen[bytes]:
    """A driver of its own, with a Ray of its own, that writes into `folder`."""
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('child', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['child'] = module\n"
        "spec.loader.exec_module(module)\n"
        f"parent = module.datasets.open_dataset({parent.path!r})\n"
        f"module.write_fetched(parent, {str(folder)!r}, module.CONFIG, module.Engines())\n"
    )
    root = str(Path(fetch.__file__).parents[2])
    return subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL)


def finished(folder: Path) -> list[str]:
    """Ids in whole shards of all runs."""
    ids: list[str] = []
    for path in folder.glob("_run-*/*.parquet"):
        try:
            ids += pq.read_table(path, columns=["image_id"]).column(0).to_pylist()
        except pa.ArrowInvalid:
            continue
    return ids


def test_kill_nine_of_the_driver(site: str, tmp_path: Path, ray_session: None) -> None:
    urls = [f"{site}/{n}.jpg" for n in range(160)]
    parent, folder = targets(tmp_path, urls), tmp_path / "killed"
    folder.mkdir()
    Images.delay = 0.1
    child = start_child(parent, folder)
    deadline = time.monotonic() + 120
    while not finished(folder) and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    Images.delay = 0.0
    done = set(finished(folder))
    assert 0 < len(done) < len(urls), "the kill came too early or too late to show anything"
    again = [url for url in urls if record_id(url) in done]
    time.sleep(0.3)  # what was on its way arrives
    Images.seen.clear()

    run = next(folder.glob("_run-*"))
    (run / "torn.parquet").write_bytes(next(run.glob("*.parquet")).read_bytes()[:-100])
    assert write_fetched(parent, str(folder), CONFIG, Engines()) == {}
    assert not {f"{site}{path}" for path in Images.seen} & set(again), "finished shards were redone"
    assert not list(folder.glob("_run-*"))
    rows = pa.concat_tables(pq.read_table(path) for path in folder.glob("*.parquet"))
    assert sorted(rows.column("image_id").to_pylist()) == sorted(map(record_id, urls))
    expected = Fetch(CONFIG)(table(urls)).sort_by("image_id")
    assert rows.sort_by("image_id").cast(FETCHED).equals(expected)


def test_rows_are_never_lost_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = targets(tmp_path, ["http://a/1.jpg"])
    monkeypatch.setattr(stages, "_run", lambda *_: None)
    monkeypatch.setattr(stages, "ray_session", lambda _: contextlib.nullcontext())
    with pytest.raises(RuntimeError, match="holds 0 rows for 1"):
        write_fetched(parent, str(tmp_path / "x"), CONFIG, Engines())


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    parent = targets(tmp_path, ["http://a/1.jpg"])
    monkeypatch.setattr(stages, "_run", full)
    monkeypatch.setattr(stages, "ray_session", lambda _: contextlib.nullcontext())
    with pytest.raises(OSError, match=f"cannot write {tmp_path}/x.*No space left") as raised:
        write_fetched(parent, str(tmp_path / "x"), CONFIG, Engines())
    assert raised.value.errno == errno.ENOSPC
