"""The main job end to end: real web pages become a corpus, a CLIP, and a report of what it is
worth.

    make demo            (or: sightmill demo --out runs/demo)

Nine sites made of real pictures and real texts are served on loopback (`workflows.demo_web`),
crawled, and turned into a query-balanced corpus. A small CLIP is trained on it from scratch and
scored zero-shot on 1,539 emoji concepts: in a hand that it knows and in two hands that it has never
seen. A supervised network of the same build, trained on the same drawings, and nearest neighbours
over pixels stand beside it. README has the times and figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from evaluators.baselines import pixel_contender
from evaluators.checkpoints import clip_contender, supervised_contender
from evaluators.contenders import Contender
from evaluators.nearest import NearestConfig
from evaluators.score import ScoreConfig, score
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig
from pipelines.datasets import Dataset
from pipelines.engines import Engines, ray_session
from pipelines.web.crawl import warc_files
from workflows import demo_settings as settings
from workflows.corpus import CorpusConfig, candidates_of, samples_of
from workflows.crawl import crawl_sites
from workflows.demo_report import CLIP, SUPERVISED, write_demo_report
from workflows.demo_web import packages, suites
from workflows.demo_web.serve import serve
from workflows.demo_web.web import DemoWeb, DemoWebConfig, build
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.query_list import query_list
from workflows.train import Schedule, train_model


@dataclass(frozen=True)
class DemoConfig:
    """Web pages to corpus to CLIP to report, on real input served by this machine."""

    out: str = "runs/demo"
    """Folder of everything that the demo makes."""
    cache: str = str(packages.CACHE)
    """Folder of the unpacked packages."""
    web: DemoWebConfig = field(default_factory=DemoWebConfig)
    """The demo's web."""
    corpus: CorpusConfig = settings.CORPUS
    """Balancing, fetching, near-duplicates."""
    model: CLIPConfig = settings.MODEL
    """The CLIP that is trained."""
    schedule: Schedule = settings.CLIP_SCHEDULE
    """How it is trained."""
    supervised: Schedule = settings.SUPERVISED_SCHEDULE
    """How the supervised baseline is trained."""
    scoring: ScoreConfig = field(default_factory=ScoreConfig)
    """Batches and bootstrap."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where the stages run."""

    def run(self) -> None:
        """Run the recipe."""
        demo(self)


def demo(config: DemoConfig) -> str:
    """Run the recipe; returns the report's path."""
    job, cache = Job(config.out, config.engines), Path(config.cache)
    with job.console.task("packages"):
        found = packages.fetch_all(cache)
        web = build(found.paths, config.web)
    for line in found.left_out():
        job.console.say(line)
    with job.console.task("test sets"):
        tests = suites.build_test_sets(web, config.web, job.at("tests"))
    with ray_session(job.engines):
        queries = query_list(job, settings.queries(found, cache))
        with serve(config.web, cache) as sites:
            crawl = crawl_sites(job, settings.crawl(sites.seeds))
            candidates = candidates_of(
                job,
                warc_files(crawl.path),
                config.corpus,
                origin=crawl.manifest.content_hash,
                parents=[crawl],
            )
            corpus = samples_of(job, candidates, queries, config.corpus, tests.withheld)
        contenders = train_models(job, config, web, corpus)
        with job.console.task("score"):
            scored = score(contenders, tests.suites, job.at("score"), config.scoring)
    with job.console.task("report"):
        report = write_demo_report(job, config, tests, scored, config.scoring, found.left_out())
    job.console.summary(f"Report: {report}")
    return report


def train_models(job: Job, config: DemoConfig, web: DemoWeb, corpus: Dataset) -> list[Contender]:
    """CLIP on the corpus; on the corpus's drawings a supervised network and nearest neighbours."""
    drawings = suites.build_training_labels(corpus, web, config.web, job.at("drawings"))
    names = [concept.name for concept in web.concepts]
    network = ClassifierConfig(config.model.vision, classes=len(names))
    clip = train_model(job, "clip", config.model, corpus, config.schedule)
    supervised = train_model(job, "supervised", network, drawings, config.supervised)
    fit = config.schedule.loading.fit
    return [
        clip_contender(CLIP, clip.path, clip, fit),
        supervised_contender(SUPERVISED, supervised.path, supervised, names, fit),
        *(
            pixel_contender(f"nearest pixels, {side} px", drawings, NearestConfig(side=side))
            for side in (4, 8, 16)
        ),
    ]
