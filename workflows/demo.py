"""The main job end to end: real web pages become a corpus, a CLIP, and a report of what it is worth.

    make demo            (or: sightmill demo --out runs/demo --seed 0)

Nine sites made of real pictures and real texts are served on loopback (`workflows.demo_web`), crawled, and
turned into a query-balanced corpus. A small CLIP is trained on it from scratch and scored zero-shot on 1,539
emoji concepts: in a hand that it knows, and in two hands that it has never seen. A supervised network of the
same build, trained on the same drawings, and nearest neighbours over pixels stand beside it.

README has the times and figures that this printed last.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from functools import partial

from evaluators.checkpoints import clip_contender, supervised_contender
from evaluators.report.inputs import ReportInputs
from evaluators.report.write import write_report
from evaluators.score import ScoreConfig, score
from models.classifier import ClassifierConfig
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig
from pipelines import datasets, engines
from pipelines.web.balance import BalanceConfig
from pipelines.web.crawl import CrawlConfig, build_crawl, warc_files
from pipelines.web.extract import ExtractConfig, write_candidates
from pipelines.web.queries import QueriesConfig, write_queries
from workflows.console import Console
from workflows.corpus import CorpusConfig, samples
from workflows.demo_web import packages, suites
from workflows.demo_web.serve import serve
from workflows.demo_web.web import DemoWebConfig, build
from workflows.flags import EngineFlags
from workflows.train import CLIP_DEMO, train_classifier, train_clip
