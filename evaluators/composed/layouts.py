"""The files that composed-retrieval benchmarks are published in, to pictures and queries.

    domains        lines "path label" of real pictures and of targets, where a label is the class
                   plus 1,000 times the number of the domain (ImageNet to ImageNet-R)
    cirr           CIRR's captions and split; the reference is not searched, and six pictures alike
                   are searched by themselves
    fashion-iq     a captions file and a split a kind of garment
    coco-objects   a box of a masked picture, composed with the names of the objects beside it
    labelled       a `labelled` dataset of one group of queries and a group a domain

Prompts, and the words of the baseline without a picture, are the published code's; in COCO's they
name the object that the picture shows, as there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from models.pic2word import STAR, edit_prompt, objects_prompt
from pipelines.datasets import open_dataset

QUERY = "query"
"""Group of pictures that are asked with and not searched."""
CLASSES_A_DOMAIN = 1000


@dataclass(frozen=True)
class Query:
    """A picture and words, and the pictures that answer them."""

    key: str
    reference: str
    starred: str
    words: str
    targets: tuple[str, ...]
    gallery: str
    group: str
    subset: tuple[str, ...] = ()


@dataclass
class Found:
    """What a layout holds: (name, group) of each picture to its bytes, and the queries."""

    pictures: dict[tuple[str, str], Callable[[], bytes]] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)
    hidden_reference: bool = False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def domain_queries(
    found: Found, labels: Mapping[str, str], targets: Mapping[str, Mapping[str, list[str]]],
    prompts: Mapping[str, str], gallery: str,
) -> None:  # fmt: skip
    """A query a picture and domain: the same class in the domain; those without a target not.

    Args:
        labels: class of each picture that is asked with.
        targets: names by domain and class.
        prompts: what a domain is called, such as "an origami".
    """
    for domain, said in prompts.items():
        of_domain = targets.get(domain, {})
        for name, label in labels.items():
            if right := of_domain.get(label):
                starred, words = f"{said} of {STAR}", f"{said} of"
                key = f"{domain}/{name}"
                found.queries.append(
                    Query(key, name, starred, words, tuple(right), gallery, domain)
                )


def _domains(root: Path, layout: Mapping[str, Any]) -> Found:
    found, prompts = Found(), layout["prompts"]
    labels = {name: str(label) for name, label in _labelled_lines(root / layout["queries"])}
    targets: dict[str, dict[str, list[str]]] = {domain: {} for domain in prompts}
    for name, label in _labelled_lines(root / layout["targets"]):
        number = label // CLASSES_A_DOMAIN
        found.pictures[name, "gallery"] = partial(_bytes, root / name)
        if number < len(prompts):  # pictures of no domain that is asked for only distract
            of_domain = targets[list(prompts)[number]]
            of_domain.setdefault(str(label % CLASSES_A_DOMAIN), []).append(name)
    for name in labels:
        found.pictures[name, QUERY] = partial(_bytes, root / name)
    domain_queries(found, labels, targets, prompts, "gallery")
    return found


def _labelled_lines(path: Path) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdigit():
            raise ValueError(f"{path}: line {number + 1} is {line[:80]!r}; legal: a path, a label")
        yield name, int(label)


def _cirr(root: Path, layout: Mapping[str, Any]) -> Found:
    found = Found(hidden_reference=True)
    for name, file in _json(root / layout["split"]).items():
        found.pictures[name, "gallery"] = partial(_bytes, root / layout["folder"] / file)
    for row in _json(root / layout["captions"]):
        said, alike = row["caption"], tuple(row["img_set"]["members"])
        found.queries.append(
            Query(
                key=str(row["pairid"]),
                reference=row["reference"],
                starred=edit_prompt(said),
                words=said,
                targets=(row["target_hard"],),
                gallery="gallery",
                group="",
                subset=tuple(name for name in alike if name != row["reference"]),
            )
        )
    return found


def _fashion_iq(root: Path, layout: Mapping[str, Any]) -> Found:
    found = Found()
    for group in layout["groups"]:
        for name in _json(root / layout["split"].format(group)):
            path = root / layout["image"].format(name)
            found.pictures[f"{group}/{name}", group] = partial(_bytes, path)
        for number, row in enumerate(_json(root / layout["captions"].format(group))):
            first, second = row["captions"]
            target, reference = (f"{group}/{row[part]}" for part in ("target", "candidate"))
            starred, words = edit_prompt(second, first), f"{second} and {first}"
            key = f"{group}/{number}"
            found.queries.append(Query(key, reference, starred, words, (target,), group, group))
    return found


def _coco_objects(root: Path, layout: Mapping[str, Any]) -> Found:
    found = Found()
    with (root / layout["queries"]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        name, own = row["id"], row["query_class"]
        box = tuple(int(float(edge)) for edge in row["query_regions"].split(";"))
        others = [other for other in row["classes"].split(";") if other]
        found.pictures[name, "gallery"] = partial(_bytes, root / layout["image"].format(name))
        crop = f"{name}#{number}"
        masked = root / layout["masked"].format(name)
        found.pictures[crop, QUERY] = partial(_cropped, masked, box)
        words = "a photo of " + " and ".join([own, *others])
        starred = objects_prompt([own, *others])
        found.queries.append(Query(crop, crop, starred, words, (name,), "gallery", ""))
    return found


def _cropped(path: Path, box: tuple[int, ...]) -> bytes:
    """The box (left, top, right, bottom, in pixels) of a picture as PNG; empty if it is broken."""
    from PIL import Image

    try:
        with Image.open(path) as whole:
            part = whole.convert("RGB").crop((box[0], box[1], box[2], box[3]))
        out = io.BytesIO()
        part.save(out, "png", compress_level=1)
    except (OSError, SyntaxError, ValueError, SystemError):
        return b""
    return out.getvalue()


def _labelled(root: Path, layout: Mapping[str, Any]) -> Found:
    found, prompts = Found(), layout["prompts"]
    labels: dict[str, str] = {}
    targets: dict[str, dict[str, list[str]]] = {domain: {} for domain in prompts}
    rows = open_dataset(str(root / layout["folder"])).table()
    for row in rows.sort_by("image_id").to_pylist():
        name, group = row["image_id"], row["group"]
        asked = group == layout["query"]
        found.pictures[name, QUERY if asked else "gallery"] = partial(bytes, row["image"])
        if asked:
            labels[name] = row["class_name"]
        elif group in targets:
            targets[group].setdefault(row["class_name"], []).append(name)
    domain_queries(found, labels, targets, prompts, "gallery")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


READERS: dict[str, Callable[[Path, Mapping[str, Any]], Found]] = {
    "domains": _domains,
    "cirr": _cirr,
    "fashion-iq": _fashion_iq,
    "coco-objects": _coco_objects,
    "labelled": _labelled,
}
