"""What writes captions and what judges them: two small protocols, so that any model can be either.

An image reaches a model in the form that it asks for (`prepare`), made in a stage of its own so
that decoding overlaps the model. What fails is a status and a reason beside the image or the text
that it concerns; the batch goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

OK = "ok"


@dataclass(frozen=True)
class Written:
    """Captions of one image, or why there are none."""

    texts: tuple[str, ...] = ()
    status: str = OK
    """ok, or a reason such as over_budget or http_503."""
    detail: str = ""
    """What was seen, for a person."""


@dataclass(frozen=True)
class Judged:
    """How well one text fits its image."""

    similarity: float = float("nan")
    """Cosine of the contrastive features; NaN where the model has none."""
    probability: float = float("nan")
    """That the text fits; NaN where status is not ok."""
    status: str = OK
    """ok; too_long (judged by its beginning); empty_text; unknown_script."""


Prepare = Callable[[bytes], Any]
"""An encoded image to what a model takes; raises where the image cannot be decoded. Picklable."""


class Captioner(Protocol):
    """Writes captions."""

    @property
    def prepare(self) -> Prepare:
        """How an image becomes what this model takes."""

    def captions(self, images: Sequence[Any], keys: Sequence[str]) -> list[Written]:
        """What `prepare` made of each image to its captions; random numbers come from `keys`, the
        images' ids, so that what else is in the batch changes nothing.
        """


class Matcher(Protocol):
    """Judges whether a text fits an image."""

    @property
    def prepare(self) -> Prepare:
        """How an image becomes what this model takes."""

    def judge(self, images: Sequence[Any], texts: Sequence[Sequence[str]]) -> list[list[Judged]]:
        """For each image a judgement of each of its texts, in order."""
