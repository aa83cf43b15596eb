"""Evaluation sets found below a data root: read, checked against the catalogue, made `labelled`.

What a root holds is seldom what was published: a class folder lost in a copy, a truncated JPEG, a
split of another size. Each of these is counted and named in the set's audit; an image that cannot
be decoded stays a row, so that it is unanswered and not gone.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluators.suites import layouts
from evaluators.suites.catalogue import Layout, SetSpec
from evaluators.suites.labelled import ROWS_A_SHARD, Picture, labelled_table
from pipelines import datasets, hashing, storage
from pipelines.datasets import Dataset
from pipelines.pictures import flaw
from pipelines.records import record_id

AUDIT = "audit.json"
EXAMPLES = 5
"""Names that an audit gives of each kind of damage, beside the count."""


@dataclass(frozen=True)
class Damage:
    """One kind of damage in one set."""

    kind: str
    """missing_class, unknown_class, corrupt_image, missing_image, wrong_size, unreadable."""
    count: int
    examples: Sequence[str] = ()


@dataclass(frozen=True)
class Audit:
    """What was found of a set against what was published."""

    name: str
    status: str
    """ok, damaged or missing."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Pictures a split, as found; retrieval: pictures with a caption."""
    damage: Sequence[Damage] = ()
    get: str = ""
    """Missing sets: how to get it."""


@dataclass(frozen=True)
class FoundSet:
    """A set that can be scored."""

    spec: SetSpec
    dataset: Dataset
    """`labelled`; its groups are the splits."""
    classes: tuple[str, ...]
    """Class names, all apart, in the order of the labels; empty for retrieval."""
    said: tuple[str, ...]
    """The same as prompts say them."""
    templates: tuple[str, ...]
    audit: Audit


def locate(spec: SetSpec, root: Path) -> Layout | None:
    """The first layout of the set that lies below the root."""
    for layout in spec.layouts:
        if layouts.present(root, layout):
            return layout
    found = layouts.wds_layout(root, spec.wds) or layouts.wds_layout(root, spec.name)
    if found is not None:
        return found
    splits = {
        split: f"{spec.name}/{split}"
        for split in ("train", "val", "test")
        if (root / spec.name / split).is_dir()
    }
    return {"kind": "folders", "splits": splits} if splits else None


def missing(spec: SetSpec, root: str) -> Audit:
    """The audit of a set that is not there."""
    return Audit(spec.name, "missing", get=spec.get.replace("ROOT", root))


def find(spec: SetSpec, root: Path, out: str) -> FoundSet | Audit:
    """The set made `labelled` under `out`, or the audit that says why it cannot be scored."""
    if (root / spec.name / datasets.MANIFEST).exists():
        return _made_before(spec, datasets.open_dataset(str(root / spec.name)))
    layout = locate(spec, root)
    if layout is None:
        return missing(spec, str(root))
    try:
        names, templates = _names(spec, root, layout)
        where = posixpath.join(out, spec.name)
        dataset = _build(spec, root, layout, names, where)
    except (ValueError, OSError, EOFError, IndexError, KeyError) as error:
        problem = Damage("unreadable", 1, [f"{type(error).__name__}: {error}"])
        return Audit(spec.name, "damaged", {}, [problem])
    audit = read_audit(where)
    return FoundSet(spec, dataset, names.unique, names.said, templates, audit)


def _made_before(spec: SetSpec, dataset: Dataset) -> FoundSet:
    """A set that lies there as a `labelled` dataset; its labels give the order of its classes."""
    rows = dataset.table(["label", "class_name", "group"])
    labels = sorted(
        set(zip(rows["label"].to_pylist(), rows["class_name"].to_pylist(), strict=True))
    )
    classes = tuple(name for _, name in labels) if spec.kind != "retrieval" else ()
    said = spec.classes.names if spec.classes and len(spec.classes.names) == len(classes) else ()
    seen = _Tally(Counter(rows["group"].to_pylist()))
    for split, name in zip(rows["group"].to_pylist(), rows["class_name"].to_pylist(), strict=True):
        seen.classes.setdefault(split, Counter())[name] += 1
    names = _Names(classes, said or classes, {})
    return FoundSet(spec, dataset, classes, names.said, spec.templates, _audit(spec, names, seen))


