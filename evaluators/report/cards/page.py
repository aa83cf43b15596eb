"""A card: what a dataset or a checkpoint is, for someone who did not make it.

The kind of card that "Model Cards for Model Reporting" (Mitchell et al., arXiv 1810.03993) and
"Datasheets for Datasets" (Gebru et al., arXiv 1803.09010) ask for. Every figure in it comes from
manifests and rows; what nobody recorded is said to be unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.datasets import Dataset, Manifest

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of a card: sentences, then a table; either may be empty."""

    title: str
    sentences: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Rows = ()


@dataclass(frozen=True)
class CardPage:
    """One card."""

    title: str
    about: str
    """What it is, a sentence or two."""
    sections: Sequence[Section]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For the YAML block at the head, which hubs read."""

    def markdown(self) -> str:
        """The card as a README.md."""
        head = [f"{key}: {json.dumps(value)}" for key, value in self.facts.items()]
        parts = ["---", *head, "---", ""] if head else []
        parts += [f"# {self.title}", "", self.about, ""]
        for section in self.sections:
            parts += [f"## {section.title}", ""]
            parts += [line for sentence in section.sentences for line in (sentence, "")]
            if section.rows:
                parts += [*_table(section.columns, section.rows), ""]
        return "\n".join(parts)


def _table(columns: Sequence[str], rows: Rows) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(_cell(value) for value in line) + " |" for line in lines]


def _cell(value: str) -> str:
    return " ".join(value.replace("|", "\\|").split())


def flat(config: Mapping[str, Any], at: str = "") -> list[tuple[str, str]]:
    """Fields of a nested config as (dotted name, value)."""
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found += flat(value, f"{at}{key}.")
        else:
            found.append((at + key, json.dumps(value, ensure_ascii=False)))
    return found


def identity(manifest: Manifest) -> Section:
    """Hashes that tell this very folder from any other."""
    rows = [
        ("content hash", manifest.content_hash),
        ("config hash", manifest.config_hash),
        ("seed", str(manifest.seed)),
        ("code version", manifest.code_version),
        ("files", f"{len(manifest.shards):,}, the sha256 of each in manifest.json"),
    ]
    told = "`sightmill verify` compares the folder with these, `sightmill trace` walks its lineage."
    return Section("Identity", [told], ("", "value"), rows)


def made_from(ancestors: Sequence[tuple[str, Dataset | None, str]]) -> Section:
    """The lineage: (name, dataset, problem) of all that it was made from."""
    rows = [
        (
            name,
            f"{one.manifest.rows:,}" if one is not None and one.manifest.schema else "",
            one.manifest.content_hash if one is not None else "unknown",
            one.manifest.code_version if one is not None else "",
            problem,
        )
        for name, one, problem in ancestors
    ]
    told = [] if rows else ["Its manifest names nothing that it was made from."]
    columns = ("made from", "rows", "content hash", "code", "remark")
    return Section("Lineage", told, columns, rows)
