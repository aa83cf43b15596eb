"""Texts of the captioned corpus for the report: how many were kept, at which threshold, and a few
to look at.

Examples are chosen by the hash of (seed, pair_id), and beside them those of which the filter is
surest; only the chosen texts' images are read.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotators.capfilt import SYNTHETIC, WEB, Rule, verdict
from evaluators.report.capfilt_inputs import Block, Example, KeptShares, ShownText
from evaluators.report.inputs import Stage
from pipelines.datasets import Dataset
from pipelines.records import uniform
from workflows.capfilt.figures import LEAST, share

Key = tuple[str, bool]
Row = dict[str, Any]
BLIND, SUREST = 12, 6
STEPS = 200
TITLES: dict[Key, str] = {
    (WEB, True): "Web texts kept",
    (WEB, False): "Web texts dropped",
    (SYNTHETIC, True): "Written captions kept",
    (SYNTHETIC, False): "Written captions dropped",
}


@dataclass(order=True, frozen=True)
class Pick:
    """A text that may be shown; the least order is shown first."""

    order: float
    pair_id: str
    image_id: str = field(compare=False)
    shown: ShownText = field(compare=False)
    other: ShownText | None = field(compare=False)


@dataclass
class Survey:
    """What one pass over the texts finds."""

    rule: Rule
    seed: int
    clean: set[str]
    counts: Counter[Key] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    """Of texts, by the rule; in_clean_set where the picture is taken from the clean pairs."""
    images: Counter[str] = field(default_factory=Counter)
    """By the row's status."""
    values: dict[str, list[float]] = field(default_factory=lambda: {WEB: [], SYNTHETIC: []})
    blind: dict[Key, list[Pick]] = field(default_factory=lambda: {key: [] for key in TITLES})
    surest: dict[Key, list[Pick]] = field(default_factory=lambda: {key: [] for key in TITLES})

    def take(self, row: Row) -> None:
        """Count a row and remember its texts where they may be shown."""
        self.images[row["status"]] += 1
        away = row["image_id"] in self.clean
        texts = [(text, _shown(text, self.rule)) for text in row["texts"]]
        first = {kind: next((s for _, s in texts if s.kind == kind), None) for kind in self.values}
        for text, shown in texts:
            key = (shown.kind, shown.verdict == "kept")
            self.counts[key] += 1
            self.verdicts["in_clean_set" if away else shown.verdict] += 1
            value = self._value(text)
            self.values[shown.kind].append(value)
            other = first[SYNTHETIC if shown.kind == WEB else WEB]
            about = (text["pair_id"], row["image_id"], shown, other)
            self._offer(
                self.blind[key], BLIND, Pick(uniform(self.seed, "report", text["pair_id"]), *about)
            )
            if math.isfinite(value):  # of a text that it did not judge it is not sure at all
                self._offer(self.surest[key], SUREST, Pick(-value if key[1] else value, *about))

    def _value(self, text: Row) -> float:
        judged = text["status"] in ("ok", "too_long") and math.isfinite(text[self.rule.by])
        return float(text[self.rule.by]) if judged else -math.inf

    def _offer(self, best: list[Pick], n: int, pick: Pick) -> None:
        if len(best) < n or pick < best[-1]:
            best[:] = heapq.nsmallest(n, [*best, pick])


def survey(captioned: Dataset, clean: Dataset, rule: Rule, seed: int = 0) -> Survey:
    """One pass over the texts, without the images."""
    ids = set(clean.table(["image_id"]).column(0).to_pylist())
    found = Survey(rule, seed, ids)
    for batch in captioned.batches(["image_id", "texts", "status"]):
        for row in batch.to_pylist():
            found.take(row)
    return found


def _shown(text: Row, rule: Rule) -> ShownText:
    said = verdict(text, rule)
    return ShownText(text["text"], text["kind"], text["probability"], text["similarity"], said)


def blocks(captioned: Dataset, found: Survey) -> Iterator[Block]:
    """The four blocks of examples, with their images."""
    picks = [p for kind in (found.blind, found.surest) for some in kind.values() for p in some]
    images = _images(captioned, {pick.image_id for pick in picks})
    for key, title in TITLES.items():
        blind, surest = (
            [Example(images.get(pick.image_id), pick.shown, pick.other) for pick in some[key]]
            for some in (found.blind, found.surest)
        )
        yield Block(title, blind, surest, found.counts[key])


def _images(captioned: Dataset, ids: set[str]) -> dict[str, bytes]:
    wanted = pa.array(sorted(ids), pa.string())
    images: dict[str, bytes] = {}
    for batch in captioned.batches(["image_id", "image"]):
        rows = batch.filter(pc.is_in(batch.column("image_id"), wanted)).to_pylist()
        images.update({row["image_id"]: row["image"] for row in rows})
    return images


def kept_shares(found: Survey) -> KeptShares:
    """Share of texts at or above each of STEPS + 1 thresholds, of all texts of the kind."""
    thresholds = np.linspace(LEAST[found.rule.by], 1.0, STEPS + 1)
    shares, kept = [], []
    for kind in (WEB, SYNTHETIC):
        values = np.sort(np.array(found.values[kind], np.float64))
        above = len(values) - np.searchsorted(values, thresholds, side="left")
        shares.append(above / max(len(values), 1))
        kept.append(share(found.counts[kind, True], len(values)))
    counts = (len(found.values[WEB]), len(found.values[SYNTHETIC]))
    return KeptShares(thresholds, shares[0], shares[1], *counts, kept[0], kept[1])


def text_funnel(found: Survey, samples: Dataset, clean: Dataset) -> Iterator[Stage]:
    """The texts from the web's to the new corpus'."""
    web, every = len(found.values[WEB]), sum(found.verdicts.values())
    images = sum(found.images.values())
    failed = {status: n for status, n in found.images.items() if status != "ok"}
    yield Stage("Web", web, "texts", f"Of {images:,} images, held-out ones left out.")
    said = f"{every - web:,} texts that the web did not have, beside the web's."
    if failed:
        listed = ", ".join(f"{status} {n:,}" for status, n in sorted(failed.items()))
        said += f" No caption for {sum(failed.values()):,} images: {listed}."
    yield Stage("Captions written", every, "texts", said)
    dropped = {reason: n for reason, n in sorted(found.verdicts.items()) if reason != "kept"}
    rule = found.rule
    said = f"{rule.by} of at least {rule.threshold:g}" if rule.filtered else "every text it read"
    empty = samples.manifest.dropped.get("no_text_kept", 0)
    said = f"The rule keeps {said}; {empty:,} images have no text left."
    yield Stage("Filter", found.verdicts["kept"], "texts", said, dropped)
    total = _count_texts(samples)
    said = f"{samples.manifest.rows:,} images, {clean.manifest.rows:,} of them clean pairs'."
    yield Stage("New corpus", total, "texts", said)


def _count_texts(samples: Dataset) -> int:
    batches = samples.batches(["texts"])
    return sum(int(pc.sum(pc.list_value_length(b.column(0))).as_py() or 0) for b in batches)
