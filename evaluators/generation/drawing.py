"""Pictures that a model drew for prompts, or that lie in a folder, as `labelled` datasets.

Prompts are captions of real pictures, one a picture, those of the least hash. A model draws them in
batches of one size and order, so that a rerun after a kill, which goes on with the next batch,
draws the same. A folder of pictures from elsewhere brings each prompt in `metadata.jsonl`
({"file_name", "text"}, as Hugging Face's imagefolder has it) or in a text file beside the picture.
A prompt whose picture is missing or broken stays a row.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evaluators.suites.labelled import Picture, build_labelled, labelled_table
from evaluators.suites.layouts import PICTURES
from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.pictures import flaw
from pipelines.records import uniform
from pipelines.storage import listed

DRAWN = "drawn"
METADATA = "metadata.jsonl"


class Drawer(Protocol):
    """Anything that draws."""

    def draw(self, prompts: Sequence[str], seed: int) -> list[bytes]:
        """An encoded picture to each prompt, empty where there is none."""


@dataclass(frozen=True)
class Painter:
    """A model under test that draws."""

    name: str
    load: Callable[[], Drawer]
    made_from: tuple[Dataset, ...] = ()
    settings: object = None
    """What else its pictures depend on, as JSON values."""


def prompts_of(real: Dataset, group: str, most: int) -> list[tuple[str, str]]:
    """(key, caption) of at most `most` pictures of a `labelled` set, 0: all; equal bytes are one
    picture, of whose captions the one of the least hash stands for it.
    """
    best: dict[str, tuple[float, str, str]] = {}
    for batch in real.batches(["image_id", "image", "class_name", "group"]):
        for row in batch.to_pylist():
            if row["group"] == group and not flaw(row["image"]):
                content = hashlib.blake2b(row["image"], digest_size=16).hexdigest()
                one = (uniform(0, "prompt", row["image_id"]), row["image_id"], row["class_name"])
                best[content] = min(best.get(content, one), one)
    chosen = sorted(best.values())
    return [(key, text) for _, key, text in (chosen[:most] if most else chosen)]


def drawn(
    painter: Painter, prompts: Sequence[tuple[str, str]], real: Dataset, out: str, batch: int
) -> Dataset:
    """The painter's pictures, a shard a batch."""
    texts = {text: label for label, text in enumerate(dict.fromkeys(t for _, t in prompts))}

    def write(folder: str) -> Mapping[str, int]:
        standing = set(listed(folder))
        drawer: Drawer | None = None
        for number, start in enumerate(range(0, len(prompts), batch)):
            name = f"{number:05d}.parquet"
            if name in standing:
                continue
            drawer = drawer or painter.load()
            part = prompts[start : start + batch]
            images = drawer.draw([text for _, text in part], number)
            pictures = [
                Picture(key, image, text, DRAWN)
                for (key, text), image in zip(part, images, strict=True)
            ]
            table = labelled_table(pictures, texts)
            datasets.write_shard(posixpath.join(folder, name), table)
        return {}

    config: dict[str, Any] = {"model": painter.name, "settings": painter.settings, "batch": batch}
    return datasets.build(
        out,
        name="labelled",
        config={**config, "prompts": [list(one) for one in prompts]},
        seed=0,
        parents=[*painter.made_from, real],
        write=write,
    )


def from_folder(folder: Path, out: str) -> Dataset:
    """Pictures of a folder with their prompts.

    Raises:
        ValueError: a line of metadata.jsonl that is none, or no picture with a prompt.
    """
    rows = sorted(_prompts(folder))
    if not rows:
        raise ValueError(
            f"{folder}: no picture with a prompt; legal: {METADATA} with file_name and text, or a"
            " text file beside each picture"
        )
    files = [[name, text, _stamp(folder / name)] for name, text in rows]
    classes = sorted({text for _, text in rows})

    def pictures() -> Iterator[Picture]:
        for name, text in rows:
            path = folder / name
            yield Picture(name, path.read_bytes() if path.exists() else b"", text, DRAWN)

    return build_labelled(out, pictures, classes, config={"folder": files})


def _prompts(folder: Path) -> Iterator[tuple[str, str]]:
    listing = folder / METADATA
    if listing.exists():
        for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines()):
            try:
                row = json.loads(line)
                yield row["file_name"], row["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{listing}: line {number + 1}: {line[:80]!r}") from error
        return
    for path in sorted(folder.rglob("*")):
        beside = path.with_suffix(".txt")
        if path.suffix.lower() in PICTURES and beside.exists():
            text = beside.read_text(encoding="utf-8").strip()
            yield path.relative_to(folder).as_posix(), text


def _stamp(path: Path) -> list[int]:
    about = path.stat() if path.exists() else None
    return [about.st_size, about.st_mtime_ns] if about else []
