"""Fetch, decode, resize, hash, write: ours against img2dataset 1.47.0, on one local server.

Both read the same Parquet list of URLs and write pictures of 256 pixels on the shorter side, JPEG
quality 95, with the sha256 of the bytes as fetched. Ours also checks addresses and robots.txt and
computes a perceptual hash and a thumbnail; img2dataset runs in an environment of its own
(.cache/img2dataset) at its best setting for two cores, 2 processes of 32 threads. 2,000 photo-like
512 x 512 JPEGs of quality 88 are served from memory by a process of its own; rounds are
interleaved, so that what else the machine does hits both.

Measured the same way for both: the window from the first request that the server sees to the last
file that is written, and the CPU seconds of the whole process tree in that window; then the same
for the whole run, start-up of Ray and of the imports included. `--delay` makes the server wait
before it answers.

    python benchmarks/fetch.py --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PEER = ROOT / ".cache" / "img2dataset"
SIDE, QUALITY, IMAGES = 512, 88, 2000


@dataclass(frozen=True)
class Run:
    """Figures of one run."""

    images_a_second: float
    cpu_an_image: float
    """CPU seconds, in the window from the first request to the last file."""
    whole_images_a_second: float
    whole_cpu_an_image: float


def photos(count: int) -> list[bytes]:
    """Photo-like JPEGs: crops of fields with a 1/f spectrum, turned, with sensor noise."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    fields = [_field(rng, 1536) for _ in range(8)]
    made = []
    for index in range(count):
        top, left = rng.integers(0, 1536 - SIDE, 2)
        crop = fields[index % 8][top : top + SIDE, left : left + SIDE]
        noise = rng.integers(-12, 13, (SIDE, SIDE, 1), dtype=np.int16)
        picture = np.clip(crop * rng.uniform(0.6, 1.2, 3) + noise, 0, 255).astype(np.uint8)
        made.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    return made


def _field(rng: Any, side: int) -> Any:
    import cv2
    import numpy as np

    total = np.zeros((side, side, 3), np.float32)
    for octave in range(2, 10):
        layer = rng.normal(size=(2**octave, 2**octave, 3)).astype(np.float32)
        total += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    total -= total.min()
    return total * (255 / total.max())


