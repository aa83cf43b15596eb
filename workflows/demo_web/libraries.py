"""Two libraries of single pictures as their packages bring them: clip art, and picture stamps.

Clip art (openclipart): PNG files; title, keywords and description stand in the RDF metadata of
the SVG file of the same name. 8,121 names, of which 1,221 are links to another: true duplicates
under other names. Stamps (Tux Paint): PNG and SVG files, each with a .txt: an English sentence on
the first line and then "language.utf8=sentence" in up to 77 languages.
"""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClipArt:
    """One PNG file of the clip-art library."""

    path: str  # below the library, no suffix: animals/bugs/fly_01
    file: Path
    title: str  # as its author wrote it, often generic; may be empty
    keywords: tuple[str, ...]
    description: str  # mostly empty

    @property
    def folder(self) -> str:
        """The folder that lists it, such as animals/bugs."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True)
class Stamp:
    """One picture of the stamp library."""

    path: str  # below the library, with suffix: animals/birds/crow.png
    file: Path
    captions: Mapping[str, str]  # by language, en first: {"en": "A crow.", "de": "Eine Krähe."}

    @property
    def topic(self) -> str:
        """The first folder, such as animals."""
        return self.path.partition("/")[0]


def read_clip_art(packages: Mapping[str, Path], max_pixels: int) -> list[ClipArt]:
    """Every PNG of at most `max_pixels`, sorted by path; untitled without the SVG package."""
    if "openclipart-png" not in packages:
        return []
    pictures = packages["openclipart-png"] / "usr/share/openclipart/png"
    drawings = packages.get("openclipart-svg", Path("/nowhere")) / "usr/share/openclipart/svg"
    found = []
    for file in sorted(pictures.rglob("*.png")):
        width, height = png_size(file)
        if width * height <= max_pixels:
            path = file.relative_to(pictures).with_suffix("").as_posix()
            found.append(ClipArt(path, file, *_metadata(drawings / f"{path}.svg")))
    return found


def read_stamps(packages: Mapping[str, Path]) -> list[Stamp]:
    """Every stamp that has a caption, sorted by path."""
    if "tuxpaint-stamps-default" not in packages:
        return []
    root = packages["tuxpaint-stamps-default"] / "usr/share/tuxpaint/stamps"
    found = []
    for text in sorted(root.rglob("*.txt")):
        captions = parse_captions(text.read_text(encoding="utf-8", errors="replace"))
        for file in (text.with_suffix(".png"), text.with_suffix(".svg")):
            if captions and file.exists():
                found.append(Stamp(file.relative_to(root).as_posix(), file, captions))
    return found


def parse_captions(text: str) -> dict[str, str]:
    """Captions by language of a stamp's .txt: "A fly.\\nde.utf8=Eine Fliege." has en and de."""
    first, *rest = text.split("\n")
    captions = {"en": first.strip()} if first.strip() else {}
    for line in rest:
        language, mark, caption = line.partition(".utf8=")
        if mark and caption.strip():
            captions[language] = caption.strip()
    return captions


def png_size(file: Path) -> tuple[int, int]:
    """Width and height that a PNG file's header declares; (0, 0) if it is none."""
    with file.open("rb") as stream:
        header = stream.read(24)
    if len(header) < 24 or header[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack(">II", header[16:])
    return width, height


_WORK = re.compile(r"<(?:cc:)?Work\b.*?</(?:cc:)?Work>", re.DOTALL)
_FIELD = {
    name: re.compile(rf"<dc:{name}\b[^>]*>(.*?)</dc:{name}>", re.DOTALL)
    for name in ("title", "description", "subject")
}
_ITEM = re.compile(r"<rdf:li\b[^>]*>(.*?)</rdf:li>", re.DOTALL)


def _metadata(drawing: Path) -> tuple[str, tuple[str, ...], str]:
    """Title, keywords and description of an SVG file; empty where it says nothing.

    Read by pattern, not by an XML parser: only the head of each file is unpacked, and the three
    fields are written alike in all 8,121.
    """
    if not drawing.exists():
        return "", (), ""
    work = _WORK.search(drawing.read_bytes().decode("utf-8", errors="replace"))
    if work is None:
        return "", (), ""
    title, description, subject = (
        match.group(1) if (match := _FIELD[name].search(work.group())) else ""
        for name in ("title", "description", "subject")
    )
    keywords = (_plain(item) for item in _ITEM.findall(subject))
    return _plain(title), tuple(dict.fromkeys(filter(None, keywords))), _plain(description)


def _plain(markup: str) -> str:
    return " ".join(html.unescape(markup).split())
