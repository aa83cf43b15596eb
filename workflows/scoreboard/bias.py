"""The bias probes for the scoreboard: FairFace below a root, through every model with texts."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluators.bias import denigration, faces, label_audit, widest
from evaluators.contenders import Contender, Encoder
from evaluators.embed import EmbedConfig
from evaluators.embeddings import embeddings, whole
from evaluators.suites.fairface import find_fairface
from evaluators.suites.found import Audit
from pipelines.datasets import Dataset

Rows = list[dict[str, Any]]


def find_faces(roots: Sequence[Path], out: str) -> tuple[Dataset | None, list[Audit]]:
    """FairFace of the first root that has it, and its line in the list of sets."""
    tried = [find_fairface(root, posixpath.join(out, "sets", "fairface")) for root in roots]
    for found, audit in tried:
        if found is not None:
            return found, [audit]
    return None, [audit for _, audit in tried[:1]]


def bias_views(
    found: Dataset, contenders: Sequence[Contender], config: EmbedConfig
) -> dict[str, Rows]:
    """Rows by view: accuracy by group, denigration by group, and the widest spreads of each."""
    audited: Rows = []
    denigrated: Rows = []
    for contender in contenders:
        model = contender.load()
        if isinstance(model, Encoder):
            seen = faces(whole(embeddings(found, contender, config)))
            audited += label_audit(seen, model.encode_text, contender.name)
            denigrated += denigration(seen, model.encode_text, contender.name)
    return {
        "denigration spread": list(widest(denigrated, ("model", "classes", "labels"))),
        "denigration": denigrated,
        "label audit spread": list(widest(audited, ("model", "named"))),
        "label audit": audited,
    }
