"""BLIP's ablation of CapFilt (Li et al. 2022, tables 1, 2 and 4) at the size of one's own corpus.

    sightmill capfilt-ablation --data.input corpus/samples --out corpus-ablation

The same captioner and filter make seven corpora: web texts as they are; with the filter alone; with
the captioner alone; with both; captions by beam search or by nucleus sampling; one model as
captioner and filter instead of two. On each a fresh BLIP is trained, the same number of steps from
each of the seeds, and asked for retrieval and captions of held-out clean pairs. The clean pairs are
part of every corpus, the one without bootstrapping included, as people's captions are in BLIP's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from annotators.blip import BLIPCaptioner, BLIPMatcher, Captioning
from annotators.capfilt import SYNTHETIC, WEB, Rule
from evaluators.report.ablation import Outcome
from models.generation import GenerationConfig
from pipelines.datasets import Dataset
from pipelines.engines import ray_session
from workflows.ablation import chosen, slug
from workflows.capfilt import settings
from workflows.capfilt.data import Sets, make_sets
from workflows.capfilt.figures import caption_metrics
from workflows.capfilt.recipe import CapFiltConfig, caption_and_judge, decide, halves_of, pretrained
from workflows.capfilt.report import write_ablation_report
from workflows.capfilt.scores import captions_of, pairs_of, retrieved
from workflows.job import Job
from workflows.train import Schedule, seeded, texts, train_model

Decoding = Literal["nucleus", "beam"]


@dataclass(frozen=True)
class Condition:
    """One way to make a corpus."""

    name: str
    captions: Decoding | None = None
    """How captions are written; None: web texts alone."""
    filtered: bool = False
    """Whether the filter decides."""
    shared: bool = False
    """Whether captioner and filter are one model, tuned with all losses together."""


CONDITIONS = (
    Condition("none"),
    Condition("filter", filtered=True),
    Condition("captioner, beam", "beam"),
    Condition("captioner, nucleus", "nucleus"),
    Condition("both, beam", "beam", filtered=True),
    Condition("both, nucleus", "nucleus", filtered=True),
    Condition("both, nucleus, shared", "nucleus", filtered=True, shared=True),
)


@dataclass(frozen=True)
class AblationConfig(CapFiltConfig):
    """Does CapFilt pay?"""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the models that are trained on each corpus."""
    conditions: tuple[str, ...] = tuple(condition.name for condition in CONDITIONS)
    """Which corpora are made and compared."""
    shared_tuning: Schedule = settings.MATCHER
    """Of the one model that is both captioner and filter."""
    fresh_contrast: Schedule = settings.FRESH_CONTRAST
    """Of the encoders of each model that is compared."""
    fresh: Schedule = settings.FRESH
    """Of each model that is compared."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out, self.engines)
        with ray_session(job.engines):
            sets = make_sets(job, self.data)
            whole = pretrained(job, "pretrained", self, sets.web)
            outcomes = [
                outcome(job, self, sets, whole, condition, seed)
                for condition in chosen(self.conditions, CONDITIONS)
                for seed in self.seeds
            ]
        write_ablation_report(job, self, outcomes)
        job.console.summary(self.out)


def corpus_of(
    job: Job, config: AblationConfig, sets: Sets, whole: Dataset, condition: Condition
) -> Dataset:
    """The samples that a condition makes."""
    if condition.shared:
        model, tuning = config.model, config.shared_tuning
        captioner = matcher = train_model(job, "shared", model, sets.clean, tuning, whole).path
    else:
        captioner, matcher = halves_of(job, config, sets, whole)
    decoding = condition.captions or "nucleus"
    writing = replace(config, captioning=captioning(config.captioning, decoding))
    folder = f"captioned-{decoding}{'-shared' * condition.shared}"
    captioned = caption_and_judge(job, writing, sets.web, captioner, matcher, folder)
    kinds = (WEB, SYNTHETIC) if condition.captions else (WEB,)
    rule = Rule(kinds, condition.filtered, config.rule.by, config.rule.threshold)
    return decide(job, f"samples-{slug(condition)}", captioned, rule, sets.clean)


def captioning(base: Captioning, decoding: Decoding) -> Captioning:
    """`base` with that decoding; a beam search writes one caption, the paper's three beams."""
    if decoding == "nucleus":
        return replace(base, generation=replace(base.generation, method="nucleus"))
    return replace(base, generation=replace(base.generation, method="beam", beams=3), each=1)


def outcome(
    job: Job, config: AblationConfig, sets: Sets, whole: Dataset, condition: Condition, seed: int
) -> Outcome:
    """Retrieval and captions of a fresh model trained on a condition's corpus."""
    corpus = corpus_of(job, config, sets, whole, condition)
    contrast, pretraining = (seeded(one, seed) for one in (config.fresh_contrast, config.fresh))
    fresh = replace(config, contrast=contrast, pretraining=pretraining)
    model = pretrained(job, f"blip-{slug(condition)}-{seed}", fresh, corpus)
    pairs, fit = pairs_of(sets.held_out), config.fresh.loading.fit
    beams = Captioning(GenerationConfig("beam", beams=3))
    captions = captions_of(BLIPCaptioner(model.path, fit, beams), pairs)
    found = retrieved(BLIPMatcher(model.path, fit), pairs)
    found |= caption_metrics(captions, pairs.texts, seed)
    metrics = {metric: one.value for metric, one in found.items()}
    metrics["corpus_images"] = corpus.manifest.rows
    metrics["corpus_texts"] = sum(1 for _ in texts(corpus))
    return Outcome(condition.name, seed, metrics, model.path)