@dataclass(frozen=True)
class _Names:
    """How the layout's keys become classes."""

    unique: tuple[str, ...]
    said: tuple[str, ...]
    place: Mapping[str, int]
    """By the layout's key, where keys are strings."""
    surplus: tuple[str, ...] = ()

    def of(self, key: str | int) -> str | None:
        index = self.place.get(key) if isinstance(key, str) else key
        return self.unique[index] if index is not None and 0 <= index < len(self.unique) else None


def _names(spec: SetSpec, root: Path, layout: Layout) -> tuple[_Names, tuple[str, ...]]:
    templates, classes = spec.templates, spec.classes
    if spec.kind == "retrieval":
        return _Names((), (), {}), templates
    if layout["kind"] == "wds":
        said = layouts.wds_text(root, layout, "classnames.txt")
        own = layouts.wds_text(root, layout, "zeroshot_classification_templates.txt")
        templates = tuple(t.replace("{c}", "{}") for t in own) if own else templates
        if said is not None:
            return _Names(_apart(said), tuple(said), {}), templates
        if classes is None:
            raise ValueError(f"{root / layout['folder']} has no classnames.txt")
    if classes is not None and (layout["kind"] not in ("folders", "lines") or classes.ids):
        keys = classes.ids or classes.names
        place = {key: index for index, key in enumerate(keys)}
        if layout.get("ids") == "index":
            place = {str(index): index for index in range(len(keys))}
        return _Names(classes.unique(), classes.names, place), templates
    seen = {item.key for item in layouts.read(root, layout)}
    keys = tuple(sorted(key for key in seen if isinstance(key, str)))
    if classes is None:
        said = tuple(key.strip("/").replace("_", " ").replace("/", " ") for key in keys)
        return _Names(_apart(said), tuple(said), {k: i for i, k in enumerate(keys)}), templates
    return _Names(classes.unique(), classes.names, _by_name(spec, classes.names, keys)), templates


def _apart(said: Sequence[str]) -> tuple[str, ...]:
    count = Counter(said)
    return tuple(
        name if count[name] == 1 else f"{name} ({index})" for index, name in enumerate(said)
    )


def _by_name(spec: SetSpec, names: Sequence[str], keys: Sequence[str]) -> dict[str, int]:
    """Folders to classes: by name where all agree, else in alphabetical order if none is lost."""
    plain = {name.lower().replace("_", " "): index for index, name in enumerate(names)}
    found = {key: plain.get(key.lower().replace("_", " ")) for key in keys}
    if any(index is not None for index in found.values()):
        return {key: index for key, index in found.items() if index is not None}
    if keys and len(keys) != len(names):
        raise ValueError(
            f"{spec.name}: {len(keys)} class folders ({', '.join(keys[:5])}...), {len(names)} "
            "classes; they are matched by order, so none may be missing"
        )
    return {key: index for index, key in enumerate(keys)}


def _build(spec: SetSpec, root: Path, layout: Layout, names: _Names, where: str) -> Dataset:
    config = {
        "set": spec.name,
        "layout": hashing.config_dict({"of": dict(layout)}),
        "classes": list(names.unique),
        "files": _listing(root, layout),
    }

    def write(folder: str) -> Mapping[str, int]:
        seen = _Tally()
        rows, number, labels = [], 0, {name: i for i, name in enumerate(names.unique)}
        for picture in _pictures(spec, root, layout, names, seen):
            labels.setdefault(picture.class_name, len(labels))
            rows.append(picture)
            if len(rows) == ROWS_A_SHARD:
                _write(folder, number, rows, labels)
                rows, number = [], number + 1
        if rows or not number:
            _write(folder, number, rows, labels)
        storage.write_json(posixpath.join(folder, AUDIT), asdict(_audit(spec, names, seen)))
        return {}

    return datasets.build(where, name="labelled", config=config, seed=0, parents=[], write=write)


