"""What CapFilt's models say of held-out clean pairs, picture by picture, and the figures from that.

    held-out, web's own texts -> answers -> scores

`answers` keeps each swapped caption with the filter's judgement, and each caption that was written,
so that a figure can be followed to the pictures behind it and the report needs no second run.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from annotators.captions import Captioner, Matcher
from annotators.choose import Chosen, captioner_at, matcher_at
from models.generation import GenerationConfig
from pipelines import datasets, hashing
from pipelines.datasets import Dataset, DatasetError, open_dataset
from pipelines.records import SCORES
from workflows.capfilt.data import Sets
from workflows.capfilt.figures import KEPT, Told, figures, kept_counts
from workflows.capfilt.scores import (
    SWAPPED,
    Pairs,
    captions_of,
    pairs_of,
    retrieved,
    swapped,
    web_texts,
)
from workflows.job import Job

if TYPE_CHECKING:
    from workflows.capfilt.recipe import CapFiltConfig

ANSWERS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # the clean caption
        pa.field("shown", pa.string(), nullable=False),  # what the filter was asked about
        pa.field("swapped", pa.bool_(), nullable=False),  # whether that is another picture's
        pa.field("similarity", pa.float64(), nullable=False),  # NaN where there is none
        pa.field("probability", pa.float64(), nullable=False),  # NaN where there is none
        pa.field("status", pa.string(), nullable=False),  # of the judgement
        pa.field("written", pa.string(), nullable=False),  # caption as the corpus' are made
        pa.field("beam", pa.string()),  # caption by beam search; null: not asked
        pa.field("web", pa.string()),  # the web's text of the picture; null: it has none
    ]
)
PICTURES_A_PASS = 64
BEAMS = 3
FILTER, SUITE, DATASET = "filter", "capfilt", "held-out"


def score_all(
    job: Job,
    config: CapFiltConfig,
    sets: Sets,
    captioner: str | Chosen[Captioner],
    matcher: str | Chosen[Matcher],
    source: Dataset,
    captioned: Dataset | None = None,
    seed: int = 0,
) -> Dataset:
    """The `scores` of captioner and filter on held-out clean pairs, in the job's folder.

    Args:
        captioner, matcher: folders or URLs as the recipe takes them, or what makes them.
        source: the corpus as it was before near-duplicates of held-out pictures left it; what it
            says of those is compared with captions of the same pictures.
        captioned: gives the share kept of web and of written texts, if it is there.
    """
    fit = config.pretraining.loading.fit
    judges = matcher_at(matcher, fit) if isinstance(matcher, str) else matcher
    answers = answer(job, config, sets, captioner, judges, source, seed)
    parents = [answers, *([captioned] if captioned is not None else [])]

    def write(folder: str) -> Mapping[str, int]:
        found = list(figures(read_answers(answers), config.rule, seed))
        found += list(_retrieval(judges, pairs_of(sets.held_out)))
        if captioned is not None:
            found += kept_counts(captioned, config.rule)
        rows = [row(one) for one in found]
        datasets.write_shard(
            posixpath.join(folder, "00000.parquet"), pa.Table.from_pylist(rows, SCORES)
        )
        return {}

    return job.build(
        "score",
        "scores",
        lambda folder, _: write(folder),
        config={"rule": config.rule},
        seed=seed,
        parents=parents,
    )


def answer(
    job: Job,
    config: CapFiltConfig,
    sets: Sets,
    captioner: str | Chosen[Captioner],
    judges: Chosen[Matcher],
    source: Dataset,
    seed: int,
) -> Dataset:
    """The dataset `answers` in the job's folder."""
    writers = _writers(config, captioner)

    def write(folder: str) -> Mapping[str, int]:
        pairs = pairs_of(sets.held_out)
        columns: dict[str, list[Any]] = {"image_id": pairs.ids, "text": pairs.texts}
        texts, wrong = swapped(pairs, seed)
        columns |= {"shown": texts, "swapped": wrong.tolist()}
        columns |= _judged(judges.make(), pairs, texts)
        for name in ("written", "beam"):
            made = _written(writers[name].make, pairs) if name in writers else None
            columns[name] = made or [None] * len(pairs.ids)
        web = web_texts(source, sets.held_out, seed)
        columns["web"] = [web.get(key) for key in pairs.ids]
        path = posixpath.join(folder, "00000.parquet")
        datasets.write_shard(path, pa.table(columns, ANSWERS))
        return {}

    identities = {name: writer.identity for name, writer in writers.items()}
    return job.build(
        "answer held-out pairs",
        "answers",
        lambda folder, _: write(folder),
        config={
            "matcher": judges.identity,
            "captioners": identities,
            "captioning": config.captioning,
            "chat": config.chat,
            "beams": BEAMS,
            "swapped": SWAPPED,
            "fit": config.pretraining.loading.fit,
        },
        seed=seed,
        parents=[sets.held_out, source, *_checkpoints(judges, *writers.values())],
        content_hash=_content_hash,
    )


