"""What every ablation does alike: conditions by name, seeds, the figures as a dataset, the page."""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from evaluators.report.ablation import (
    CAPFILT,
    AblationInputs,
    Outcome,
    Wording,
    ablation_csv,
    ablation_json,
    render_ablation,
)
from evaluators.report.lineage import ancestry
from pipelines import storage
from pipelines.datasets import Dataset, open_dataset, write_shard
from pipelines.hashing import config_dict
from pipelines.records import SCORES
from workflows.job import Job


class Named(Protocol):
    """A condition."""

    @property
    def name(self) -> str:
        """For a person, and on the command line."""


T = TypeVar("T", bound=Named)


def chosen(names: Sequence[str], conditions: Sequence[T]) -> list[T]:
    """The conditions of those names, in their own order. Raises ValueError for other names."""
    known = {condition.name: condition for condition in conditions}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"conditions={unknown}; legal: {list(known)}")
    return [condition for name, condition in known.items() if name in names]


def slug(condition: Named) -> str:
    """Its name as part of a folder's."""
    return condition.name.replace(", ", "-").replace(" ", "-")


def write_ablation(
    job: Job,
    config: object,
    outcomes: Sequence[Outcome],
    held_out: Dataset,
    *,
    suite: str,
    title: str,
    introduction: str = AblationInputs.introduction,
    words: Wording = CAPFILT,
) -> str:
    """Write report/ablation.html, ablation.json and ablation.csv; returns the page's path.

    The figures go through a `scores` dataset in the job's folder ablation-scores, whose parents are
    what was held out and the models that the outcomes name.
    """
    models = dict.fromkeys(one.model for one in outcomes if one.model)
    scores = job.build(
        "score ablation",
        "scores",
        lambda folder, _: _write_scores(folder, suite, outcomes, held_out),
        folder="ablation-scores",
        config={"outcomes": [[o.condition, o.seed, dict(o.metrics)] for o in outcomes]},
        parents=[held_out, *(open_dataset(path) for path in models)],
    )
    inputs = AblationInputs(
        title=title,
        outcomes=outcomes,
        pictures=held_out.manifest.rows,
        words=words,
        created=datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        manifests=ancestry([scores], root=job.out),
        config=config_dict(config),
        commands=[f"sightmill trace {scores.path}"],
        introduction=introduction,
    )
    files = {"json": ablation_json(outcomes), "csv": ablation_csv(outcomes)}
    files["html"] = render_ablation(inputs)
    for ending, content in files.items():
        path = posixpath.join(job.at("report"), f"ablation.{ending}")
        storage.write_bytes(path, content.encode("utf-8", "replace"))
    return path


def _write_scores(
    folder: str, suite: str, outcomes: Sequence[Outcome], held_out: Dataset
) -> Mapping[str, int]:
    rows = [
        {
            "suite": suite,
            "dataset": "held-out",
            "split": f"seed {one.seed}",
            "metric": metric,
            "model": one.condition,
            "value": value,
            "n": held_out.manifest.rows,
            "standard_error": float("nan"),
        }
        for one in outcomes
        for metric, value in one.metrics.items()
    ]
    write_shard(posixpath.join(folder, "00000.parquet"), pa.Table.from_pylist(rows, SCORES))
    return {}
