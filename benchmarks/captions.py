"""Caption scores of 5,000 images with 5 references each, beside the COCO evaluation in Java.

    python benchmarks/captions.py [--images 5000] [--seed 0]

Draws captions like COCO's, has both tokenize them and count BLEU, ROUGE-L, CIDEr and METEOR, and
prints the greatest difference of any image's score beside both times. It passes if no difference
exceeds 0.001. Needs pycocoevalcap and Java; without, it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from evaluators.captions import meteor_lexicon
from evaluators.captions.score import score_captions

TOLERANCE = 1e-3
WHO = "A man|Two women|A young boy|A group of people|A dog|Some children|A train|An old man|Kids"
DO = "riding|is riding|sits on|standing next to|holding|playing with|walks past|doesn't see|near"
WHAT = "a surfboard|the big table|a bench|a tennis racket|some pizza|a couch|the man's bike|a kite"
WHERE = "in a park|on the beach|in front of a house|at night|in the U.S.|next to a fence|, outside"
ENDS = "|.| .|!|..."

Captions = tuple[list[str], list[list[str]]]


def draw(images: int, seed: int) -> Captions:
    """Candidates and five references each, which share some of their parts."""
    rng = random.Random(seed)
    parts = [part.split("|") for part in (WHO, DO, WHAT, WHERE)]

    def caption(base: list[str]) -> str:
        words = [
            rng.choice(p) if rng.random() < 0.4 else b for p, b in zip(parts, base, strict=True)
        ]
        return " ".join(words) + rng.choice(ENDS.split("|"))

    bases = [[rng.choice(part) for part in parts] for _ in range(images)]
    return [caption(b) for b in bases], [[caption(b) for _ in range(5)] for b in bases]


def theirs(candidates: list[str], references: list[list[str]]) -> dict[str, np.ndarray]:
    """Per-image scores of the COCO evaluation."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    own = tokenizer.tokenize({i: [{"caption": c}] for i, c in enumerate(candidates)})
    refs = tokenizer.tokenize(
        {i: [{"caption": c} for c in of_one] for i, of_one in enumerate(references)}
    )
    with contextlib.redirect_stdout(io.StringIO()):
        _, bleus = Bleu().compute_score(refs, own)
    found = {f"BLEU-{n}": np.array(scores) for n, scores in enumerate(bleus, start=1)}
    for name, metric in (("ROUGE-L", Rouge()), ("CIDEr", Cider()), ("METEOR", Meteor())):
        found[name] = np.array(metric.compute_score(refs, own)[1])
    return found


def main() -> int:
    """Count both; exit status 1 if they differ."""
    parser = argparse.ArgumentParser(description="Caption scores beside the COCO evaluation.")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if meteor_lexicon.installed() is None or shutil.which("java") is None:
        print("left out: needs pycocoevalcap and Java")
        return 0
    captions = draw(options.images, options.seed)
    start = time.perf_counter()
    ours = score_captions(*captions).scores
    middle = time.perf_counter()
    peer = theirs(*captions)
    seconds = {"ours": middle - start, "peer": time.perf_counter() - middle}
    apart = {name: float(np.abs(ours[name].per_image - peer[name]).max()) for name in peer}
    for name, difference in apart.items():
        print(f"{name}: {ours[name].value:.4f}, greatest difference of an image {difference:.1e}")
    ok = max(apart.values()) <= TOLERANCE
    ratio = seconds["peer"] / seconds["ours"]
    print(json.dumps({"name": "captions", **seconds, "ratio": ratio, "unit": "s", "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
