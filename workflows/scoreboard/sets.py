"""The sets that a recipe's roots hold: found, checked, and put into the suites that are asked."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.suites.assemble import PROTOCOLS, shown, source_of, suites_of
from evaluators.suites.catalogue import catalogue
from evaluators.suites.found import Audit, FoundSet, find
from evaluators.suites.kinds import Classification, Source, Suite
from evaluators.suites.open_sets import open_catalogue
from pipelines import datasets, storage
from pipelines.datasets import open_dataset
from workflows.console import Console
from workflows.scoreboard.abilities import FEW_SHOT, GENERATION
from workflows.scoreboard.packaged import packaged

if TYPE_CHECKING:
    from workflows.score import ScoreRecipe

GIVEN = "given"


@dataclass(frozen=True)
class Gathered:
    """What the roots hold."""

    suites: Sequence[Suite]
    """Those of the protocols over embeddings."""
    audits: Sequence[Audit]
    """Of every set that was looked for."""
    roots: Sequence[Path]
    classified: Mapping[str, Source]
    """Classification sets, by the name in tables."""
    captioned: Mapping[str, Source]
    """Retrieval sets, by the name in tables."""


def gather(recipe: ScoreRecipe, asked: Sequence[str], console: Console) -> Gathered:
    """The suites to score, and of every set in the catalogue what was found."""
    given = [path for path in recipe.data if is_dataset(path)]
    roots = [Path(path) for path in recipe.data if path not in given]
    if recipe.packages:
        roots.append(Path(recipe.out) / "packages")
        with console.task("packages"):
            left_out = packaged(Path(recipe.cache), roots[-1])
        for name, why in left_out.items():
            console.say(f"without {name}: {why}")
    protocols = [name for name in asked if name in PROTOCOLS]
    found, audits = _found(recipe, roots, [*protocols, *_other_users(asked)])
    suites = suites_of(found, protocols, recipe.shots, recipe.seeds)
    suites = [*(_given(recipe, given) if protocols else ()), *suites]
    sets = {shown(one): one for one in found}
    return Gathered(
        suites,
        audits,
        roots,
        {n: source_of(s) for n, s in sets.items() if s.spec.kind == "classification"},
        {n: source_of(s) for n, s in sets.items() if s.spec.kind == "retrieval"},
    )


def _other_users(asked: Sequence[str]) -> list[str]:
    """Suites that name the pictures of classification sets, or draw the captions of retrieval's."""
    return [name for name in (FEW_SHOT, GENERATION) if name in asked]


def tell(audits: Sequence[Audit], recipe: ScoreRecipe, console: Console) -> None:
    """Keep what was found in sets.json, and name what is damaged or missing."""
    storage.write_json(posixpath.join(recipe.out, "sets.json"), [asdict(a) for a in audits])
    for audit in audits:
        if audit.status == "damaged":
            for damage in audit.damage:
                console.say(f"{audit.name}: {damage.kind} {damage.count:,}: {damage.examples}")
    gone = [audit.name for audit in audits if audit.status == "missing"]
    if gone:
        console.say(f"missing, see {recipe.out}/sets.json: {', '.join(gone)}")


def is_dataset(path: str) -> bool:
    """Whether a folder is a dataset of ours."""
    fs, inner = storage.filesystem(posixpath.join(path, datasets.MANIFEST))
    return bool(fs.get_file_info(inner).is_file)


def _found(
    recipe: ScoreRecipe, roots: Sequence[Path], users: Sequence[str]
) -> tuple[list[FoundSet], list[Audit]]:
    legal = (*catalogue(), *open_catalogue())
    unknown = sorted(set(recipe.only) - set(legal))
    if unknown:
        raise ValueError(f"sets {unknown}; legal: {', '.join(legal)}")
    found: list[FoundSet] = []
    audits: list[Audit] = []
    for spec in catalogue().values() if users else ():
        if recipe.only and spec.name not in recipe.only:
            continue
        tried = [find(spec, root, posixpath.join(recipe.out, "sets")) for root in roots]
        here = [one for one in tried if isinstance(one, FoundSet)]
        other = [one for one in tried if isinstance(one, Audit)]
        best = here[0].audit if here else min(other, key=lambda a: a.status, default=None)
        audits += [best] if best else []
        if here and (here[0].audit.status == "ok" or recipe.damaged == "score"):
            found.append(here[0])
    return found, audits


def _given(recipe: ScoreRecipe, paths: Sequence[str]) -> list[Suite]:
    sets = {posixpath.basename(p.rstrip("/")): Source(open_dataset(p)) for p in paths}
    if not sets:
        return []
    inside = recipe.in_distribution
    shifts = tuple(name for name in sets if inside not in ("", name))
    return [Classification(GIVEN, sets, recipe.templates, inside or None, shifts)]
