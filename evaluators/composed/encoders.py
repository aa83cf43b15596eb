"""What makes one vector of a picture and words: Pic2Word, and what any CLIP can do without it.

    composed        the picture becomes a word of the sentence (Pic2Word)
    image           the picture alone
    text            the words alone
    image + text    the mean of both, each of length 1

This module imports torch only where a network is loaded.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np

from evaluators.contenders import Contender, Encoder, Model
from evaluators.zero_shot import Vectors, normalise

if TYPE_CHECKING:
    from models.pixels import Fit

COMPOSED, IMAGE, TEXT, MEAN = "composed", "image only", "text only", "image + text"


@runtime_checkable
class Composer(Protocol):
    """A model that reads a picture as a word."""

    def compose(self, starred: list[str], images_QD: Vectors) -> Vectors:
        """(Q, D) of texts with a `*` each, and of what `encode_image` made of their pictures."""


def ways_of(model: Model) -> tuple[str, ...]:
    """In which ways a model can ask; none for one without texts."""
    if not isinstance(model, Encoder):
        return ()
    return (COMPOSED, IMAGE, TEXT, MEAN) if isinstance(model, Composer) else (IMAGE, TEXT, MEAN)


def query_vectors(
    model: Encoder, way: str, starred: list[str], words: list[str], images_QD: Vectors
) -> Vectors:
    """(Q, D), of any length, of Q queries asked in one of the ways."""
    if way == IMAGE:
        return images_QD
    if way == COMPOSED:
        return cast(Composer, model).compose(starred, images_QD)
    distinct = list(dict.fromkeys(words))
    place = {text: index for index, text in enumerate(distinct)}
    texts_QD = model.encode_text(distinct)[[place[text] for text in words]]
    if way == TEXT:
        return texts_QD
    return np.asarray(normalise(images_QD) + normalise(texts_QD), dtype=np.float32)


def pic2word_contender(name: str, path: str, fit: Fit = "crop") -> Contender:
    """The Pic2Word in a folder of ours."""
    from models.weights import content_hash
    from pipelines.datasets import DatasetError, open_dataset

    load = partial(_load, path, fit)
    try:
        return Contender(name, load, (open_dataset(path),), fit)
    except DatasetError:
        return Contender(name, load, (), {"fit": fit, "weights": content_hash(path)})


def _load(path: str, fit: Fit) -> Model:
    from evaluators.composed.network import Pic2WordEncoder

    return Pic2WordEncoder(path, fit)
