"""All caption metrics of one set: captions in, scores out, and what was left out and why.

5,000 images with 5 references each take 17 s on two busy cores, of which METEOR takes 14 and its
tables half of those; the COCO evaluation in Java takes 23 (benchmarks/captions.py, which also finds
no image's score further off than 2e-15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluators.captions import meteor_lexicon, spice
from evaluators.captions.bleu import bleu
from evaluators.captions.cider import cider
from evaluators.captions.meteor import meteor, meteor_exact_stem
from evaluators.captions.ptb import tokenize
from evaluators.captions.rouge import rouge_l
from evaluators.captions.scored import Scored


@dataclass(frozen=True)
class CaptionScores:
    """Metric to its scores, all in [0, 1] but CIDEr in [0, 10]; metric to why it is left out."""

    scores: dict[str, Scored]
    left_out: dict[str, str]


def score_captions(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Scores of captions as they were written: candidates (N,), one or more references of each.

    Without pycocoevalcap METEOR is left out and "METEOR (exact, stem)" stands in its place.

    Raises:
        ValueError: not as many lists of references as candidates, or an empty one.
    """
    own = [tokenize(caption) for caption in candidates]
    refs = [[tokenize(caption) for caption in of_one] for of_one in references]
    scores = {**bleu(own, refs), "ROUGE-L": rouge_l(own, refs), "CIDEr": cider(own, refs)}
    left_out = {}
    if meteor_lexicon.installed():
        scores["METEOR"] = meteor(own, refs)
    else:
        scores["METEOR (exact, stem)"] = meteor_exact_stem(own, refs)
        left_out["METEOR"] = "pycocoevalcap, which has its tables, is not installed"
    if reason := spice.missing():
        left_out["SPICE"] = reason
    else:
        scores["SPICE"] = spice.spice(own, refs)
    return CaptionScores(scores, left_out)
