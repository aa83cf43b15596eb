"""What stands beside the scores of a CLIP: probes on faces by group, and full fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.contenders import Contender
from evaluators.score import ScoreConfig
from evaluators.suites.found import Audit
from evaluators.suites.kinds import Suite
from pipelines.datasets import Dataset
from workflows.console import Console
from workflows.job import Job
from workflows.scoreboard.bias import bias_views, find_faces
from workflows.scoreboard.fine_tune import fine_tuned

if TYPE_CHECKING:
    from workflows.score import ScoreRecipe

Tables = dict[str, list[dict[str, Any]]]
PACKAGES = "packages"
"""The data root that holds no published set of its own."""


@dataclass(frozen=True)
class Further:
    """Tables by title; empty where nothing was asked or found."""

    bias: Tables = field(default_factory=dict)
    fine_tuned: Tables = field(default_factory=dict)


def faces_of(
    recipe: ScoreRecipe, suites: Sequence[Suite], roots: Sequence[Path]
) -> tuple[Dataset | None, list[Audit]]:
    """FairFace below the roots, where a model with suites over embeddings is asked about all sets,
    and its line in the list of sets.
    """
    if recipe.only or not suites:
        return None, []
    return find_faces([root for root in roots if root.name != PACKAGES], recipe.out)


def further(
    recipe: ScoreRecipe,
    models: Sequence[Contender],
    suites: Sequence[Suite],
    faces: Dataset | None,
    config: ScoreConfig,
    console: Console,
) -> Further:
    """Both, of `models`, the first of which is the checkpoint under test."""
    bias = bias_views(faces, models, config.embed) if faces is not None else {}
    if not recipe.fine_tune.sets:
        return Further(bias)
    if not models:
        raise ValueError(f"fine_tune.sets {recipe.fine_tune.sets}: no set was found; legal: none")
    job = Job(recipe.out, recipe.engines, console)
    tuned = fine_tuned(
        job, recipe.fine_tune, recipe.checkpoint, models[0], suites, config, recipe.fit
    )
    return Further(bias, tuned)
