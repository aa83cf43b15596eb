"""Which examples stand in a prompt: drawn at random, or the nearest pictures (RICES).

Examples are questions of the split `train`; where a set has none, the other questions of `test`. An
example never shows the very picture that is asked about. A random draw is a function of (seed, key
of the question). RICES (Yang et al. 2022, arXiv 2109.05014, as Flamingo uses it) takes those whose
pictures have the highest cosine to the one asked about, the most similar last, next to it.

Letters: N questions, S examples, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from evaluators.embed import Embedded
from evaluators.open_ended.questions import TEST, TRAIN, split_of
from evaluators.zero_shot import Vectors, normalise
from pipelines.records import uniform

Rule = Literal["random", "rices"]
QUESTIONS_A_BLOCK = 1024
Pool = tuple[Sequence[str], Sequence[str]]
"""Keys and contents of questions, sorted by key; equal contents are one picture."""


def asked_and_examples(rows: Sequence[tuple[str, str, str]]) -> tuple[Pool, Pool]:
    """Questions, and what examples are drawn from, of rows (key, group, content)."""
    ordered = sorted(rows)
    asked = [row for row in ordered if split_of(row[1]) == TEST]
    train = [row for row in ordered if split_of(row[1]) == TRAIN] or asked
    return _pool(asked), _pool(train)


def _pool(rows: Sequence[tuple[str, str, str]]) -> Pool:
    return [row[0] for row in rows], [row[2] for row in rows]


def random_shots(asked: Pool, examples: Pool, count: int, seed: int) -> dict[str, tuple[str, ...]]:
    """`count` keys for each question; fewer where there are not so many other pictures."""
    found = {}
    keys, contents = examples
    for key, content in zip(*asked, strict=True):
        rng = np.random.default_rng(int(uniform(seed, "shots", key) * 2**53))
        kept: list[str] = []
        for place in rng.permutation(len(keys)) if count else ():
            if contents[place] != content:
                kept.append(keys[place])
            if len(kept) == count:
                break
        found[key] = tuple(kept)
    return found


def nearest_shots(
    asked: Pool, examples: Pool, count: int, seen: Embedded
) -> dict[str, tuple[str, ...]]:
    """`count` keys for each question whose picture has an embedding, the nearest last.

    Ties go to the lower key. A question without an embedding gets none: its picture is broken.
    """
    place = {key: index for index, key in enumerate(seen.image_id.tolist())}
    here = [index for index, key in enumerate(examples[0]) if key in place]
    keys = [examples[0][index] for index in here]
    content_S = np.array([examples[1][index] for index in here])
    found: dict[str, tuple[str, ...]] = dict.fromkeys(asked[0], ())
    ours = [(k, c) for k, c in zip(*asked, strict=True) if k in place]
    if not here or not count or not ours:
        return found
    examples_SD = normalise(seen.vectors[[place[key] for key in keys]])
    for start in range(0, len(ours), QUESTIONS_A_BLOCK):
        block = ours[start : start + QUESTIONS_A_BLOCK]
        asked_ND = normalise(seen.vectors[[place[key] for key, _ in block]])
        content_N = np.array([content for _, content in block])
        nearest = _nearest(asked_ND @ examples_SD.T, content_N, content_S, count)
        found |= {
            key: tuple(keys[s] for s in reversed(row))
            for (key, _), row in zip(block, nearest, strict=True)
        }
    return found


def _nearest(
    cosines_NS: Vectors, content_N: npt.NDArray, content_S: npt.NDArray, count: int
) -> list[list[int]]:
    """Of each row the best `count` places, best first, without the same picture."""
    same_NS = content_N[:, None] == content_S
    order_NS = np.argsort(-np.where(same_NS, -np.inf, cosines_NS), axis=1, kind="stable")
    return [
        [s for s in order[:count].tolist() if not same[s]]
        for order, same in zip(order_NS, same_NS, strict=True)
    ]


def by_rule(
    rule: Rule, asked: Pool, examples: Pool, count: int, seed: int, seen: Embedded | None
) -> Mapping[str, tuple[str, ...]]:
    """The examples of every question. Raises ValueError for RICES without embeddings."""
    if rule == "random":
        return random_shots(asked, examples, count, seed)
    if seen is None:
        raise ValueError("rices needs the embeddings of a CLIP; name one by --open.rices")
    return nearest_shots(asked, examples, count, seen)
