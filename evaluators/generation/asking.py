"""The suite `generation`: pictures drawn for captions, against the real ones and the captions.

`OUT/generation/MODEL/SET` holds the pictures with their prompts. A CLIP, the eye, sees both the
real and the drawn ones: its features make the Fréchet distance, its cosines the CLIP score, which
stands beside it for the real pictures with the same prompts.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from evaluators.contenders import Contender, Encoder
from evaluators.embed import EmbedConfig, Embedded
from evaluators.embeddings import embeddings, whole
from evaluators.figures import score_row
from evaluators.generation.clip_score import clip_scores
from evaluators.generation.drawing import Painter, drawn, prompts_of
from evaluators.generation.frechet import frechet
from evaluators.score import Extra, folder_name
from evaluators.statistics import Rate, mean_of, rate
from evaluators.suites.kinds import Source
from pipelines.datasets import Dataset

SUITE = "generation"
REAL = "real pictures"
BATCH = 16


def generation(
    painters: Sequence[Painter],
    folders: Mapping[str, Dataset],
    real: Mapping[str, Source],
    eye: Contender,
    out: str,
    config: EmbedConfig,
    most: int,
) -> Extra:
    """Every painter for the captions of every set, at most `most`; every folder as it is.

    Args:
        folders: pictures that were drawn elsewhere, by the name of what drew them.
        real: retrieval sets, whose classes are captions.
    """
    found: dict[tuple[str, str], Dataset] = {}
    for name, source in real.items():
        for painter in painters:
            prompts = prompts_of(source.dataset, source.group, most)
            where = posixpath.join(out, SUITE, folder_name(painter.name), name)
            found[name, painter.name] = drawn(painter, prompts, source.dataset, where, BATCH)
        found |= {(name, model): dataset for model, dataset in folders.items()}
    seen = {
        one.path: embeddings(one, eye, config)
        for one in (*found.values(), *(source.dataset for source in real.values()))
    }

    def rows() -> Iterator[dict[str, Any]]:
        model = cast(Encoder, eye.load())
        shown = {path: whole(one) for path, one in seen.items()}
        for name, source in real.items():
            theirs = shown[source.dataset.path].of(source.group)
            yield _row(name, "clip_score", REAL, _clip_score(model, theirs))
            for (of, painter), dataset in found.items():
                if of == name:
                    for metric, one in _figures(model, theirs, shown[dataset.path]):
                        yield _row(name, metric, painter, one)

    return Extra(SUITE, tuple(seen.values()), rows, {"eye": eye.name})


def _row(name: str, metric: str, model: str, found: Rate) -> dict[str, Any]:
    return score_row((SUITE, name, "all", metric), model, found)


def _figures(model: Encoder, real: Embedded, ours: Embedded) -> Iterator[tuple[str, Rate]]:
    """The share that decodes, and what the pictures that do are like."""
    n, broken = len(ours.image_id), len(ours.undecodable)
    yield "drawn", rate(np.arange(n + broken) < n)
    yield "clip_score", _clip_score(model, ours)
    _, first = np.unique(real.content, return_index=True)  # a picture has a row a caption
    if n > 1 and len(first) > 1:
        yield "fid", frechet(real.vectors[first], ours.vectors)


def _clip_score(model: Encoder, seen: Embedded) -> Rate:
    texts = list(dict.fromkeys(seen.class_name.tolist()))
    place = {text: index for index, text in enumerate(texts)}
    vectors = model.encode_text(texts)[[place[text] for text in seen.class_name.tolist()]]
    return mean_of(clip_scores(seen.vectors, vectors).tolist())
