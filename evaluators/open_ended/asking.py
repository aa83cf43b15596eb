"""The suites `captioning`, `vqa` and `few-shot`: writers' answers as datasets, and their figures.

`OUT/answers/MODEL/SUITE/SET` holds a row a question (`pipelines.records.ANSWERS`), of few-shot a
folder for each number of examples, rule and seed. With 0 examples the prompt of few-shot begins
with some without their pictures, as Flamingo's zero-shot (arXiv 2204.14198, section 3.3): they show
what an answer looks like and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig, Embedded
from evaluators.embeddings import embeddings, whole
from evaluators.figures import score_row
from evaluators.open_ended.answering import Prompting, Writer, answers
from evaluators.open_ended.figures import figures
from evaluators.open_ended.questions import QuestionSet
from evaluators.open_ended.shots import Rule, asked_and_examples, by_rule
from evaluators.score import Extra, folder_name
from evaluators.statistics import over_seeds
from pipelines.datasets import Dataset

FEW_SHOT = "few-shot"
RESAMPLES = 200
"""Bootstrap draws of caption metrics."""


@dataclass(frozen=True)
class FewShot:
    """Prompts of the suite few-shot."""

    shots: tuple[int, ...] = (0, 4, 8, 16, 32)
    """Examples before each question."""
    rules: tuple[Rule, ...] = ("random", "rices")
    """How they are chosen; rices is left out without a CLIP to see with."""
    seeds: int = 3
    """Random draws."""
    without_pictures: int = 2
    """Examples without their pictures where `shots` is 0."""


@dataclass(frozen=True)
class Prompt:
    """One kind of prompt."""

    shots: int
    rule: Rule = "random"
    seed: int = 0
    pictures: bool = True

    @property
    def split(self) -> str:
        """As tables have it."""
        return f"{self.shots}-shot {self.rule}" if self.pictures else "0-shot"


def prompts(config: FewShot, rices: bool) -> Iterator[Prompt]:
    """Every prompt of the suite."""
    for shots in config.shots:
        if not shots:
            yield Prompt(config.without_pictures, pictures=False)
            continue
        for rule in config.rules:
            seeds = config.seeds if rule == "random" else int(rices)
            yield from (Prompt(shots, rule, seed) for seed in range(seeds))


def plainly(
    suite: str, writers: Sequence[Writer], sets: Sequence[QuestionSet], out: str,
    config: EmbedConfig, seed: int = 0,
) -> Extra:  # fmt: skip
    """The suite captioning or vqa: every writer that can, over every set, without examples."""
    found: list[tuple[QuestionSet, str, Dataset]] = []
    for writer in writers:
        for one in sets if suite in writer.reads else ():
            where = posixpath.join(out, "answers", folder_name(writer.name), suite, one.name)
            plan = {"shots": 0}
            told = answers(writer, one.dataset, Prompting({}), where, config, plan)
            found.append((one, writer.name, told))

    def rows() -> Iterator[dict[str, Any]]:
        for one, model, dataset in found:
            answered = dataset.table().to_pylist()
            for part, metric, rate in figures(one.task, answered, RESAMPLES, seed):
                yield score_row((suite, one.name, part, metric), model, rate)

    return Extra(suite, tuple(one[-1] for one in found), rows, [RESAMPLES, seed])


def few_shot(
    writers: Sequence[Writer], sets: Sequence[QuestionSet], out: str, config: EmbedConfig,
    prompting: FewShot, eye: Contender | None = None, seed: int = 0,
) -> Extra:  # fmt: skip
    """The suite few-shot. `eye`: the CLIP whose embeddings say which pictures are alike."""
    found: list[tuple[QuestionSet, str, Prompt, Dataset]] = []
    for one in sets if any(FEW_SHOT in writer.reads for writer in writers) else ():
        seen = functools.cache(functools.partial(_seen, one.dataset, eye, config))
        asked, examples = asked_and_examples(list(_rows_of(one.dataset)))
        for prompt in prompts(prompting, eye is not None):
            embedded = seen() if prompt.rule == "rices" else None
            shots = by_rule(prompt.rule, asked, examples, prompt.shots, prompt.seed, embedded)
            for writer in writers:
                if FEW_SHOT in writer.reads:
                    where = _folder(out, writer.name, one.name, prompt)
                    plan = {"prompt": asdict(prompt), "eye": _identity(eye, prompt)}
                    how = Prompting(shots, prompt.pictures)
                    told = answers(writer, one.dataset, how, where, config, plan)
                    found.append((one, writer.name, prompt, told))
    return Extra(
        FEW_SHOT,
        tuple(one[-1] for one in found),
        lambda: _over_prompts(found, seed),
        [RESAMPLES, seed, asdict(prompting)],
    )


def _folder(out: str, model: str, name: str, prompt: Prompt) -> str:
    of = f"{prompt.shots if prompt.pictures else 0}-{prompt.rule}-{prompt.seed}"
    return posixpath.join(out, "answers", folder_name(model), FEW_SHOT, name, of)


def _identity(eye: Contender | None, prompt: Prompt) -> object:
    if eye is None or prompt.rule != "rices":
        return None
    return [[one.manifest.content_hash for one in eye.made_from], eye.settings]


def _seen(dataset: Dataset, eye: Contender | None, config: EmbedConfig) -> Embedded | None:
    return None if eye is None else whole(embeddings(dataset, eye, config))


def _rows_of(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    for batch in dataset.batches(["image_id", "group", "image"]):
        for row in batch.to_pylist():
            content = hashlib.blake2b(row["image"], digest_size=16).hexdigest()
            yield row["image_id"], row["group"], content


def _over_prompts(
    found: Sequence[tuple[QuestionSet, str, Prompt, Dataset]], seed: int
) -> Iterator[dict[str, Any]]:
    """A row a set, model, number of examples, rule and metric: the mean over seeds."""
    by_place: dict[tuple[str, str, str, str], list[Any]] = {}
    for one, model, prompt, dataset in found:
        told = dataset.table().to_pylist()
        for part, metric, rate in figures(one.task, told, RESAMPLES, seed):
            if part == "all":
                place = (one.name, prompt.split, metric, model)
                by_place.setdefault(place, []).append(rate)
    for (name, split, metric, model), rates in by_place.items():
        yield score_row((FEW_SHOT, name, split, metric), model, over_seeds(rates))
