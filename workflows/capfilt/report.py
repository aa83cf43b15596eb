"""CapFilt's reports, of one run and of the ablation, out of the datasets in the job's folder."""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from annotators.capfilt import Rule
from evaluators.report.ablation import Outcome
from evaluators.report.capfilt import render_capfilt
from evaluators.report.capfilt_inputs import CapFiltInputs, CaptionTable, MetricLine, Swaps
from evaluators.report.inputs import Run
from evaluators.report.lineage import ancestry
from evaluators.report.tables import scores_csv, scores_json
from evaluators.statistics import Interval
from models.training.curve import read_curve
from pipelines import storage
from pipelines.datasets import Dataset, DatasetError, open_dataset
from pipelines.hashing import config_dict
from workflows.ablation import write_ablation
from workflows.capfilt.answers import read_answers
from workflows.capfilt.data import Sets
from workflows.capfilt.examples import blocks, kept_shares, survey, text_funnel
from workflows.capfilt.figures import (
    by_other,
    captions_asked,
    compare_captions,
    noise_left,
    swap_curve,
    swap_score,
)
from workflows.job import Job

if TYPE_CHECKING:
    from workflows.capfilt.recipe import CapFiltConfig

__all__ = ["Outcome", "write_ablation_report", "write_capfilt_report"]

COLUMNS = {"written": "captions as in the corpus", "beam": "captions by beam search"}
WEB_COLUMN = "web texts"
NO_TWINS = "The web's texts of held-out pictures: the corpus shows none of these pictures."
RUNS = {
    "pretrained-encoders": "First encoders, on the web's texts",
    "pretrained": "First BLIP, on the web's texts",
    "captioner": "Captioner, on the clean pairs",
    "matcher": "Filter, on the clean pairs",
    "blip-encoders": "Last encoders, on the new corpus",
    "blip": "Last BLIP, on the new corpus",
}
"""By folder; those that the job's folder lacks are left out."""
INTRODUCTION = (
    "A captioner wrote texts for the images of a web corpus, and a filter judged the web's texts "
    "and the written ones alike. What passed, and a small clean set, is the new corpus. "
    "Everything is measured on clean pairs that were held out of all training."
)


def write_capfilt_report(
    job: Job,
    config: CapFiltConfig,
    sets: Sets,
    captioned: Dataset,
    samples: Dataset,
    scores: Dataset,
    runs: Mapping[str, str] = RUNS,
    seed: int = 0,
) -> str:
    """Write report/report.html, scores.json and scores.csv; returns the page's path.

    Args:
        scores: of `workflows.capfilt.answers.score_all`, whose answers lie in the job's folder.
        runs: folders of the job's models to their names in the report.
    """
    answers, found = open_dataset(job.at("answers")), survey(captioned, sets.clean, config.rule)
    table = read_answers(answers)
    rows = scores.table().to_pylist()
    tables, left_out = _caption_tables(table, seed)
    made = [open_dataset(job.at(folder)) for folder in runs if _is_made(job.at(folder))]
    inputs = CapFiltInputs(
        title="CapFilt: a corpus that captions and cleans itself",
        threshold=config.rule.threshold,
        by=config.rule.by,
        created=_now(),
        introduction=INTRODUCTION,
        swaps=_swaps(table, config.rule, seed),
        kept=kept_shares(found),
        captions=tables,
        retrieval=_retrieval(rows),
        funnel=list(text_funnel(found, samples, sets.clean)),
        blocks=list(blocks(captioned, found)),
        runs=list(_runs(job, runs)),
        manifests=ancestry([scores, samples, *made], root=job.out),
        config=config_dict(config),
        commands=[
            f"sightmill capfilt --data.input {config.data.input} --out {job.out}",
            f"sightmill trace {scores.path}",
            f"sightmill verify {samples.path}",
        ],
        left_out=left_out,
    )
    folder = job.at("report")
    _write(posixpath.join(folder, "scores.json"), scores_json(rows))
    _write(posixpath.join(folder, "scores.csv"), scores_csv(rows))
    return _write(posixpath.join(folder, "report.html"), render_capfilt(inputs))


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="minutes")


def _write(path: str, content: str) -> str:
    """Write text, whose lone surrogates (the web's) become question marks."""
    storage.write_bytes(path, content.encode("utf-8", "replace"))
    return path


def _is_made(path: str) -> bool:
    try:
        open_dataset(path)
    except DatasetError:
        return False
    return True


def _swaps(answers: pa.Table, rule: Rule, seed: int) -> Swaps:
    score = swap_score(answers, rule, seed)
    left, other = noise_left(answers, rule), by_other(answers, rule, seed)
    return Swaps(swap_curve(answers, rule), score, left, other)


def _caption_tables(answers: pa.Table, seed: int) -> tuple[list[CaptionTable], list[str]]:
    """Captions beside the web's texts, then captions of all held-out pictures; what is missing."""
    asked = captions_asked(answers)
    tables: list[CaptionTable] = []
    missing: list[str] = []
    left_out: list[str] = []
    plans = (
        ("Beside what the web said of the same pictures", [*asked, "web"]),
        ("All held-out pictures", asked),
    )
    for title, names in plans:
        found = compare_captions(answers, names, seed)
        if not found.pictures:
            missing.append(NO_TWINS)
            continue
        lines = [
            MetricLine(metric, [of[metric] for of in found.scored], found.difference.get(metric))
            for metric in found.scored[0]
        ]
        columns = [COLUMNS.get(name, WEB_COLUMN) for name in names]
        left_out = [f"{name}: {why}." for name, why in found.left_out.items()]
        tables.append(CaptionTable(title, found.pictures, columns, lines, names[-1] == "web"))
    return tables, missing + left_out


def _retrieval(rows: list[dict[str, float | int | str]]) -> dict[str, Interval]:
    """R@1 out of the scores, with Wilson's interval."""
    from workflows.capfilt.figures import share

    named = {str(r["metric"]): (float(r["value"]), int(r["n"])) for r in rows if _is_r1(r)}
    return {name: share(round(value * n), n) for name, (value, n) in named.items()}


def _is_r1(row: Mapping[str, float | int | str]) -> bool:
    return str(row["metric"]).endswith("_r1")


def _runs(job: Job, names: Mapping[str, str]) -> Iterator[Run]:
    for folder, name in names.items():
        lines = read_curve(job.at(folder))
        if not lines or not _is_made(job.at(folder)):
            continue
        manifest = open_dataset(job.at(folder)).manifest
        train = manifest.config["train"]
        facts = {
            "steps": f"{train['steps']:,}",
            "batch": str(train["batch_size"]),
            "trained on": f"{manifest.parents[0].name} {manifest.parents[0].content_hash[:12]}",
        }
        yield Run(name, lines, facts)


def write_ablation_report(job: Job, config: object, outcomes: list[Outcome]) -> str:
    """`workflows.ablation.write_ablation` on the held-out pairs in the job's folder."""
    return write_ablation(
        job,
        config,
        outcomes,
        open_dataset(job.at("held-out")),
        suite="capfilt-ablation",
        title="Does CapFilt pay? The ablation",
    )