def _write(folder: str, number: int, rows: list[Picture], labels: Mapping[str, int]) -> None:
    path = posixpath.join(folder, f"{number:05d}.parquet")
    datasets.write_shard(path, labelled_table(rows, labels))


def _listing(root: Path, layout: Layout) -> str:
    """Changes with any file of the layout: names, sizes and times of change."""
    tops = {part.split("/", maxsplit=1)[0] for named in layout["splits"].values()
            for part in ([named] if isinstance(named, str) else named)}  # fmt: skip
    tops |= {layout["image"].split("/", maxsplit=1)[0]} if "/" in layout.get("image", "") else set()
    found = []
    for top in sorted(tops):
        base = root / top.partition("{")[0]
        files = [base] if base.is_file() else sorted(p for p in base.rglob("*") if p.is_file())
        for path in files:
            about = path.stat()
            found.append([path.relative_to(root).as_posix(), about.st_size, about.st_mtime_ns])
    return hashing.hash_json(found)


@dataclass
class _Tally:
    """What passes while a set is read."""

    sizes: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    images: dict[str, set[str]] = field(default_factory=dict)
    flaws: dict[str, list[str]] = field(default_factory=dict)

    def flaw(self, kind: str, what: str) -> None:
        self.flaws.setdefault(kind, []).append(what)


def _pictures(
    spec: SetSpec, root: Path, layout: Layout, names: _Names, seen: _Tally
) -> Iterator[Picture]:
    ids: set[str] = set()
    for item in layouts.read(root, layout):
        name = str(item.key) if spec.kind == "retrieval" else names.of(item.key)
        if name is None:
            seen.flaw("unknown_class", f"{item.origin}: {item.key}")
            continue
        row = record_id(item.origin, name)
        if row in ids:
            seen.flaw("repeated", item.origin)
            continue
        ids.add(row)
        image = item.load()
        wrong = flaw(image)
        if wrong and item.origin not in seen.images.get(item.split, set()):
            seen.flaw("corrupt_image" if image else "missing_image", f"{item.origin}: {wrong}")
        seen.sizes[item.split] += 1
        seen.images.setdefault(item.split, set()).add(item.origin)
        seen.classes.setdefault(item.split, Counter())[name] += 1
        yield Picture(item.origin, image, name, item.split)


def _audit(spec: SetSpec, names: _Names, seen: _Tally) -> Audit:
    damage = [Damage(k, len(v), v[:EXAMPLES]) for k, v in sorted(seen.flaws.items())]
    for split, classes in seen.classes.items():
        gone = [name for name in names.unique if name not in classes]
        if gone:
            damage.append(Damage("missing_class", len(gone), [f"{split}: {g}" for g in gone[:5]]))
    counted = spec.n_classes and spec.kind != "retrieval"
    short = spec.n_classes - len(names.unique) if counted else 0
    if short:
        told = f"{len(names.unique)} classes found, {spec.n_classes} published"
        damage.append(Damage("missing_class" if short > 0 else "unknown_class", abs(short), [told]))
    for split, rows in seen.sizes.items():
        wanted, there = spec.sizes.get(split), len(seen.images.get(split, ())) or rows
        if wanted is not None and wanted != there:
            told = f"{split}: {there:,} pictures found, {wanted:,} published"
            damage.append(Damage("wrong_size", abs(wanted - there), [told]))
    if "test" not in seen.sizes:
        damage.append(Damage("wrong_size", 1, ["no test split"]))
    harmless = {"repeated"}
    status = "damaged" if any(d.kind not in harmless for d in damage) else "ok"
    return Audit(spec.name, status, dict(seen.sizes), damage)


def read_audit(where: str) -> Audit:
    """The audit that stands beside the rows of a `labelled` dataset made here."""
    fs, inner = storage.filesystem(posixpath.join(where, AUDIT))
    with fs.open_input_stream(inner) as stream:
        found: dict[str, Any] = json.loads(stream.read())
    found["damage"] = [Damage(**one) for one in found["damage"]]
    return Audit(**found)
