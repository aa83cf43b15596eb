"""Published layouts of evaluation sets below a data root, read picture by picture.

    folders    SPLIT/CLASS/picture, as ImageNet and torchvision's ImageFolder have it
    lines      a text file a split, a picture a line
    jsonl      the same with a JSON object a line
    cifar      CIFAR's binary files
    idx        MNIST's files, plain or gzipped
    stl        STL-10's binary files
    captions   picture<TAB or comma>caption a line, as Flickr30k
    karpathy   Karpathy's JSON of COCO
    wds        CLIP_benchmark's WebDataset layout: SPLIT/N.tar with nshards.txt, classnames.txt

Layouts that hold raw pixels (cifar, idx, stl) come out as PNG. Nothing is unpickled. A file that
the layout names and that is not there comes out as an item without bytes, so that it is counted.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluators.suites.catalogue import Layout

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".ppm", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Item:
    """One evaluation picture as it lies there."""

    split: str
    origin: str
    """Path below the root, and the place in the file where one holds many."""
    load: Callable[[], bytes]
    """Gives it encoded; empty where the file is missing or cannot be read."""
    key: str | int
    """The class: its id or name as the layout has it, or its index; a caption for retrieval."""


Reader = Callable[[Path, Layout], Iterator[Item]]


def present(root: Path, layout: Layout) -> bool:
    """Whether any split of the layout lies below the root."""
    return any(_exists(root, layout, part) for part in _parts(layout))


def _parts(layout: Layout) -> list[str]:
    parts: list[str] = []
    for named in layout["splits"].values():
        parts += [named] if isinstance(named, str) else named
    return parts


def _exists(root: Path, layout: Layout, part: str) -> bool:
    tail = {"idx": "-images-idx3-ubyte", "stl": "_X.bin"}.get(layout["kind"], "")
    return (root / (part + tail)).exists() or (root / f"{part}{tail}.gz").exists()


def read(root: Path, layout: Layout) -> Iterator[Item]:
    """Every picture of the splits that are there, in one order on every machine.

    Raises:
        ValueError: a file that is not what the layout says; the message names it.
    """
    here = {
        name: part
        for name, part in layout["splits"].items()
        if any(
            _exists(root, layout, one) for one in ([part] if isinstance(part, str) else list(part))
        )
    }
    yield from READERS[layout["kind"]](root, {**layout, "splits": here})


def _bytes(path: Path) -> bytes:
    """Content of a picture file; empty where it is missing, which the audit counts."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _folders(root: Path, layout: Layout) -> Iterator[Item]:
    for split, part in layout["splits"].items():
        for folder in sorted(p for p in (root / part).iterdir() if p.is_dir()):
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in PICTURES:
                    origin = path.relative_to(root).as_posix()
                    yield Item(split, origin, partial(_bytes, path), folder.name)


def _lines(root: Path, layout: Layout) -> Iterator[Item]:
    pattern = re.compile(layout["pattern"])
    for split, part in layout["splits"].items():
        lines = (root / part).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            found = pattern.fullmatch(line.strip())
            if found is None:
                if line.strip() and not (number == 0 and layout.get("header")):
                    raise ValueError(f"{root / part}: line {number + 1} is {line[:80]!r}")
                continue
            named = found.groupdict()
            origin = layout["image"].format(path=named["path"])
            first = int(layout.get("first_index", 0))
            key = int(named["index"]) - first if "index" in named else named["class_name"]
            yield Item(split, origin, partial(_bytes, root / origin), key)


def _jsonl(root: Path, layout: Layout) -> Iterator[Item]:
    for split, part in layout["splits"].items():
        for line in (root / part).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            origin = layout["image"].format(**row)
            yield Item(split, origin, partial(_bytes, root / origin), int(row[layout["label"]]))


def _cifar(root: Path, layout: Layout) -> Iterator[Item]:
    wide = layout["label_bytes"]
    for split, parts in layout["splits"].items():
        for part in parts:
            rows = _records(root / part, wide + 3072)
            for place, row in enumerate(rows):
                picture = row[wide:].reshape(3, 32, 32).transpose(1, 2, 0)
                yield Item(split, f"{part}#{place}", partial(png, picture), int(row[wide - 1]))


def _records(path: Path, size: int) -> npt.NDArray[np.uint8]:
    data = np.frombuffer(_whole(path), np.uint8)
    if len(data) % size:
        raise ValueError(f"{path}: {len(data)} bytes; legal: a multiple of {size}")
    return data.reshape(-1, size)


def _whole(path: Path) -> bytes:
    """A file, or the gzipped one beside it."""
    if path.exists():
        return path.read_bytes()
    return gzip.decompress(Path(f"{path}.gz").read_bytes())


