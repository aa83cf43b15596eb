"""A model's answers over one evaluation set, item by item: the rows of a predictions dataset.

Naming (zero-shot or supervised) gives a row an image. Matching gives a row an image (which text?)
and a row a distinct text (which image?). An image that could not be decoded gives a row without a
rank: it is unanswered, which is not the same as wrong, and is counted apart.

Letters: N images, C classes, M distinct texts, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.contenders import Classifier, Encoder, Model
from evaluators.embed import Embedded
from evaluators.retrieval import Indices, Retrieved, retrieve
from evaluators.supervised import align, supervised_ranks
from evaluators.zero_shot import (
    Vectors,
    class_embeddings,
    class_logits,
    top_classes,
    zero_shot_ranks,
)

TOP = 5
IMAGES_A_BLOCK = 2048
ZERO_SHOT, IMAGE_TO_TEXT, TEXT_TO_IMAGE = "zero_shot", "image_to_text", "text_to_image"
Row = dict[str, Any]


@dataclass(frozen=True)
class Contest:
    """What a model says of `classes`: its vectors to logits (N, C), made once for all sets."""

    classes: list[str]
    logits: Callable[[Vectors], Vectors]
    ranks: Callable[[Vectors, Indices], Indices]


def contest(
    model: Model, classes: list[str], templates: tuple[str, ...], said: Sequence[str] = ()
) -> Contest:
    """An encoder becomes a zero-shot classifier; a classifier's logits are put in our order.

    `said`: the classes as prompts say them, where that differs; two classes may be said alike.
    """
    if isinstance(model, Classifier):
        own = model.classes
        return Contest(
            classes,
            lambda vectors: align(vectors, own, classes),
            lambda vectors, labels: supervised_ranks(vectors, own, classes, labels),
        )
    if not isinstance(model, Encoder):
        raise ValueError(
            f"{type(model).__name__} has neither texts nor classes, so it names nothing"
        )
    scale, words = model.logit_scale, list(dict.fromkeys(said or classes))
    place = {word: index for index, word in enumerate(words)}
    rows_WD = class_embeddings(model.encode_text, words, templates)
    classifier_CD = rows_WD[[place[word] for word in said or classes]]
    return Contest(
        classes,
        lambda vectors: scale * class_logits(vectors, classifier_CD),
        lambda vectors, labels: zero_shot_ranks(vectors, classifier_CD, labels),
    )


def named(asked: Contest, seen: Embedded) -> Iterator[Row]:
    """Rows of a classification set: the true class's rank, and the softmax of the best five."""
    classes, n_classes = asked.classes, len(asked.classes)
    index = {name: label for label, name in enumerate(classes)}
    labels_N = np.array([index[name] for name in seen.class_name], dtype=np.int64)
    ranks_N = asked.ranks(seen.vectors, labels_N)
    for start in range(0, len(labels_N), IMAGES_A_BLOCK):
        logits = asked.logits(seen.vectors[start : start + IMAGES_A_BLOCK])
        top, chances = top_classes(logits, TOP), _softmax(logits)
        for i, n in enumerate(range(start, start + len(logits))):
            row = _asked(ZERO_SHOT, str(seen.image_id[n]), str(seen.class_name[n]), n_classes)
            yield _answered(row, ranks_N[n], [classes[c] for c in top[i]], chances[i, top[i]])
    for image_id, name, _ in seen.undecodable:
        yield _asked(ZERO_SHOT, image_id, name, n_classes)


def _softmax(logits_NC: Vectors) -> Vectors:
    e = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def matched(model: Encoder, template: str, seen: Embedded) -> Iterator[Row]:
    """Rows of a retrieval set, both ways; equal bytes are one image, equal captions one text."""
    _, first, image_of = np.unique(seen.content, return_index=True, return_inverse=True)
    texts, text_of = np.unique(seen.class_name, return_inverse=True)
    pairs = np.unique(np.stack([image_of, text_of], axis=1), axis=0)
    images_ND = seen.vectors[first]
    texts_MD = model.encode_text([template.format(text) for text in texts.tolist()])
    ids = seen.image_id[first].tolist()
    to_text = retrieve(images_ND, texts_MD, pairs, TOP)
    yield from _retrieved(IMAGE_TO_TEXT, ids, texts.tolist(), pairs, to_text)
    to_image = retrieve(texts_MD, images_ND, pairs[:, ::-1], TOP)
    yield from _retrieved(TEXT_TO_IMAGE, texts.tolist(), ids, pairs[:, ::-1], to_image)
    for image_id, text, _ in seen.undecodable:
        yield _asked(IMAGE_TO_TEXT, image_id, text, len(texts))


def _retrieved(
    task: str, queries: list[str], gallery: list[str], pairs_P2: Indices, found: Retrieved
) -> Iterator[Row]:
    partners = np.bincount(pairs_P2[:, 0], minlength=len(queries))
    partner_of = dict(pairs_P2[::-1].tolist())  # of several partners the first stands for all
    for q, query in enumerate(queries):
        row = _asked(task, query, gallery[partner_of[q]], len(gallery))
        row["partners"] = int(partners[q])
        yield _answered(
            row, found.ranks[q], [gallery[g] for g in found.nearest[q]], found.cosines[q]
        )


def _asked(task: str, item: str, truth: str, candidates: int) -> Row:
    """A row without an answer yet."""
    return {
        "task": task,
        "item": item,
        "truth": truth,
        "rank": None,
        "candidates": candidates,
        "partners": 1,
        "top": [],
        "top_scores": [],
    }


def _answered(row: Row, rank: np.int64, top: list[str], scores: Vectors) -> Row:
    return {**row, "rank": int(rank), "top": top, "top_scores": scores.tolist()}
