"""Cards for a report: of the checkpoint, and of every corpus that its manifests lead to."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.report.cards.dataset import dataset_card
from evaluators.report.cards.model import model_card
from evaluators.report.cards.page import CardPage
from pipelines.datasets import MANIFEST, open_dataset
from pipelines.lineage import ancestors
from pipelines.storage import filesystem

CORPORA = ("samples", "captioned")


def cards_of(checkpoint: str, scores: Sequence[Mapping[str, Any]] = ()) -> list[CardPage]:
    """The model's card, then a card a corpus, those it was trained on directly first."""
    cards = [model_card(checkpoint, f"Model card of {_last(checkpoint)}", scores)]
    fs, inner = filesystem(posixpath.join(checkpoint, MANIFEST))
    if not fs.get_file_info(inner).is_file:
        return cards
    nodes = [n for n in ancestors(checkpoint) if n.name in CORPORA and n.dataset is not None]
    for node in {node.path: node for node in sorted(nodes, key=lambda n: n.depth)}.values():
        assert node.dataset is not None
        cards.append(dataset_card(node.dataset, f"Dataset card of {_last(node.path)}"))
    return cards


def card_of(path: str, scores: Sequence[Mapping[str, Any]] = ()) -> CardPage:
    """The card of what lies at `path`: a checkpoint, or a dataset with rows."""
    fs, inner = filesystem(posixpath.join(path, MANIFEST))
    if fs.get_file_info(inner).is_file:
        found = open_dataset(path)
        if found.manifest.schema:
            return dataset_card(found, f"Dataset card of {_last(path)}")
    return model_card(path, f"Model card of {_last(path)}", scores)


def _last(path: str) -> str:
    return posixpath.basename(posixpath.normpath(path))
