"""The emoji concepts that several hands have drawn, and which of them are held.

A concept is a Unicode emoji that every hand at hand has drawn, joined on its code points less the
variation selector FE0F. Left out are flags (a flag is the same in every hand) and concepts that
share one drawing, byte for byte, with another concept in some hand (Twitter draws 24 families as
four): a picture that stands for two concepts has no right answer, and would put a held picture
among the training ones. 1,636 emoji besides flags, of which Fluent draws 1,599; 60 share a
drawing: 1,539 concepts.

For the held fifth, Twitter's drawing is never served: Google's is the only one in training, so
that Twitter's is a known hand's unseen picture, with OpenMoji's and Fluent's the unseen hands'
beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.records import uniform

SERVED_HANDS = ("google", "twitter")
UNSEEN_HANDS = ("openmoji", "fluent")
HANDS = SERVED_HANDS + UNSEEN_HANDS

_FOLDERS = {
    "google": ("emoji-datasource-google", "package/img/google/64"),
    "twitter": ("emoji-datasource-twitter", "package/img/twitter/64"),
    "openmoji": ("openmoji", "package/color/svg"),
    "fluent": ("@lobehub/fluent-emoji-3d", "package/assets"),
}
_LEFT_OUT = frozenset({"Flags", "Component"})


@dataclass(frozen=True)
class Concept:
    """One thing that every hand has drawn."""

    key: str  # code points in hexadecimal, lower case, joined by "-", less FE0F: 1f600
    name: str  # unique among the concepts: grinning face
    other_names: tuple[str, ...]  # Unicode's and the short name, where they differ
    keywords: tuple[str, ...]
    category: str  # Smileys & Emotion
    subcategory: str  # face-smiling
    drawings: Mapping[str, Path]  # by hand: 64 px PNG, SVG or 256 px WebP


def join_key(code_points: str) -> str:
    """`code_points` in the form that all packages can be joined on: 0023-FE0F-20E3 is 0023-20e3."""
    return "-".join(part for part in code_points.lower().split("-") if part != "fe0f")


def emoji_concepts(packages: Mapping[str, Path]) -> list[Concept]:
    """Every concept that all hands in `packages` have drawn, sorted by key; none without a hand."""
    hands = {
        hand: {join_key(path.stem): path for path in sorted((packages[name] / inner).iterdir())}
        for hand, (name, inner) in _FOLDERS.items()
        if name in packages
    }
    sources = [name for name, _ in _FOLDERS.values() if name.startswith("emoji-datasource")]
    listed = next((packages[name] for name in sources if name in packages), None)
    if listed is None:
        return []
    entries = {
        join_key(entry["unified"]): entry
        for entry in json.loads((listed / "package/emoji.json").read_text(encoding="utf-8"))
        if entry["category"] not in _LEFT_OUT
    }
    keys = set(entries).intersection(*hands.values())
    keys -= sharing_a_drawing({hand: {k: d[k] for k in keys} for hand, d in hands.items()})
    words = _keywords(packages.get("emojilib"))
    named = [(key, entries[key], words.get(key, [])) for key in sorted(keys)]
    names = _unique_names(named)
    return [
        _concept(key, names[key], entry, keywords, {hand: d[key] for hand, d in hands.items()})
        for key, entry, keywords in named
    ]


def sharing_a_drawing(hands: Mapping[str, Mapping[str, Path]]) -> set[str]:
    """Keys of the concepts whose drawing is, in some hand, also another concept's."""
    shared: set[str] = set()
    for drawings in hands.values():
        content = {key: path.read_bytes() for key, path in drawings.items()}
        times = Counter(content.values())
        shared |= {key for key, data in content.items() if times[data] > 1}
    return shared


def held_keys(concepts: Collection[Concept], seed: int, fraction: float) -> frozenset[str]:
    """Keys of the concepts that are held: a `fraction` of them, decided by hash(seed, key)."""
    return frozenset(c.key for c in concepts if uniform(seed, "held", c.key) < fraction)


def _keywords(folder: Path | None) -> dict[str, list[str]]:
    """By join key: the name and then the keywords of emojilib; empty without it."""
    if folder is None:
        return {}
    source = folder / "package/dist/emoji-en-US.json"
    listed: dict[str, list[str]] = json.loads(source.read_text(encoding="utf-8"))
    return {
        join_key("-".join(f"{ord(character):04x}" for character in emoji)): [
            plain for word in words if (plain := " ".join(word.replace("_", " ").split()))
        ]
        for emoji, words in listed.items()
    }


def _unique_names(named: Sequence[tuple[str, dict[str, Any], list[str]]]) -> dict[str, str]:
    """By key: emojilib's name where it is one concept's only, Unicode's name else (keycap 2)."""
    times = Counter(words[0].lower() for _, _, words in named if words)
    names = {
        key: words[0].lower() if words and times[words[0].lower()] == 1 else entry["name"].lower()
        for key, entry, words in named
    }
    again = Counter(names.values())
    return {
        key: name if again[name] == 1 else entry["short_name"].replace("_", " ")
        for (key, entry, _), name in zip(named, names.values(), strict=True)
    }


def _concept(
    key: str, name: str, entry: Mapping[str, Any], words: list[str], drawings: Mapping[str, Path]
) -> Concept:
    other = (entry["name"].lower(), entry["short_name"].replace("_", " ").replace("-", " "))
    return Concept(
        key=key,
        name=name,
        other_names=tuple(dict.fromkeys(word for word in other if word != name)),
        keywords=tuple(dict.fromkeys(word for word in words[1:] if word != name)),
        category=entry["category"],
        subcategory=entry["subcategory"],
        drawings=drawings,
    )
