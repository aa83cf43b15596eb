"""FairFace: faces with age, gender and race as its annotators saw them (arXiv 1908.04913).

    ROOT/fairface/fairface_label_val.csv     file,age,gender,race,...
    ROOT/fairface/val/1.jpg

It is no set to be named: what is asked is whether a model treats those groups alike
(`evaluators.bias`). The labels are impressions of strangers, not what the people say of themselves.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from evaluators.suites.found import EXAMPLES, Audit, Damage
from evaluators.suites.labelled import Picture, build_labelled
from pipelines import hashing, storage
from pipelines.datasets import Dataset

NAME, LABELS, SPLIT = "fairface", "fairface_label_val.csv", "val"
RACES = {
    "White": "White",
    "Black": "Black",
    "Indian": "Indian",
    "East Asian": "East Asian",
    "Southeast Asian": "Southeast Asian",
    "Middle Eastern": "Middle Eastern",
    "Latino_Hispanic": "Latino",
}
GENDERS = {"Male": "man", "Female": "woman"}
AGES = {
    "0-2": "0 to 2",
    "3-9": "3 to 9",
    "10-19": "10 to 19",
    "20-29": "20 to 29",
    "30-39": "30 to 39",
    "40-49": "40 to 49",
    "50-59": "50 to 59",
    "60-69": "60 to 69",
    "more than 70": "over 70",
}
"""By the files' labels, as prompts say them."""
GET = (
    "unzip fairface-img-margin025-trainval.zip -d {root}/fairface, with fairface_label_val.csv "
    "beside val/: github.com/joojs/fairface has both"
)
SIZE = 10_954
"""Faces of the published validation split."""
APART = " | "


@dataclass(frozen=True)
class Face:
    """The labels of one picture."""

    race: str
    gender: str
    age: str

    def name(self) -> str:
        """As one class name."""
        return APART.join((self.race, self.gender, self.age))


def face_of(class_name: str) -> Face:
    """The labels in a class name."""
    return Face(*class_name.split(APART))


FACES = tuple(Face(*labels).name() for labels in product(RACES, GENDERS, AGES))


def find_fairface(root: Path, out: str) -> tuple[Dataset | None, Audit]:
    """The validation split below a root as a `labelled` dataset at `out`, and what was found.

    Raises:
        ValueError: a label file without the columns file, age, gender, race; the message names it.
    """
    labels = root / NAME / LABELS
    if not labels.is_file():
        return None, Audit(NAME, "missing", get=GET.format(root=root))
    rows, wrong = _rows(labels)
    pictures = sum((labels.parent / file).is_file() for file, _ in rows)
    damage = [Damage("unknown_class", len(wrong), wrong[:EXAMPLES])] if wrong else []
    if pictures < len(rows):
        gone = [file for file, _ in rows if not (labels.parent / file).is_file()]
        damage.append(Damage("missing_image", len(gone), gone[:EXAMPLES]))
    if len(rows) != SIZE:
        told = f"{SPLIT}: {len(rows):,} faces found, {SIZE:,} published"
        damage.append(Damage("wrong_size", abs(SIZE - len(rows)), [told]))
    audit = Audit(NAME, "damaged" if damage else "ok", {SPLIT: len(rows)}, damage)
    if not pictures:
        return None, audit
    settings = {"labels": storage.file_sha256(str(labels)), "pictures": pictures}
    found = build_labelled(
        out, lambda: _pictures(labels.parent, rows), FACES, config=hashing.config_dict(settings)
    )
    return found, audit


def _rows(labels: Path) -> tuple[list[tuple[str, Face]], list[str]]:
    """(file, labels) of each line, and the lines whose labels are none of FairFace's."""
    with labels.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    if not lines or not {"file", "age", "gender", "race"} <= lines[0].keys():
        raise ValueError(f"{labels}: legal: columns file, age, gender, race, and one row or more")
    found, wrong = [], []
    for line in lines:
        face = Face(line["race"], line["gender"], line["age"])
        if face.race in RACES and face.gender in GENDERS and face.age in AGES:
            found.append((line["file"], face))
        else:
            wrong.append(f"{line['file']}: {face.name()}")
    return found, wrong


def _pictures(folder: Path, rows: list[tuple[str, Face]]) -> Iterator[Picture]:
    for file, face in rows:
        path = folder / file
        image = path.read_bytes() if path.is_file() else b""  # unanswered, and counted
        yield Picture(file, image, face.name(), SPLIT)
