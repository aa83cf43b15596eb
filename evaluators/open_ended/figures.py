"""Figures of written answers, each over the questions that were answered.

    captioning   BLEU-4, METEOR, ROUGE-L and CIDEr over the set, with the bootstrap's error; NoCaps
                 also by domain
    vqa          VQA's accuracy, of OK-VQA between stems
    exact        equal to the answer in lower case without punctuation and articles (GQA)
    naming       the same, to the name of the class

`answered` is the share of questions with an answer: what was not answered is not counted as wrong,
and shows there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evaluators.captions.score import score_captions
from evaluators.open_ended.answering import NOT_ASKED, OK
from evaluators.open_ended.questions import Task
from evaluators.short_answers import exact_match
from evaluators.statistics import Rate, mean_of, rate
from evaluators.vqa import vqa_accuracy

Row = dict[str, Any]
CAPTION_METRICS = {
    "BLEU-4": "bleu_4",
    "METEOR": "meteor",
    "METEOR (exact, stem)": "meteor_exact_stem",
    "ROUGE-L": "rouge_l",
    "CIDEr": "cider",
}


def figures(
    task: Task, rows: Sequence[Row], resamples: int, seed: int
) -> Iterator[tuple[str, str, Rate]]:
    """(part, metric, rate) of rows of `answers`; part is "all" or a domain."""
    asked = [row for row in rows if row["status"] != NOT_ASKED]
    domains = sorted({row["group"].partition("/")[2] for row in asked} - {""})
    for part in ("all", *domains):
        ours = [row for row in asked if part in ("all", row["group"].partition("/")[2])]
        good = sorted((r for r in ours if r["status"] == OK), key=lambda r: str(r["image_id"]))
        if ours:
            yield part, "answered", rate(_flags([row["status"] == OK for row in ours]))
        if good:
            measured = _captions(good, resamples, seed) if task == "captioning" else _of(task, good)
            for metric, found in measured:
                yield part, metric, found


def _flags(values: Sequence[bool]) -> Any:
    import numpy as np

    return np.array(values, dtype=bool)


def _captions(rows: Sequence[Row], resamples: int, seed: int) -> Iterator[tuple[str, Rate]]:
    found = score_captions([r["answer"] for r in rows], [r["references"] for r in rows])
    for name, metric in CAPTION_METRICS.items():
        if name in found.scores:
            one = found.scores[name].interval(resamples, seed)
            yield metric, Rate(one.value, len(rows), one.standard_error)


def _of(task: Task, rows: Sequence[Row]) -> Iterator[tuple[str, Rate]]:
    if task in ("vqa", "vqa-stems"):
        stems = task == "vqa-stems"
        values = [vqa_accuracy(r["answer"], r["references"], stems) for r in rows]
        yield "vqa_accuracy", mean_of(values)
    else:
        values = [max(exact_match(r["answer"], one) for one in r["references"]) for r in rows]
        yield "exact_match", mean_of(values)
