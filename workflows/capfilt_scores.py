"""CapFilt's models on held-out clean pairs: what the filter finds, what is retrieved, what captions
say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotators.captions import Captioner, Matcher
from pipelines.datasets import Dataset
from pipelines.records import uniform

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


def probabilities(
    matcher: Matcher, images: Sequence[bytes], texts: Sequence[str]
) -> npt.NDArray[np.float64]:
    """The matching probability of each pair."""
    prepared = [matcher.prepare(image) for image in images]
    found = matcher.judge(prepared, [[text] for text in texts])
    return np.array([judged[0].probability for judged in found])


def captions_of(captioner: Captioner, pairs: Pairs) -> list[str]:
    """The first caption of each picture; empty where there is none."""
    prepared = [captioner.prepare(image) for image in pairs.images]
    found = captioner.captions(prepared, pairs.ids)
    return [written.texts[0] if written.texts else "" for written in found]