def _writers(
    config: CapFiltConfig, captioner: str | Chosen[Captioner]
) -> dict[str, Chosen[Captioner]]:
    """The captioner as the recipe uses it, and by beam search where it can and does not so."""
    if not isinstance(captioner, str):
        return {"written": captioner}
    fit, captioning = config.pretraining.loading.fit, config.captioning
    found = {"written": captioner_at(captioner, fit, captioning, config.chat)}
    if not captioner.startswith("http") and captioning.generation.method != "beam":
        most = captioning.generation.most
        beam = replace(captioning, generation=GenerationConfig("beam", most=most, beams=BEAMS))
        found["beam"] = captioner_at(captioner, fit, replace(beam, each=1), config.chat)
    return found


def _checkpoints(*chosen: Chosen[Any]) -> Iterator[Dataset]:
    """Those of the models that are datasets of ours, each once."""
    places = [arg for one in chosen for arg in getattr(one.make, "args", ())[:1]]
    for place in dict.fromkeys(arg for arg in places if isinstance(arg, str)):
        try:
            yield open_dataset(place)
        except DatasetError:  # a published checkpoint; its hash is in the config
            continue


def _parts(pairs: Pairs) -> Iterator[slice]:
    starts = range(0, len(pairs.ids), PICTURES_A_PASS)
    return (slice(start, start + PICTURES_A_PASS) for start in starts)


def _judged(matcher: Matcher, pairs: Pairs, texts: list[str]) -> dict[str, list[Any]]:
    """Judgements of each picture with its text, some pictures at a time."""
    found = []
    for part in _parts(pairs):
        images = [matcher.prepare(image) for image in pairs.images[part]]
        found += [judged[0] for judged in matcher.judge(images, [[t] for t in texts[part]])]
    names = ("similarity", "probability", "status")
    return {name: [getattr(one, name) for one in found] for name in names}


def _written(make: Callable[[], Captioner], pairs: Pairs) -> list[str]:
    """A caption of each picture, some pictures at a time."""
    captioner, found = make(), list[str]()
    for part in _parts(pairs):
        some = Pairs(pairs.ids[part], pairs.images[part], pairs.texts[part])
        found += captions_of(captioner, some)
    return found


def _retrieval(judges: Chosen[Matcher], pairs: Pairs) -> Iterator[Told]:
    """R@1 both ways, of a filter that has features."""
    from annotators.blip import BLIPMatcher

    matcher = judges.make()
    if isinstance(matcher, BLIPMatcher) and not _is_blip2(matcher):
        for metric, one in retrieved(matcher, pairs).items():
            yield Told("all", metric, FILTER, one, len(pairs.ids))


def _is_blip2(matcher: Any) -> bool:
    """A BLIP-2 has a feature a query, which one cosine a pair does not serve."""
    return type(matcher.model).__name__ == "BLIP2"


def read_answers(answers: Dataset) -> pa.Table:
    """All rows of an answers dataset, sorted by image_id."""
    batches = [b for s in answers.shards for b in datasets.shard_batches(s, ANSWERS.names)]
    table = pa.Table.from_batches([b.cast(ANSWERS) for b in batches], ANSWERS)
    return table.sort_by("image_id")


def row(one: Told) -> dict[str, Any]:
    """A row of `scores`."""
    return {
        "suite": SUITE,
        "dataset": "captioned" if one.metric == KEPT else DATASET,
        "split": one.split,
        "metric": one.metric,
        "model": one.model,
        "value": one.interval.value,
        "n": one.n,
        "standard_error": one.interval.standard_error,
    }


def _content_hash(folder: str) -> str:
    path = posixpath.join(folder, "00000.parquet")
    total, _ = hashing.rows_hash(datasets.shard_batches(path, ANSWERS.names), ANSWERS)
    return f"{total:032x}"
