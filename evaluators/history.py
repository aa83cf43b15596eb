"""Score runs as a history: which folders are runs, what each scored, and what only some have.

A run is a folder that `sightmill score` or the demo wrote; its `scores` lead to the answers that
they were counted from. `evaluators.changes` says what changed from one to the next.
"""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from pipelines import datasets, storage
from pipelines.datasets import Dataset, DatasetError, open_dataset

SCORES = "scores"


@dataclass(frozen=True)
class Scoring:
    """One score run: the figures of one of its models, and where its answers lie."""

    name: str
    """Unique among the runs that are compared."""
    path: str
    model: str
    finished: str
    """When its scores were written, ISO 8601, UTC."""
    checkpoint: str
    """Content hash of what was scored; empty where it has no manifest."""
    rows: list[dict[str, Any]]
    """Rows of `scores` of this model."""
    predictions: Dataset


def run_folders(paths: Sequence[str]) -> list[str]:
    """The score runs among `paths`; a folder that holds runs stands for them, oldest first.

    Raises:
        DatasetError: a path without scores in it or right below it.
    """
    found: list[str] = []
    for path in (path.rstrip("/") for path in paths):
        if _finished_at(path) is not None:
            found.append(path)
            continue
        below = [(_finished_at(child), child) for child in _folders(path)]
        runs = sorted((at, child) for at, child in below if at is not None)
        if not runs:
            raise DatasetError(f"{path} holds no finished scores; legal: what `score` wrote")
        found += [child for _, child in runs]
    return found


def _folders(path: str) -> list[str]:
    fs, inner = storage.filesystem(path)
    infos = fs.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    names = (i.base_name for i in infos if i.type == pafs.FileType.Directory)
    return [posixpath.join(path, name) for name in sorted(names)]


def _finished_at(run: str) -> str | None:
    fs, inner = storage.filesystem(posixpath.join(run, SCORES, datasets.MANIFEST))
    info = fs.get_file_info(inner)
    if not info.is_file:
        return None
    at = info.mtime or datetime.datetime.fromtimestamp(0, datetime.UTC)
    return str(at.astimezone(datetime.UTC).isoformat(timespec="seconds"))


def read_runs(paths: Sequence[str], model: str = "") -> list[Scoring]:
    """The runs in the order given; `model`: the one to follow, by default each run's first.

    Raises:
        DatasetError: a run without that model, or whose answers are gone.
    """
    names = _names(paths)
    return [_read_run(path, name, model) for path, name in zip(paths, names, strict=True)]


def _names(paths: Sequence[str]) -> list[str]:
    """Last folders, with as much of the path before them as tells them apart."""
    parts = [posixpath.normpath(path).split("/") for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"runs {list(paths)}; legal: each once")


def _read_run(path: str, name: str, model: str) -> Scoring:
    scores = open_dataset(posixpath.join(path, SCORES))
    answers = [_parent(scores, parent.path) for parent in scores.manifest.parents]
    by_model = {str(one.manifest.config["model"]): one for one in answers}
    if not by_model or (model and model not in by_model):
        raise DatasetError(f"{path} scored no model {model!r}; legal: {', '.join(by_model)}")
    chosen = model or next(iter(by_model))
    predictions = by_model[chosen]
    made_from = [p for p in predictions.manifest.parents if p.name == "checkpoint"]
    settings = predictions.manifest.config.get("settings", {}).get("of")
    weights = settings.get("weights", "") if isinstance(settings, dict) else ""
    return Scoring(
        name,
        path,
        chosen,
        _finished_at(path) or "",
        made_from[0].content_hash if made_from else str(weights),
        [row for row in scores.table().to_pylist() if row["model"] == chosen],
        predictions,
    )


def _parent(dataset: Dataset, path: str) -> Dataset:
    joined = path if "://" in path else posixpath.normpath(posixpath.join(dataset.path, path))
    return open_dataset(joined)


def unpaired(runs: Sequence[Scoring]) -> list[str]:
    """Figures that not every run has, a sentence a set."""
    where: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for place in dict.fromkeys((row["suite"], row["dataset"]) for row in run.rows):
            where.setdefault(place, []).append(run.name)
    return [
        f"{suite}/{dataset} is not in every run: only in {', '.join(names)}."
        for (suite, dataset), names in where.items()
        if len(names) < len(runs)
    ]
