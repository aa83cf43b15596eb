"""The main job end to end: real web pages become a corpus, a CLIP, and a report of what it is
worth.

    make demo            (or: sightmill demo --out runs/demo --seed 0)

Nine sites made of real pictures and real texts are served on loopback (`workflows.demo_web`),
crawled, and turned into a query-balanced corpus. A small CLIP is trained on it from scratch and
scored zero-shot on 1,539 emoji concepts: in a hand that it knows and in two hands that it has never
seen. A supervised network of the same build, trained on the same drawings, and nearest neighbours
over pixels stand beside it. README has the times and figures.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path

from evaluators.baselines import pixel_contender
from evaluators.checkpoints import clip_contender, supervised_contender
from evaluators.nearest import NearestConfig
from evaluators.score import ScoreConfig, score
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig
from pipelines import datasets
from pipelines.engines import Engines, ray_session
from pipelines.web.crawl import warc_files
from pipelines.web.extract import ExtractConfig, write_candidates
from workflows import demo_settings as settings
from workflows.console import Console
from workflows.corpus import CorpusConfig, samples
from workflows.crawl import crawl_stage
from workflows.demo_report import write_demo_report
from workflows.demo_web import packages, suites
from workflows.demo_web.serve import serve
from workflows.demo_web.web import DemoWebConfig, build
from workflows.flags import EngineFlags
from workflows.query_list import query_stage
from workflows.train import Schedule, train_stage


@dataclass(frozen=True)
class DemoConfig:
    """Web pages to corpus to CLIP to report, on real input served by this machine."""

    out: str = "runs/demo"
    """Folder of everything that the demo makes."""
    cache: str = str(packages.CACHE)
    """Folder of the unpacked packages."""
    web: DemoWebConfig = field(default_factory=DemoWebConfig)
    """The demo's web."""
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    """How candidates are taken from pages."""
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
    seed: int = 0
    """Of the balancing."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where the stages run."""

    def run(self) -> None:
        """Run the recipe."""
        demo(self)


def demo(config: DemoConfig, console: Console | None = None) -> str:
    """Run the recipe; returns the report's path."""
    console = console or Console()

    def at(name: str) -> str:
        return posixpath.join(config.out, name)

    with console.task("packages"):
        found = packages.fetch_all(cache=Path(config.cache))
        web = build(found.paths, config.web)
    for line in found.left_out():
        console.say(line)
    with console.task("test sets"):
        tests = suites.build_test_sets(web, config.web, at("tests"))
    queries = query_stage(at("queries"), settings.queries(config.cache), config.engines, console)

    with ray_session(config.engines), serve(config.web, Path(config.cache)) as served:
        crawl = crawl_stage(at("crawl"), settings.crawl(served.seeds), console)
        candidates = console.stage(
            "extract",
            lambda _: datasets.build(
                at("candidates"),
                name="candidates",
                config=config.extract,
                seed=0,
                parents=[crawl],
                write=lambda folder: write_candidates(
                    warc_files(crawl.path), folder, config.extract, config.engines
                ),
            ),
        )
        corpus = samples(
            candidates,
            queries,
            config.out,
            config.corpus,
            seed=config.seed,
            engines=config.engines,
            console=console,
            away_from=tests.withheld,
        )
    drawings = console.stage(
        "label drawings",
        lambda _: suites.build_training_labels(corpus, web, config.web, at("drawings")),
    )
    baseline = ClassifierConfig(config.model.vision, classes=len(web.concepts))
    engines = config.engines
    clip = train_stage(
        "train CLIP", at("clip"), config.model, corpus, config.schedule, engines, console
    )
    supervised = train_stage(
        "train supervised",
        at("supervised"),
        baseline,
        drawings,
        config.supervised,
        engines,
        console,
    )
    names = [concept.name for concept in web.concepts]
    fit = config.schedule.loading.fit
    contenders = [
        clip_contender("CLIP, zero-shot", clip.path, clip, fit),
        supervised_contender("supervised ViT", supervised.path, supervised, names, fit),
        *(
            pixel_contender(f"nearest pixels, {side} px", drawings, NearestConfig(side=side))
            for side in (4, 8, 16)
        ),
    ]
    with ray_session(config.engines), console.task("score"):
        scored = score(contenders, tests.suites, at("score"), config.scoring)
    with console.task("report"):
        report = write_demo_report(
            config.out, config, tests.suites, scored, config.scoring, found.left_out()
        )
    console.summary(f"Report: {report}")
    return report
