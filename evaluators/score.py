"""Models against suites: their answers, and the figures counted from the answers.

    score([clip, supervised, pixels], suites, "runs/demo/score")

`OUT/predictions/MODEL` holds every answer (see `evaluators.predictions`), `OUT/scores` a row a
figure, each with n and a standard error. Rows of model "chance" say what guessing would give.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig
from evaluators.figures import CHANCE, rate_rows, robustness_rows
from evaluators.predictions import SCHEMA, predict, read
from evaluators.robustness import RESAMPLES
from evaluators.shift import shifts
from evaluators.suites.kinds import Classification, Suite
from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.records import SCORES


@dataclass(frozen=True)
class ScoreConfig:
    """How models are scored."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """Where, and in what batches, images pass the models."""
    resamples: int = RESAMPLES
    """Bootstrap draws of the robustness figures."""
    seed: int = 0
    """Of the bootstrap."""


@dataclass(frozen=True)
class Extra:
    """A protocol whose answers are datasets of their own: composed queries, texts, pictures."""

    suite: str
    answers: tuple[Dataset, ...]
    """What its figures are counted from."""
    rows: Callable[[], Iterable[dict[str, Any]]]
    """Gives the rows of `scores`; called only where these do not stand yet."""
    settings: object = None
    """What the figures depend on beside the answers, as JSON values."""


@dataclass(frozen=True)
class Scored:
    """What `score` made: the figures, and by contender the answers that they were counted from."""

    scores: Dataset
    predictions: Mapping[str, Dataset]

    def answers(self) -> pa.Table:
        """The answers of all contenders in one table."""
        return all_answers(self.predictions)


def all_answers(predictions: Mapping[str, Dataset]) -> pa.Table:
    """The rows of several contenders' predictions in one table."""
    tables = [read(found) for found in predictions.values()]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def score(
    contenders: Sequence[Contender],
    suites: Sequence[Suite],
    out: str,
    config: ScoreConfig | None = None,
    extras: Sequence[Extra] = (),
) -> Scored:
    """Every contender over every suite; what stands at `out` already is not computed again.

    Args:
        extras: protocols that have answered already; their figures stand in the same table.

    Raises:
        ValueError: no contender or suite, two of one name, or a name that makes no file.
    """
    config = config or ScoreConfig()
    if suites or not extras:
        _check_names([*(c.name for c in contenders), CHANCE], "contenders")
        _check_names([suite.name for suite in suites], "suites")
    _check_files(suites)
    predictions = {
        c.name: predict(
            c, suites, posixpath.join(out, "predictions", folder_name(c.name)), config.embed
        )
        for c in (contenders if suites else ())
    }
    standard = [c.name for c in contenders if c.standard]

    def write(folder: str) -> dict[str, int]:
        answers = all_answers(predictions)
        rows = list(score_rows(answers, suites, standard, config))
        rows += [row for extra in extras for row in extra.rows()]
        table = pa.Table.from_pylist(rows, schema=SCORES)
        datasets.write_shard(posixpath.join(folder, "00000.parquet"), table)
        return {}

    scores = datasets.build(
        posixpath.join(out, "scores"),
        name="scores",
        config=_plan(suites, standard, config, extras),
        seed=config.seed,
        parents=[*predictions.values(), *(one for extra in extras for one in extra.answers)],
        write=write,
    )
    return Scored(scores, predictions)


def _plan(
    suites: Sequence[Suite], standard: list[str], config: ScoreConfig, extras: Sequence[Extra]
) -> dict[str, Any]:
    shifted = {
        s.name: [s.in_distribution, *s.shifts] for s in suites if isinstance(s, Classification)
    }
    more = {"extras": [[one.suite, one.settings] for one in extras]} if extras else {}
    return {"standard": standard, "shifts": shifted, "resamples": config.resamples, **more}


def score_rows(
    answers: pa.Table, suites: Sequence[Suite], standard: Sequence[str], config: ScoreConfig
) -> Iterator[dict[str, Any]]:
    """Rows of `scores` from rows of predictions: all rates, then what the shifts take away."""
    for suite in suites:
        yield from rate_rows(answers, suite)
        if isinstance(suite, Classification):
            by_shift = shifts(answers, suite, standard, config.seed, config.resamples)
            for shift, found in by_shift.items():
                for one in found:
                    yield from robustness_rows(suite.name, shift, one)


def folder_name(name: str) -> str:
    """A contender's name as a folder: lower case letters, digits, dots; all else one dash."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"


def _check_names(names: list[str], what: str) -> None:
    folders = [folder_name(name) for name in names]
    twice = sorted({name for name, f in zip(names, folders, strict=True) if folders.count(f) > 1})
    if twice or not names:
        raise ValueError(f"{what}={names}: {twice} share a folder; legal: one of each, all apart")


def _check_files(suites: Sequence[Suite]) -> None:
    names = [name for suite in suites for name in (suite.name, *suite.sets)]
    wrong = [name for name in names if not re.fullmatch(r"[\w -]+", name)]
    if wrong:
        raise ValueError(f"names {wrong} of suites or sets; legal: letters, digits, space, _ and -")
