"""Annotated screens beside the DOM's truth: what was found, missed, made up and misread.

The schemas of `sightmill screens` are laid beside the truth of the same rendered screens, element
by element (`evaluators.screens`) and word by word (`evaluators.screen_texts`). Words are those of
the finished schema, so they went through OCR, the least confidence, and merging; the names of icons
and the captions of pictures are none of them. The DOM knows no text that is painted in a picture
or a canvas: what was read inside of true pictures counts on neither side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotators.screen import grammar
from annotators.screen.schema import Element, Schema
from annotators.screen.truth import true_schema
from evaluators.screen_texts import counts, word_f1, words
from evaluators.screens import THRESHOLDS, Counts, annotation_f1, pair
from pipelines.datasets import Dataset
from workflows.console import Update
from workflows.job import Job
from workflows.screens.scored import figure, write_scores

AT = THRESHOLDS[1]
"""IoU from which an element of a single screen counts as found."""
PAINTED = ("IMAGE", "MAP")
"""Classes in which text may be that the DOM does not know."""
UNSAID = ("PICTOGRAM", "IMAGE")
"""Classes whose texts are names and captions, not what stands on them."""
DESKTOP = "desktop"
"""Screens of 1280 x 800 pixels."""


@dataclass(frozen=True)
class Beside:
    """One screen: its annotation and its truth."""

    image_id: str
    image: bytes
    template: str
    page: str
    device: str
    theme: str
    language: str
    found: Schema
    truth: Schema

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.template}, {self.page} ({self.device}, {self.theme}, {self.language})"

    def elements(self) -> tuple[Counts, list[Element], list[Element]]:
        """Pairs at IoU `AT` within classes; the true elements missed; those made up."""
        ours, theirs = (_found(side) for side in (self.found, self.truth))
        pairs = pair(ours, theirs, AT)
        hit_ours, hit_theirs = ({one[side] for one in pairs} for side in (0, 1))
        missed = [e for place, e in enumerate(self.truth) if place not in hit_theirs]
        made_up = [e for place, e in enumerate(self.found) if place not in hit_ours]
        return Counts(len(pairs), len(ours), len(theirs)), missed, made_up

    def words(self) -> tuple[Counter[str], Counter[str]]:
        """The words that were read and the true ones, without those in pictures."""
        pictures = [e for e in self.truth if e.kind in PAINTED]
        return _words(self.found, pictures), _words(self.truth, pictures)


def _found(schema: Schema) -> list[tuple[str, Sequence[float]]]:
    return [(element.kind, element.box) for element in schema]


def _words(schema: Schema, pictures: Sequence[Element]) -> Counter[str]:
    said = [e for e in schema if e.kind not in UNSAID]
    return words(e.text for e in said if not any(_inside(e, picture) for picture in pictures))


def _inside(element: Element, picture: Element) -> bool:
    """Whether the middle of an element lies in a picture."""
    one, around = element.box, picture.box
    x, y = (one.x0 + one.x1) / 2, (one.y0 + one.y1) / 2
    return around.x0 <= x <= around.x1 and around.y0 <= y <= around.y1


def beside(screens: Dataset, schemas: Dataset) -> Iterator[Beside]:
    """The annotated screens that have a truth, by their ids; `schemas` has the ids as origins."""
    kept = ["screen_id", "template", "page", "device", "theme", "language"]
    columns = [*kept, "width", "height", "truth", "status"]
    true: dict[str, dict[str, Any]] = {}
    for batch in screens.batches(columns, batch_size=32):
        for row in batch.to_pylist():
            if row["status"] == "ok":
                true[row["screen_id"]] = row
    rows = (
        row
        for batch in schemas.batches(["image_id", "origin", "image", "screen"], batch_size=32)
        for row in batch.to_pylist()
    )
    for row in sorted(rows, key=lambda one: str(one["origin"])):
        if row["origin"] in true:
            yield _beside(row, true[row["origin"]])


def _beside(row: Mapping[str, Any], screen: Mapping[str, Any]) -> Beside:
    about = {name: screen[name] for name in ("template", "page", "device", "theme", "language")}
    found, truth = grammar.parse(row["screen"]), true_schema(screen)
    return Beside(row["image_id"], row["image"], **about, found=found, truth=truth)


def score_annotation(job: Job, folder: str, screens: Dataset, schemas: Dataset) -> Dataset:
    """The dataset `scores` of the annotated screens in the job's `folder`."""

    def write(path: str, update: Update) -> Mapping[str, int]:
        compared = list(beside(screens, schemas))
        write_scores(path, [*_annotation(compared), *_reading(compared)])
        return {}

    config = {"thresholds": THRESHOLDS, "painted": PAINTED, "unsaid": UNSAID}
    return job.build(
        "score annotation",
        "scores",
        write,
        folder=folder,
        config=config,
        parents=[screens, schemas],
    )


def _annotation(compared: Sequence[Beside]) -> Iterator[dict[str, Any]]:
    sides = [(_found(one.found), _found(one.truth)) for one in compared]
    for threshold in THRESHOLDS:
        metric = f"f1 at IoU {threshold:g}"
        whole = annotation_f1(sides, threshold)
        spread = whole.f1.standard_error
        yield figure("annotation", "all classes", metric, whole.f1.value, whole.counts.true, spread)
        apart = annotation_f1(sides, threshold, same_class=False)
        spread = apart.f1.standard_error
        yield figure("annotation", "one class", metric, apart.f1.value, apart.counts.true, spread)
        for kind, one in whole.by_class.items():
            yield figure("annotation", kind, metric, one.f1, one.true)


def _reading(compared: Sequence[Beside]) -> Iterator[dict[str, Any]]:
    """By groups of screens; the recogniser knows English letters only."""
    groups: dict[str, list[Beside]] = {}
    for one in compared:
        language = "English" if one.language.split("-")[0] == "en" else "other languages"
        size = "1280 x 800" if one.device == DESKTOP else f"{one.device}s"
        groups.setdefault(f"{size}, {language}", []).append(one)
        groups.setdefault(f"all sizes, {language}", []).append(one)
    for name, of in sorted(groups.items()):
        whole = word_f1([one.words() for one in of])
        found = whole.counts
        spread = whole.f1.standard_error
        yield figure("reading", name, "word f1", whole.f1.value, found.true, spread)
        yield figure("reading", name, "word precision", found.precision, found.predicted)
        yield figure("reading", name, "word recall", found.recall, found.true)


def worst(compared: Sequence[Beside], most: int) -> list[Beside]:
    """The screens of the lowest F1 of elements, the worst first; those without any are left out."""
    scored = [(one.elements()[0].f1, one.image_id, one) for one in compared]
    known = [one for one in scored if not math.isnan(one[0])]
    return [one for _, _, one in sorted(known, key=lambda one: one[:2])[:most]]


def read_counts(one: Beside) -> Counts:
    """Words of one screen."""
    return counts(*one.words())
