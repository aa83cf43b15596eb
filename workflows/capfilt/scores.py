"""CapFilt's held-out clean pairs: which captions are swapped, what is retrieved, what captions are
written, what the web said.

The noise is known where captions of other pictures are put in (`swapped`). What the web said about
held-out pictures is known where the corpus holds them too: near-duplicates, which no model was
trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotators.blip import BLIPMatcher
from annotators.captions import Captioner
from evaluators.retrieval import retrieve
from evaluators.statistics import Interval
from evaluators.zero_shot import Vectors
from pipelines.datasets import Dataset
from pipelines.records import uniform
from pipelines.web.dedup import FINGERPRINT, DedupConfig, near_duplicates
from workflows.capfilt.figures import share

SWAPPED = 0.3


@dataclass(frozen=True)
class Pairs:
    """Held-out pictures, as a model takes them, and one clean caption of each."""

    ids: list[str]
    images: list[bytes]
    texts: list[str]


def pairs_of(held_out: Dataset) -> Pairs:
    """The first caption of every picture, sorted by image_id."""
    rows = held_out.table(["image_id", "image", "texts"]).sort_by("image_id").to_pylist()
    return Pairs(
        [row["image_id"] for row in rows],
        [row["image"] for row in rows],
        [row["texts"][0]["text"] for row in rows],
    )


def swapped(pairs: Pairs, seed: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """A caption for every picture, SWAPPED of them another picture's, and which: the known noise.

    A swapped caption always says something else than the picture's own.
    """
    draws = np.array([uniform(seed, "swap", key) for key in pairs.ids])
    wrong = draws < np.quantile(draws, SWAPPED)
    donors = np.argsort([uniform(seed, "donor", key) for key in pairs.ids])
    texts = list(pairs.texts)
    for place in np.flatnonzero(wrong):
        start = int(uniform(seed, "start", pairs.ids[place]) * len(donors))
        order = np.roll(donors, -start)
        other = next(d for d in order if pairs.texts[d] != pairs.texts[place])
        texts[place] = pairs.texts[other]
    return texts, wrong


def captions_of(captioner: Captioner, pairs: Pairs) -> list[str]:
    """The first caption of each picture; empty where there is none."""
    prepared = [captioner.prepare(image) for image in pairs.images]
    found = captioner.captions(prepared, pairs.ids)
    return [written.texts[0] if written.texts else "" for written in found]


def retrieved(matcher: BLIPMatcher, pairs: Pairs) -> dict[str, Interval]:
    """R@1 by the contrastive features, both ways, with Wilson's intervals; an equal caption of
    another picture counts.
    """
    image_BE, text_BE = matcher.features([matcher.prepare(i) for i in pairs.images], pairs.texts)
    _, same = np.unique(pairs.texts, return_inverse=True)
    partners = np.argwhere(same[:, None] == same[None, :])

    def first(queries: Vectors, gallery: Vectors) -> Interval:
        ranks = retrieve(queries, gallery, partners).ranks
        return share(int((ranks == 0).sum()), len(ranks))

    return {
        "image_to_text_r1": first(image_BE, text_BE),
        "text_to_image_r1": first(text_BE, image_BE),
    }


def web_texts(source: Dataset, held_out: Dataset, seed: int) -> dict[str, str]:
    """A text, drawn at random, that `source` has for each held-out picture that it holds too."""
    looks, shown = (dataset.table(FINGERPRINT.names) for dataset in (source, held_out))
    twins = near_duplicates(looks, shown, DedupConfig()).to_pylist()
    wanted = {twin["image_id"]: twin["other_id"] for twin in twins}
    found: dict[str, str] = {}
    for batch in source.batches(["image_id", "texts"]):
        for row in batch.to_pylist():
            texts = [text["text"] for text in row["texts"]]
            if row["image_id"] in wanted and texts:
                draw = uniform(seed, "web text", row["image_id"])
                found[wanted[row["image_id"]]] = texts[int(draw * len(texts))]
    return found
