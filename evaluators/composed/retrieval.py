"""Composed retrieval: each query's right pictures' places among those that it searches.

A query may have several right pictures (every cartoon of a goldfish): its recall at k is the share
of them among the k nearest, as in Pic2Word's code; with one right picture that is a hit or not.
Ties go to the picture that comes first by name. CIRR's subset recall searches a handful of pictures
that are alike. Queries are handled in blocks: no matrix of all queries stands in memory.

Letters: Q queries, G pictures that are searched, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluators.composed.encoders import query_vectors
from evaluators.contenders import Encoder
from evaluators.embed import Embedded
from evaluators.zero_shot import Vectors, normalise

Row = dict[str, Any]
QUERIES_A_BLOCK = 1024
DEPTH = 50
"""How many of the nearest are kept of each query, and the largest k of a recall."""
KEPT = 5


def answered(
    model: Encoder, way: str, queries: Sequence[Row], seen: Embedded, hidden_reference: bool
) -> Iterator[Row]:
    """Rows of `composed_answers`, gallery by gallery; what cannot be asked has a status."""
    place = {name: index for index, name in enumerate(seen.class_name.tolist())}
    for gallery in sorted({query["gallery"] for query in queries}):
        names = sorted(seen.class_name[seen.group == gallery].tolist())
        where = {name: index for index, name in enumerate(names)}
        searched = normalise(seen.vectors[[place[name] for name in names]])
        ours = [query for query in queries if query["gallery"] == gallery]
        good = []
        for query in ours:
            if query["reference"] not in place:
                yield _row(query, "undecodable")
            elif not any(name in where for name in query["targets"]):
                yield _row(query, "no_target")
            else:
                good.append(query)
        for start in range(0, len(good), QUERIES_A_BLOCK):
            block = good[start : start + QUERIES_A_BLOCK]
            asked = query_vectors(
                model,
                way,
                [query["starred"] for query in block],
                [query["words"] for query in block],
                seen.vectors[[place[query["reference"]] for query in block]],
            )
            scores = normalise(asked) @ searched.T
            for query, scores_G in zip(block, scores, strict=True):
                yield _placed(query, scores_G, names, where, hidden_reference)


def _row(query: Row, status: str) -> Row:
    return {
        **{name: query[name] for name in ("image_id", "reference", "group")},
        "status": status,
        "candidates": 0,
        "partners": 0,
        "places": [],
        "subset": 0,
        "subset_place": None,
        "top": [],
        "top_scores": [],
    }


def _placed(
    query: Row, scores_G: Vectors, names: list[str], where: Mapping[str, int], hidden: bool
) -> Row:
    """One query's places, among all that it searches and in its subset."""
    reference = where.get(query["reference"]) if hidden else None
    if reference is not None:
        scores_G[reference] = -np.inf
    order = np.argsort(-scores_G, kind="stable")[: len(names) - (reference is not None)]
    targets = [where[name] for name in query["targets"] if name in where]
    alike = [where[name] for name in query["subset"] if name in where]
    subset_place = None
    if alike and targets[0] in alike:
        subset_place = int(np.flatnonzero(_ordered(scores_G, alike) == targets[0])[0])
    return {
        **_row(query, "ok"),
        "candidates": len(order),
        "partners": len(targets),
        "places": np.flatnonzero(np.isin(order[:DEPTH], targets)).tolist(),
        "subset": len(alike),
        "subset_place": subset_place,
        "top": [names[index] for index in order[:KEPT]],
        "top_scores": scores_G[order[:KEPT]].tolist(),
    }


def _ordered(scores_G: Vectors, some: list[int]) -> npt.NDArray[np.int64]:
    index = np.array(sorted(some), dtype=np.int64)
    return index[np.argsort(-scores_G[index], kind="stable")]
