"""The files that captioning and question sets are published in, to questions.

    karpathy-captions   a list of {"image", "caption"}: a row a picture with a list of captions
                        (test), or a row a caption (train)
    nocaps              COCO's format, each image with its domain
    captioned           a `labelled` dataset with a row a caption
    vqa                 a file of questions and one of annotations with ten answers each
    gqa                 a map from id to question, picture and answer

A question of a captioning set is empty: describe the picture.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.datasets import open_dataset


@dataclass(frozen=True)
class Question:
    """One picture and what is asked of it."""

    key: str
    origin: str
    """Of the picture."""
    load: Callable[[], bytes]
    question: str
    references: tuple[str, ...]
    group: str

    @property
    def shown(self) -> str:
        """What an example of it answers: the commonest reference, of equally common ones the
        first.
        """
        return Counter(self.references).most_common(1)[0][0]


Reader = Callable[[Path, Mapping[str, Any]], Iterator[Question]]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _there(root: Path, files: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    for split, file in files.items():
        if (root / file).exists():
            yield split, root / file


def _karpathy(root: Path, layout: Mapping[str, Any]) -> Iterator[Question]:
    for split, path in _there(root, layout["splits"]):
        captions: dict[str, list[str]] = {}
        for row in _json(path):
            said = row["caption"]
            captions.setdefault(row["image"], []).extend([said] if isinstance(said, str) else said)
        for image, texts in captions.items():
            origin = layout["image"].format(image)
            references = tuple(text.strip() for text in texts)
            load = partial(_bytes, root / origin)
            yield Question(f"{split}/{origin}", origin, load, "", references, split)


def _nocaps(root: Path, layout: Mapping[str, Any]) -> Iterator[Question]:
    found = _json(root / layout["file"])
    captions: dict[int, list[str]] = {}
    for note in found["annotations"]:
        captions.setdefault(note["image_id"], []).append(note["caption"].strip())
    for image in found["images"]:
        origin = layout["image"].format(image["file_name"])
        group = f"test/{image['domain']}"
        references = tuple(captions.get(image["id"], ()))
        if references:
            load = partial(_bytes, root / origin)
            yield Question(str(image["id"]), origin, load, "", references, group)


def _captioned(root: Path, layout: Mapping[str, Any]) -> Iterator[Question]:
    """Equal bytes are one picture."""
    captions: dict[str, list[str]] = {}
    pictures: dict[str, bytes] = {}
    dataset = open_dataset(str(root / layout["folder"]))
    for row in dataset.table(["image_id", "image", "class_name"]).sort_by("image_id").to_pylist():
        content = hashlib.blake2b(row["image"], digest_size=16).hexdigest()
        pictures[content] = row["image"]
        captions.setdefault(content, []).append(row["class_name"])
    for content, image in pictures.items():
        load = partial(bytes, image)
        yield Question(content, content, load, "", tuple(captions[content]), "test")


def _vqa(root: Path, layout: Mapping[str, Any]) -> Iterator[Question]:
    for split, path in _there(root, layout["questions"]):
        notes = root / layout["annotations"][split]
        if split != "test" and not notes.exists():
            continue
        by_id = {note["question_id"]: note for note in _json(notes)["annotations"]}
        for row in _json(path)["questions"]:
            note = by_id.get(row["question_id"])
            if note is None:
                raise ValueError(f"{notes}: no annotation of question {row['question_id']}")
            answers = tuple(one.get("raw_answer", one["answer"]) for one in note["answers"])
            origin = layout["image"][split].format(row["image_id"])
            key, load = f"{split}/{row['question_id']}", partial(_bytes, root / origin)
            yield Question(key, origin, load, row["question"], answers, split)


def _gqa(root: Path, layout: Mapping[str, Any]) -> Iterator[Question]:
    for split, path in _there(root, layout["questions"]):
        for key, row in _json(path).items():
            origin = layout["image"].format(row["imageId"])
            load = partial(_bytes, root / origin)
            answers = (row["answer"],)
            yield Question(f"{split}/{key}", origin, load, row["question"], answers, split)


READERS: dict[str, Reader] = {
    "karpathy-captions": _karpathy,
    "nocaps": _nocaps,
    "captioned": _captioned,
    "vqa": _vqa,
    "gqa": _gqa,
}
