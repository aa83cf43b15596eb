"""CapFilt: any samples dataset becomes one that cleans and captions itself.

    sightmill capfilt --data.input corpus/samples --out corpus-capfilt

BLIP is pre-trained on the corpus as it is, its encoders by contrast first; a captioner and a filter
are fine-tuned from it, apart, on a small clean set; the captioner writes a text for every image,
the filter judges web and written texts alike; what passes, and the clean set, is the new corpus, on
which a fresh BLIP is trained. Out come the datasets `captioned` (every text with its scores) and
`samples` (what the rule keeps), the checkpoints, and scores on held-out clean pairs with a report.
What `--captioner` and `--matcher` name (ours, published BLIPs and BLIP-2s, a chat server, a CLIP as
filter) takes the place of what is trained here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from annotators.blip import Captioning
from annotators.capfilt import Rule, Workers, write_captioned, write_decided
from annotators.chat_captions import ChatCaptioning
from annotators.choose import captioner_at, matcher_at
from models.blip.blip import BLIPConfig
from models.blip.halves import part_config
from pipelines.datasets import Dataset, open_dataset
from pipelines.engines import Engines, ray_session
from pipelines.sorting import Shards
from workflows.capfilt import settings
from workflows.capfilt.answers import score_all
from workflows.capfilt.data import CapFiltData, Sets, make_sets
from workflows.capfilt.report import write_capfilt_report
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.train import Schedule, train_model


@dataclass(frozen=True)
class CapFiltConfig:
    """Clean and caption a corpus."""

    data: CapFiltData
    """The corpus, and the clean pairs."""
    out: str
    """Folder of everything that is made."""
    captioner: str = ""
    """A captioner to use: folder of a BLIP or BLIP-2, or URL of a chat server; empty trains one."""
    matcher: str = ""
    """Folder of a filter to use: a BLIP, BLIP-2 or CLIP; empty trains one."""
    model: BLIPConfig = settings.MODEL
    """The BLIP that is trained."""
    contrast: Schedule = settings.CONTRAST
    """Of the encoders that the first BLIP and the last begin with."""
    pretraining: Schedule = settings.PRETRAINING
    """Of the first BLIP and of the last."""
    captioner_tuning: Schedule = settings.CAPTIONER
    """Of the captioner on the clean pairs."""
    matcher_tuning: Schedule = settings.MATCHER
    """Of the filter on the clean pairs."""
    captioning: Captioning = field(default_factory=Captioning)
    """How captions are written."""
    chat: ChatCaptioning = field(default_factory=ChatCaptioning)
    """How a chat server is asked for them."""
    rule: Rule = field(default_factory=Rule)
    """Which texts are kept."""
    workers: Workers = field(default_factory=Workers)
    """How the models run over the corpus."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where the stages run."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out, self.engines)
        with ray_session(job.engines):
            sets = make_sets(job, self.data)
            captioner, matcher = models_of(job, self, sets)
            captioned = caption_and_judge(job, self, sets.web, captioner, matcher)
            corpus = decide(job, "samples", captioned, self.rule, sets.clean)
            pretrained(job, "blip", self, corpus)
            source = open_dataset(self.data.input)
            scores = score_all(job, self, sets, captioner, matcher, source, captioned)
            with job.console.task("report"):
                write_capfilt_report(job, self, sets, captioned, corpus, scores)
        job.console.summary(self.out)


def pretrained(job: Job, folder: str, config: CapFiltConfig, data: Dataset) -> Dataset:
    """A whole BLIP that has seen `data` alone: its encoders by contrast, then all of it."""
    encoders = part_config(config.model, "encoders")
    begun = train_model(job, f"{folder}-encoders", encoders, data, config.contrast)
    return train_model(job, folder, config.model, data, config.pretraining, begun)


def models_of(job: Job, config: CapFiltConfig, sets: Sets) -> tuple[str, str]:
    """Captioner and filter, given or trained."""
    if config.captioner and config.matcher:
        return config.captioner, config.matcher
    return halves_of(job, config, sets, pretrained(job, "pretrained", config, sets.web))


def halves_of(job: Job, config: CapFiltConfig, sets: Sets, whole: Dataset) -> tuple[str, str]:
    """Captioner and filter, given or fine-tuned from `whole` on the clean pairs."""
    captioner, matcher = config.captioner, config.matcher
    if not captioner:
        half = part_config(config.model, "captioner")
        tuned = train_model(job, "captioner", half, sets.clean, config.captioner_tuning, whole)
        captioner = tuned.path
    if not matcher:
        half = part_config(config.model, "matcher")
        tuned = train_model(job, "matcher", half, sets.clean, config.matcher_tuning, whole)
        matcher = tuned.path
    return captioner, matcher


def caption_and_judge(
    job: Job,
    config: CapFiltConfig,
    web: Dataset,
    captioner: str,
    matcher: str,
    made: str = "captioned",
) -> Dataset:
    """Every image of `web` with written captions, and every text with its scores."""
    fit = config.pretraining.loading.fit
    writes = captioner_at(captioner, fit, config.captioning, config.chat)
    judges = matcher_at(matcher, fit)
    return job.build(
        f"write {made}",
        "captioned",
        lambda folder, _: write_captioned(
            web,
            folder,
            writes.make,
            judges.make,
            (writes.prepare, judges.prepare),
            config.workers,
            job.engines,
        ),
        config={
            "captioner": writes.identity,
            "matcher": judges.identity,
            "captioning": config.chat if captioner.startswith("http") else config.captioning,
        },
        folder=made,
        seed=config.captioning.generation.seed,
        parents=[web],
    )


def decide(job: Job, folder: str, captioned: Dataset, rule: Rule, clean: Dataset) -> Dataset:
    """The corpus that `rule` makes of the captioned one, and the clean pairs."""
    return job.build(
        f"decide {folder}",
        "samples",
        lambda path, _: write_decided(captioned, path, rule, Shards(), clean),
        folder=folder,
        config=rule,
        parents=[captioned, clean],
    )