def idx(data: bytes, where: str) -> npt.NDArray[np.uint8]:
    """The array in a file of MNIST's idx format, of unsigned bytes."""
    kind, dimensions = data[2], data[3]
    shape = np.frombuffer(data, ">i4", dimensions, 4).tolist()
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions)
    if data[:2] != b"\0\0" or kind != 8 or len(body) != int(np.prod(shape)):
        raise ValueError(f"{where}: not a whole idx file of unsigned bytes")
    return body.reshape(shape)


def _idx(root: Path, layout: Layout) -> Iterator[Item]:
    for split, part in layout["splits"].items():
        files = [root / f"{part}-{tail}-ubyte" for tail in ("images-idx3", "labels-idx1")]
        pictures, labels = (idx(_whole(path), str(path)) for path in files)
        if len(pictures) != len(labels):
            raise ValueError(f"{files[0]}: {len(pictures)} pictures, {len(labels)} labels")
        for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            yield Item(split, f"{part}#{place}", partial(png, picture), int(label))


def _stl(root: Path, layout: Layout) -> Iterator[Item]:
    for split, part in layout["splits"].items():
        rows = _records(root / f"{part}_X.bin", 3 * 96 * 96)
        labels = np.frombuffer(_whole(root / f"{part}_y.bin"), np.uint8)
        for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
            picture = row.reshape(3, 96, 96).transpose(2, 1, 0)  # it is stored column by column
            yield Item(split, f"{part}#{place}", partial(png, picture), int(label) - 1)


def _captions(root: Path, layout: Layout) -> Iterator[Item]:
    for split, part in layout["splits"].items():
        for line in (root / part).read_text(encoding="utf-8").splitlines()[1:]:
            image, _, caption = line.partition("\t" if "\t" in line else ",")
            origin = layout["image"].format(image=image.partition("#")[0].strip())
            yield Item(split, origin, partial(_bytes, root / origin), caption.strip())


def _karpathy(root: Path, layout: Layout) -> Iterator[Item]:
    for split, part in layout["splits"].items():
        found = json.loads((root / part).read_text(encoding="utf-8"))
        files = {image["id"]: image["file_name"] for image in found["images"]}
        for note in found["annotations"]:
            origin = layout["image"].format(image=files[note["image_id"]])
            yield Item(split, origin, partial(_bytes, root / origin), note["caption"].strip())


def _wds(root: Path, layout: Layout) -> Iterator[Item]:
    import tarfile

    for split, part in layout["splits"].items():
        count = int((root / part / "nshards.txt").read_text())
        for shard in range(count):
            name = f"{part}/{shard}.tar"
            try:
                with tarfile.open(root / name) as tar:
                    yield from _samples(tar, split, name)
            except (OSError, tarfile.TarError) as error:
                raise ValueError(f"{root / name}: {error}") from error


def _samples(tar: Any, split: str, name: str) -> Iterator[Item]:
    """Neighbouring members of one stem are one sample."""
    stem = ""
    parts: dict[str, bytes] = {}
    for member in tar:
        before, _, extension = member.name.partition(".")
        if before != stem and parts:
            yield from _sample(parts, split, f"{name}/{stem}")
            parts = {}
        stem = before
        parts[extension.lower()] = tar.extractfile(member).read()
    yield from _sample(parts, split, f"{name}/{stem}")


def _sample(parts: Mapping[str, bytes], split: str, origin: str) -> Iterator[Item]:
    image = next((parts[e] for e in ("webp", "png", "jpg", "jpeg") if e in parts), b"")
    if "cls" in parts:
        yield Item(split, origin, partial(bytes, image), int(parts["cls"].decode()))
    elif "txt" in parts:
        for caption in parts["txt"].decode().splitlines():
            yield Item(split, origin, partial(bytes, image), caption)
    elif parts:
        raise ValueError(f"{origin} holds {sorted(parts)}; legal: a picture with .cls or .txt")


def wds_layout(root: Path, name: str) -> Layout | None:
    """CLIP_benchmark's layout of a set, in ROOT/wds_NAME or ROOT/NAME, if it is there."""
    for folder in (f"wds_{name}", name):
        splits = {
            split: f"{folder}/{split}"
            for split in ("train", "val", "test")
            if (root / folder / split / "nshards.txt").exists()
        }
        if splits:
            return {"kind": "wds", "splits": splits, "folder": folder}
    return None


def wds_text(root: Path, layout: Layout, name: str) -> Sequence[str] | None:
    """Lines of classnames.txt or zeroshot_classification_templates.txt; None without the file."""
    path = root / layout["folder"] / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else None


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """(H, W) or (H, W, 3) of unsigned bytes as a PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "png", compress_level=1)
    return out.getvalue()


READERS: dict[str, Reader] = {
    "folders": _folders,
    "lines": _lines,
    "jsonl": _jsonl,
    "cifar": _cifar,
    "idx": _idx,
    "stl": _stl,
    "captions": _captions,
    "karpathy": _karpathy,
    "wds": _wds,
}
