"""What the demo's report shows: every dataset of the run folder, put into the report's inputs."""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.report.cards.given import cards_of
from evaluators.report.collect import rejected_grid, sample_grid, shift_views, stage
from evaluators.report.examples import matches, mistakes, namings
from evaluators.report.inputs import ReportInputs, Run, Stage
from evaluators.report.lineage import ancestry
from evaluators.report.write import write_report
from evaluators.score import ScoreConfig, Scored
from evaluators.suites.kinds import Suite
from models.training.curve import read_curve
from pipelines.datasets import Dataset, open_dataset
from pipelines.hashing import config_dict
from pipelines.web.crawl import read_summary
from pipelines.web.dedup import DedupConfig, near_duplicates
from pipelines.web.head_tail import head_tail
from pipelines.web.samples import fingerprints
from workflows.demo_web.suites import TestSets
from workflows.job import Job

CLIP, SUPERVISED = "CLIP, zero-shot", "supervised ViT"
RUNS = {"clip": CLIP, "supervised": SUPERVISED}
SERVED = ("google", "twitter-known", "emoji")
INTRODUCTION = (
    "Nine web sites made of real pictures and texts were crawled on this machine, turned into a "
    "query-balanced image-text corpus, and a small CLIP was trained on it from scratch. It is "
    "asked to name emoji drawn by hands that were never crawled."
)
OVERLAP = (
    "Every test picture was compared with every picture of the corpus: perceptual hashes at most "
    "{bits} of 64 bits apart and 16 x 16 thumbnails at most {difference:g} of 255 apart on average "
    "count as one picture. Training pictures found so were dropped before training (reason "
    "near_test_image). Sets that were served are listed as a control: there the check must find."
)


def write_demo_report(
    job: Job,
    config: object,
    tests: TestSets,
    scored: Scored,
    scoring: ScoreConfig,
    left_out: Sequence[str],
) -> str:
    """Write report/report.html, scores.json and scores.csv; returns the page's path."""
    out, suites = job.out, tests.suites

    def at(name: str) -> Dataset:
        return open_dataset(job.at(name))

    answers = scored.answers()
    standard = sorted({name for name in pc.unique(answers["model"]).to_pylist() if name != CLIP})
    concepts, _, captions = suites
    samples, dedup = at("samples"), DedupConfig()
    rows = scored.scores.table().to_pylist()
    inputs = ReportInputs(
        title="From web pages to a CLIP",
        model=CLIP,
        headline=("concepts", "fluent", "all"),
        created=datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        introduction=INTRODUCTION,
        funnel=list(_funnel(out, at)),
        queries=head_tail(at("queries"), at("matches"), at("pairs"), _per_query(at("pairs"))),
        samples=sample_grid(samples),
        rejected=rejected_grid(at("fetched")),
        runs=[_run(name, label, out) for name, label in RUNS.items()],
        scores=rows,
        shifts=shift_views(answers, suites, standard, scoring),
        namings=namings(answers, CLIP, concepts, "fluent"),
        mistakes=mistakes(answers, CLIP, suites),
        matches=matches(answers, CLIP, captions, "stamps"),
        descriptions=cards_of(job.at("clip"), [row for row in rows if row["model"] == CLIP]),
        overlap=list(_overlap(samples, suites, dedup)),
        overlap_method=OVERLAP.format(bits=dedup.max_bits, difference=dedup.max_difference),
        manifests=ancestry([scored.scores], root=out),
        config=config_dict(config),
        commands=[
            "make demo",
            f"sightmill trace {scored.scores.path}",
            f"sightmill verify {out}/samples",
        ],
        left_out=left_out,
    )
    return write_report(inputs, job.at("report"))


def _per_query(pairs: Dataset) -> int:
    return int(pairs.manifest.config["per_query"])


def _funnel(out: str, at: Any) -> Iterator[Stage]:
    crawl = read_summary(posixpath.join(out, "crawl"))
    yield Stage("Crawl", crawl.pages, "pages", "archived as WARC", crawl.dropped)
    yield stage(at("candidates"), "Extract", "pairs", "image URL and alt, caption or title")
    yield stage(at("matches"), "Match", "pairs", "whose text holds a query")
    yield stage(at("pairs"), "Balance", "pairs", "at most so many a query")
    yield stage(at("targets"), "Group", "images", "with all their texts")
    yield stage(
        at("samples"), "Fetch and clean", "images", "decoded, no two alike, none near a test"
    )


def _run(name: str, label: str, out: str) -> Run:
    manifest = open_dataset(posixpath.join(out, name)).manifest
    train = manifest.config["train"]
    facts = {
        "steps": f"{train['steps']:,}",
        "batch": str(train["batch_size"]),
        "trained on": f"{manifest.parents[0].name} {manifest.parents[0].content_hash[:12]}",
    }
    return Run(label, read_curve(posixpath.join(out, name)), facts)


def _overlap(
    samples: Dataset, suites: Sequence[Suite], config: DedupConfig
) -> Iterator[Mapping[str, Any]]:
    """A row a test set: how many of its pictures the corpus shows."""
    corpus = samples.table(["image_id", "phash", "thumbnail"])
    for suite in suites:
        for name, source in suite.sets.items():
            shown = _of_group(source.dataset, source.group)
            looks = fingerprints(source.dataset)
            looks = looks.filter(pc.is_in(looks["image_id"], shown))
            found = near_duplicates(looks, corpus, config)
            yield {
                "set": f"{suite.name}/{name}",
                "pictures": looks.num_rows,
                "in the corpus": len(pc.unique(found["image_id"])),
                "should be": "many: it was served" if name in SERVED else "none",
            }


def _of_group(dataset: Dataset, group: str) -> pa.Array:
    rows = dataset.table(["image_id", "group"])
    return rows.filter(pc.equal(rows["group"], group))["image_id"].combine_chunks()
