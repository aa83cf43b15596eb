"""The card of a dataset, from its manifest, its ancestors' and its rows.

What it holds, how much, in which languages, from which hosts, what was dropped on the way and why,
what its licence is known to be, whether its expectations were met, and what to be careful about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from evaluators.report.cards.page import CardPage, Section, flat, identity, made_from
from pipelines.datasets import Dataset
from pipelines.lineage import Node, ancestors

MOST = 15
"""Hosts, queries and classes that a card names."""
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
"""Upper bounds and the names that hubs give sizes."""
WEB_LIMITS = (
    "Texts are what people wrote around images on the web, for purposes of their own: many say "
    "something else than what is seen, and their prejudices are kept.",
    "Pictures may show people who were never asked. The dataset is not meant for finding, "
    "identifying or watching persons, nor for deciding about them.",
    "Languages are as the extraction recorded them, not checked by hand.",
)
OPTED_OUT = ("opt_out", "robots")
"""Reasons by which the will of a site's owner shows."""


@dataclass
class Tally:
    """What the rows hold, counted in one pass over the light columns."""

    images: int = 0
    texts: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    queries: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    sides: Counter[int] = field(default_factory=Counter)
    """Shorter sides, pixels."""


LIGHT = ("texts", "image_url", "format", "width", "height", "class_name", "group")
LICENCE = ("license", "licence")
"""Columns that name an image's licence, in corpora that have one."""


def tally(dataset: Dataset) -> Tally:
    """Counts over all rows."""
    names = [column["name"] for column in dataset.manifest.schema]
    found = Tally()
    columns = [name for name in (*LIGHT, *LICENCE) if name in names]
    for batch in dataset.batches(columns) if columns else ():
        for row in batch.to_pylist():
            _count(found, row)
    return found


def _count(found: Tally, row: dict[str, Any]) -> None:
    found.images += 1
    for text in row.get("texts") or ():
        found.texts += 1
        found.languages[text.get("language") or "unknown"] += 1
        found.sources[text.get("source") or text.get("kind") or "unknown"] += 1
        found.queries.update(text.get("queries") or ())
    for key, counter in (
        ("format", found.formats),
        ("class_name", found.classes),
        ("group", found.groups),
        *((name, found.licences) for name in LICENCE),
    ):
        if row.get(key):
            counter[row[key]] += 1
    if row.get("image_url"):
        found.hosts[urlsplit(row["image_url"]).netloc] += 1
    if row.get("width") and row.get("height"):
        found.sides[min(row["width"], row["height"])] += 1


def dataset_card(dataset: Dataset, title: str = "") -> CardPage:
    """The card of any dataset with rows; for `samples` and `captioned` with the web's facts."""
    manifest, nodes = dataset.manifest, list(ancestors(dataset.path))
    counted = tally(dataset)
    web = "image_url" in {column["name"] for column in manifest.schema}
    about = f"A `{manifest.name}` dataset of {manifest.rows:,} rows"
    about += f" with {counted.texts:,} texts." if counted.texts else "."
    sections = [
        *_contents(dataset, counted),
        *(_origins(counted) if web else ()),
        _licences(counted),
        _drops(nodes),
        _quality(manifest.quality),
        made_from([(n.name, n.dataset, n.problem) for n in nodes[1:]]),
        identity(manifest),
        Section("Config", [], ("field", "value"), flat(manifest.config)),
        _limits(dataset, web, nodes),
    ]
    return CardPage(title or manifest.name, about, sections, _facts(manifest.rows, counted))


def _facts(rows: int, counted: Tally) -> dict[str, Any]:
    known = sorted(name for name in counted.languages if name not in ("unknown", "und"))
    size = next((name for most, name in SIZES if rows < most), "n>1B")
    return {**({"language": known} if known else {}), "size_categories": [size]}


def _contents(dataset: Dataset, counted: Tally) -> Iterator[Section]:
    rows = [("rows", f"{dataset.manifest.rows:,}")]
    if counted.texts:
        mean = counted.texts / max(counted.images, 1)
        rows += [("texts", f"{counted.texts:,}"), ("texts an image", f"{mean:.2f}")]
    if counted.sides:
        low, high = min(counted.sides), max(counted.sides)
        rows.append(("shorter side, pixels", f"{low} to {high}, median {median(counted.sides)}"))
    if counted.formats:
        rows.append(("formats", _listed(counted.formats)))
    if counted.classes:
        rows.append(("classes", f"{len(counted.classes):,}"))
    if counted.groups:
        rows.append(("groups", _listed(counted.groups)))
    yield Section("Contents", [], ("", "count"), rows)
    columns = [(c["name"], c["type"], c["meaning"]) for c in dataset.manifest.schema]
    yield Section("Columns", [], ("column", "type", "meaning"), columns)
    if counted.languages:
        shares = _shares(counted.languages)
        yield Section("Languages", [], ("language of the text", "texts", "share"), shares)