class Server(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, from memory; remembers when the first image was asked for."""

    answers: ClassVar[list[tuple[bytes, bytes]]] = []
    delay = 0.0
    first = 0.0
    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with nothing received."""
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request, after the delay if there is one."""
        self.pending += data
        while b"\r\n\r\n" in self.pending:
            request, _, self.pending = self.pending.partition(b"\r\n\r\n")
            if Server.delay and b"/image/" in request:
                asyncio.get_running_loop().call_later(Server.delay, self.answer, request)
            else:
                self.answer(request)

    def answer(self, request: bytes) -> None:
        """An image, the statistics since they were last asked for, or 404."""
        path = request.split(b" ", 2)[1]
        close = b"connection: close" in request.lower()
        if path.startswith(b"/image/"):
            Server.first = Server.first or time.time()
            Server.served += 1
            head, body = self.answers[int(path[7:].split(b"?")[0]) % len(self.answers)]
        elif path == b"/stats":
            body = json.dumps({"first": Server.first, "served": Server.served}).encode()
            Server.first, Server.served = 0.0, 0
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body)
        else:
            head, body = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", b""
        self.transport.write(head + (b"Connection: close\r\n\r\n" if close else b"\r\n") + body)
        if close:
            self.transport.close()


async def serve(delay: float) -> None:
    """Print the port, then serve for ever."""
    Server.delay = delay
    Server.answers = [
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n" % len(body), body)
        for body in photos(IMAGES)
    ]
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=512)
    mean = sum(len(body) for _, body in Server.answers) / IMAGES
    print(server.sockets[0].getsockname()[1], f"{mean:.0f}", flush=True)
    await server.serve_forever()


@contextmanager
def served(delay: float) -> Iterator[int]:
    """The port of a server in a process of its own."""
    command = [sys.executable, __file__, "--serve", "--delay", str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port, mean = process.stdout.readline().split()
        print(f"{IMAGES} JPEGs of {SIDE} x {SIDE}, {mean} bytes on average", flush=True)
        yield int(port)
    finally:
        process.kill()


def write_urls(path: Path, port: int, count: int) -> None:
    """A Parquet list for the peer (url, caption), and our targets of the same URLs beside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines import datasets
    from pipelines.records import TARGETS, record_id

    urls = [f"http://127.0.0.1:{port}/image/{i % IMAGES}?n={i}" for i in range(count)]
    pq.write_table(pa.table({"url": urls, "caption": urls}), path / "urls.parquet")
    ids = [record_id(url) for url in urls]
    rows = pa.table({"image_id": ids, "image_url": urls, "texts": [[]] * count}, schema=TARGETS)

    def write(folder: str) -> dict[str, int]:
        datasets.write_shard(f"{folder}/shard.parquet", rows)
        return {}

    shutil.rmtree(path / "targets", ignore_errors=True)
    datasets.build(
        str(path / "targets"), name="targets", config={}, seed=0, parents=[], write=write
    )


def ours(work: str, scaled: bool) -> None:
    """One run of ours, in this process."""
    from pipelines import datasets
    from pipelines.engines import Engines
    from pipelines.web.client import ClientConfig
    from pipelines.web.fetch import FetchConfig, write_fetched
    from pipelines.web.images import ImageConfig

    config = FetchConfig(
        client=ClientConfig(per_worker=32, per_host=32, allow_private=True),
        image=ImageConfig(scaled_decode=scaled),
    )
    targets = datasets.open_dataset(f"{work}/targets")
    drops = write_fetched(targets, f"{work}/out", config, Engines())
    assert not drops, drops


def peer_command(work: str) -> list[str]:
    """img2dataset at its best setting."""
    flags = {
        "url_list": f"{work}/urls.parquet",
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "caption",
        "output_folder": f"{work}/out",
        "output_format": "webdataset",
        "image_size": "256",
        "resize_mode": "keep_ratio",
        "resize_only_if_bigger": "True",
        "encode_quality": "95",
        "processes_count": "2",
        "thread_count": "32",
        "number_sample_per_shard": "1000",
        "enable_wandb": "False",
    }
    return [str(PEER / "bin" / "img2dataset"), *(f"--{k}={v}" for k, v in flags.items())]


def make_peer() -> None:
    """img2dataset in an environment of its own, made once."""
    if not (PEER / "bin" / "img2dataset").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        pip = [str(PEER / "bin" / "pip"), "install", "--quiet", "img2dataset==1.47.0"]
        subprocess.run(pip, check=True)


class TreeClock(threading.Thread):
    """CPU seconds of a process and all its descendants, dead ones included, every 50 ms."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.stopped = pid, threading.Event()
        self.used: dict[int, float] = {}
        self.samples: list[tuple[float, float]] = []

    def run(self) -> None:
        """Sample until stopped."""
        import psutil

        root = psutil.Process(self.pid)
        while not self.stopped.wait(0.05):
            try:
                family = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in family:
                try:
                    times = process.cpu_times()
                    self.used[process.pid] = times.user + times.system
                except psutil.NoSuchProcess:
                    pass
            self.samples.append((time.time(), sum(self.used.values())))

    def at(self, moment: float) -> float:
        """CPU seconds used until `moment`, interpolated."""
        import numpy as np

        moments, used = zip(*self.samples, strict=True)
        return float(np.interp(moment, moments, used))


def measure(command: list[str], work: Path, port: int, count: int) -> Run:
    """Run `command` once and read the clocks."""
    shutil.rmtree(work / "out", ignore_errors=True)
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "no_proxy": "127.0.0.1"}
    _stats(port)
    started = time.time()
    with open(work / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        clock = TreeClock(process.pid)
        clock.start()
        code = process.wait()
    ended = time.time()
    clock.stopped.set()
    clock.join()
    stats = _stats(port)
    if code != 0 or stats["served"] < count:
        raise RuntimeError(
            f"{command[:3]}: exit {code}, {stats}\n{(work / 'log').read_text()[-3000:]}"
        )
    last = max(
        f.stat().st_mtime for f in (work / "out").rglob("*") if f.suffix in (".parquet", ".tar")
    )
    window = last - stats["first"]
    used = clock.at(last) - clock.at(stats["first"])
    whole = clock.samples[-1][1]
    return Run(count / window, used / count, count / (ended - started), whole / count)


def _stats(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as answer:
        found: dict[str, float] = json.load(answer)
    return found


def quality(count: int = 100) -> tuple[float, float, bool]:
    """PSNR against the exact pixels of (our scaled decode, OpenCV's), dB, and whether exact is
    exact.
    """
    import cv2
    import numpy as np

    from pipelines.web import images

    def psnr(a: Any, b: Any) -> float:
        return 10 * math.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))

    scaled, reduced, exact = [], [], True
    for data in photos(count):
        target = (256, 256)
        raw = np.frombuffer(data, np.uint8)
        true = cv2.resize(cv2.imdecode(raw, cv2.IMREAD_COLOR), target, interpolation=cv2.INTER_AREA)
        found = images.resized(images.decode(data, "jpeg"), target)
        exact = exact and bool((found == true).all())
        scaled.append(psnr(images.resized(images.decode(data, "jpeg", target), target), true))
        reduced.append(psnr(cv2.imdecode(raw, cv2.IMREAD_REDUCED_COLOR_2), true))
    return statistics.mean(scaled), statistics.mean(reduced), exact


def compare(rounds: int, count: int, delay: float) -> None:
    """Interleaved rounds, then a line a comparison."""
    make_peer()
    runs: dict[str, list[Run]] = {"ours": [], "peer": [], "scaled": []}
    with tempfile.TemporaryDirectory() as folder, served(delay) as port:
        work = Path(folder)
        write_urls(work, port, count)
        me = [sys.executable, __file__, "--work", folder]
        commands = {
            "ours": [*me, "--run", "exact"],
            "peer": peer_command(folder),
            "scaled": [*me, "--run", "scaled"],
        }
        for number in range(rounds):
            for name, command in commands.items():
                run = measure(command, work, port, count)
                runs[name].append(run)
                load = os.getloadavg()[0]
                print(f"round {number} {name:7} {run} load {load:.1f}", flush=True)
    report(runs)


def report(runs: dict[str, list[Run]]) -> None:
    """Medians over rounds, a JSON line a comparison; ratio over 1: ours is better."""

    def median(name: str, figure: Callable[[Run], float]) -> float:
        return statistics.median(figure(run) for run in runs[name])

    def line(name: str, ours: float, peer: float, ratio: float, unit: str, goal: float) -> None:
        figures = {"name": name, "ours": round(float(ours), 6), "peer": round(float(peer), 6)}
        print(
            json.dumps(
                {
                    **figures,
                    "ratio": round(float(ratio), 3),
                    "unit": unit,
                    "ok": bool(ratio >= goal),
                }
            )
        )

    for mode, name in (("ours", "fetch"), ("scaled", "fetch, scaled decode")):
        for label, rate, cpu in (
            ("", lambda r: r.images_a_second, lambda r: r.cpu_an_image),
            (", whole run", lambda r: r.whole_images_a_second, lambda r: r.whole_cpu_an_image),
        ):
            a, b = median(mode, rate), median("peer", rate)
            line(name + label, a, b, a / b, "images/s", 1.0 if label else 1.3)
            a, b = median(mode, cpu), median("peer", cpu)
            line(name + label, a, b, b / a, "CPU seconds/image", 1.0 if label else 1 / 0.75)
    scaled, reduced, exact = quality()
    line("exact pixels equal OpenCV's", float(exact), 1.0, float(exact), "share", 1.0)
    line("scaled decode, PSNR beside OpenCV's", scaled, reduced, scaled / reduced, "dB", 1.0)


def main() -> None:
    """Compare, or play one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--urls", type=int, default=10_000)
    parser.add_argument(
        "--delay", type=float, default=0.0, help="seconds before the server answers"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", choices=["exact", "scaled"], help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.delay))
    elif options.run:
        ours(options.work, scaled=options.run == "scaled")
    else:
        compare(options.rounds, options.urls, options.delay)


if __name__ == "__main__":
    main()
