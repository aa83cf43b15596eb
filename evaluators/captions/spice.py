"""SPICE (Anderson et al., arXiv 1607.08822), where what it needs is there; otherwise left out.

SPICE parses captions into scene graphs with Stanford CoreNLP 3.6 and compares their objects,
attributes and relations. There is no other implementation, so pycocoevalcap's is called. It needs
Java, 8 GB of memory and two CoreNLP jars (600 MB) that no package contains and that it would fetch
by itself: here they must lie in its folder spice/lib already, and nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluators.captions.scored import Scored, check_pairing, mean_scored

JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def missing() -> str | None:
    """Why SPICE cannot be counted here; None if it can."""
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None:
        return "pycocoevalcap is not installed"
    if shutil.which("java") is None:
        return "there is no java on the path"
    folders = [Path(folder) / "spice" / "lib" for folder in spec.submodule_search_locations or ()]
    absent = [jar for jar in JARS if not any((folder / jar).exists() for folder in folders)]
    return f"{', '.join(absent)} not in pycocoevalcap's spice/lib" if absent else None


def spice(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """SPICE's F-score in [0, 1] of tokenized captions: candidates (N,), references of each.

    Raises:
        RuntimeError: what it needs is not there; the reason is what `missing` says.
    """
    if reason := missing():
        raise RuntimeError(f"SPICE: {reason}")
    check_pairing(candidates, references)
    from pycocoevalcap.spice.spice import Spice  # type: ignore[import-untyped]

    keys = [f"{i:09d}" for i in range(len(candidates))]  # its scores come back sorted by key
    _, scores = Spice().compute_score(
        {key: list(refs) for key, refs in zip(keys, references, strict=True)},
        {key: [candidate] for key, candidate in zip(keys, candidates, strict=True)},
    )
    return mean_scored(np.array([score["All"]["f"] for score in scores], dtype=np.float64))