def median(counts: Counter[int]) -> int:
    """The lower median of values with their counts."""
    below, half = 0, counts.total() / 2
    for value in sorted(counts):
        below += counts[value]
        if below >= half:
            return value
    raise ValueError("a median of nothing; legal: one value or more")


def _listed(counts: Counter[str]) -> str:
    told = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(MOST))
    return told + (f" and {len(counts) - MOST:,} more" if len(counts) > MOST else "")


def _shares(counts: Counter[str]) -> list[tuple[str, str, str]]:
    whole = counts.total()
    return [(k, f"{n:,}", f"{n / whole:.1%}") for k, n in counts.most_common(MOST)]


def _origins(counted: Tally) -> Iterator[Section]:
    told = [f"Images come from {len(counted.hosts):,} hosts; the URL of each is in `image_url`."]
    if counted.sources:
        told.append(f"Texts by where they stood: {_listed(counted.sources)}.")
    if counted.queries:
        told.append(
            f"Texts hold {len(counted.queries):,} queries; the commonest: "
            f"{_listed(counted.queries)}."
        )
    yield Section("Sources", told, ("host", "images", "share"), _shares(counted.hosts))


def _licences(counted: Tally) -> Section:
    if counted.licences:
        told = f"{counted.images - counted.licences.total():,} images name none."
        return Section(
            "Licences", [told], ("licence", "images", "share"), _shares(counted.licences)
        )
    told = (
        "No licence is recorded for single rows. Images and texts keep that of the place they come "
        "from; whoever passes the dataset on has to clear it."
    )
    return Section("Licences", [told])


def _drops(nodes: Sequence[Node]) -> Section:
    """Drops by step and reason, in the order of the flow; those handed on by a parent once."""
    rows: list[tuple[str, ...]] = []
    for node in reversed(nodes):
        if node.dataset is None or node.path in {path for path, *_ in rows}:
            continue
        handed = _parents_drops(node, nodes)
        for reason, count in node.dataset.manifest.dropped.items():
            if (reason, count) not in handed:
                rows.append((node.path, node.name, reason, f"{count:,}"))
    told = [] if rows else ["No step counts drops."]
    return Section("Dropped on the way", told, ("step", "reason", "count"), [r[1:] for r in rows])


def _parents_drops(node: Node, nodes: Sequence[Node]) -> set[tuple[str, int]]:
    assert node.dataset is not None
    hashes = {parent.content_hash for parent in node.dataset.manifest.parents}
    above = (n.dataset.manifest for n in nodes if n.dataset is not None)
    return {drop for m in above if m.content_hash in hashes for drop in m.dropped.items()}


def _quality(report: dict[str, Any]) -> Section:
    results = report.get("expectations", [])
    if not results:
        return Section("Quality", ["No expectations were checked."])
    failed = [r for r in results if not r["success"]]
    told = f"{len(results) - len(failed)} of {len(results)} expectations were met."
    rows = [(r["expectation"], f"{r['unexpected']:,}") for r in failed]
    return Section("Quality", [told], ("not met", "rows against it"), rows)


def _limits(dataset: Dataset, web: bool, nodes: Sequence[Node]) -> Section:
    told = list(WEB_LIMITS) if web else []
    manifests = [n.dataset.manifest for n in nodes if n.dataset is not None]
    drops = {reason for manifest in manifests for reason in manifest.dropped}
    if drops & set(OPTED_OUT):
        told.append("What robots.txt forbids, and images whose owners opted out, were left alone.")
    if "near_test_image" in drops:
        tests = sum(parent.name == "labelled" for parent in dataset.manifest.parents)
        told.append(f"Images near those of {tests} evaluation sets were dropped.")
    problems = [f"{node.name}: {node.problem}" for node in nodes if node.problem]
    told += [f"The lineage is broken at {problem}." for problem in problems]
    return Section("Limits", told or ["None is recorded; that is not to say that there are none."])
