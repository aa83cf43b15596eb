"""Answers to look at: pictures named right and wrong, and what was found for texts and pictures."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.answers import IMAGE_TO_TEXT, TEXT_TO_IMAGE, ZERO_SHOT
from evaluators.report.collect import Row, least
from evaluators.report.inputs import Match, Naming
from evaluators.shift import answers_of
from evaluators.suites.kinds import Classification, Suite
from pipelines.datasets import Dataset


def namings(
    answers: pa.Table, model: str, suite: Suite, set_name: str, *, n: int = 8, seed: int = 0
) -> list[Naming]:
    """n right and n wrong zero-shot answers of one model about one set."""
    asked = answers_of(answers, model=model, suite=suite.name, dataset=set_name, task=ZERO_SHOT)
    rows = asked.filter(pc.is_valid(asked["rank"])).to_pylist()
    right = least((row for row in rows if row["rank"] == 0), "item", n, seed)
    wrong = least((row for row in rows if row["rank"] > 0), "item", n, seed)
    return _shown((*right, *wrong), suite, set_name)


def _shown(rows: Sequence[Row], suite: Suite, set_name: str) -> list[Naming]:
    images = images_of(suite.sets[set_name].dataset, [row["item"] for row in rows])
    return [
        Naming(
            images.get(row["item"]),
            row["truth"],
            list(zip(row["top"], row["top_scores"], strict=True)),
            row["rank"],
            set_name,
        )
        for row in rows
    ]


def mistakes(answers: pa.Table, model: str, suites: Sequence[Suite], *, n: int = 6) -> list[Naming]:
    """Of every set that was named zero-shot, the n wrong answers with the highest probability.

    A set that several suites ask stands once, with its answers in the first of them.
    """
    found: list[Naming] = []
    for suite in suites:
        for name in suite.sets if isinstance(suite, Classification) else ():
            if name in {one.dataset for one in found}:
                continue
            ours = answers_of(answers, model=model, suite=suite.name, dataset=name)
            asked = answers_of(ours, task=ZERO_SHOT)
            wrong = asked.filter(pc.greater(asked["rank"], 0)).to_pylist()
            worst = heapq.nsmallest(n, wrong, key=lambda row: (-row["top_scores"][0], row["item"]))
            found += _shown(worst, suite, name) if worst else []
    return found


def matches(
    answers: pa.Table, model: str, suite: Suite, set_name: str, *, n: int = 4, seed: int = 0
) -> list[Match]:
    """n retrieval answers each way of one model about one set."""
    asked = answers_of(answers, model=model, suite=suite.name, dataset=set_name)
    to_image = least(answers_of(asked, task=TEXT_TO_IMAGE).to_pylist(), "item", n, seed)
    answered = asked.filter(pc.is_valid(asked["rank"]))
    to_text = least(answers_of(answered, task=IMAGE_TO_TEXT).to_pylist(), "item", n, seed)
    wanted = {i for row in to_image for i in row["top"]} | {row["item"] for row in to_text}
    images = images_of(suite.sets[set_name].dataset, wanted)
    captions = captions_of(suite.sets[set_name].dataset, wanted)
    found = [_text_asked(row, images, captions) for row in to_image]
    return found + [_image_asked(row, images, captions) for row in to_text]


def _text_asked(row: Row, images: Mapping[str, bytes], captions: Mapping[str, set[str]]) -> Match:
    found = [(min(captions[i]), images.get(i), row["item"] in captions[i]) for i in row["top"]]
    return Match(row["item"], None, found, row["rank"])


def _image_asked(row: Row, images: Mapping[str, bytes], captions: Mapping[str, set[str]]) -> Match:
    own = captions[row["item"]]
    return Match(
        row["truth"],
        images[row["item"]],
        [(text, None, text in own) for text in row["top"]],
        row["rank"],
    )


def images_of(dataset: Dataset, ids: Iterable[str]) -> dict[str, bytes]:
    """Encoded images by image_id."""
    wanted, found = pa.array(sorted(set(ids)), pa.string()), {}
    for batch in dataset.batches(["image_id", "image"]):
        for row in batch.filter(pc.is_in(batch.column("image_id"), wanted)).to_pylist():
            found[row["image_id"]] = row["image"]
    return found


def captions_of(dataset: Dataset, ids: Iterable[str]) -> dict[str, set[str]]:
    """All captions of the pictures with these ids; rows of equal bytes are one picture."""
    images = images_of(dataset, ids)
    by_bytes: dict[bytes, set[str]] = {image: set() for image in images.values()}
    for batch in dataset.batches(["image", "class_name"]):
        for row in batch.to_pylist():
            if row["image"] in by_bytes:
                by_bytes[row["image"]].add(row["class_name"])
    return {image_id: by_bytes[image] for image_id, image in images.items()}
