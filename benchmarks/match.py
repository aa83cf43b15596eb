"""Captions matched a second and core at 500,000 queries, beside the published ways to do it.

    python benchmarks/match.py [--queries 500000] [--captions 50000] [--rounds 5]

Ours is `pipelines.web.match.match_batch`, normal form and Arrow columns included, as the pipeline
calls it. The peers follow the description in MetaCLIP (Xu et al. 2023): spaces around a caption
and around its punctuation, then either every entry looked for in turn (plain loop; on a sample,
since it takes some 40 ms a caption) or one pass of an Aho-Corasick automaton of all entries
(pyahocorasick), giving a set of entries a caption.

Both split captions alike only where no mark stands between words and all is lower case, so the
synthetic captions are of that kind: Zipf-distributed words, a mark at the end. The queries are
half words, else two- to four-word phrases, as in CLIP's list. Rates are over process CPU time, the
median of interleaved rounds; all matches are checked to be identical.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ahocorasick
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines.web.match import Matcher, match_batch

FLOOR = 50_000
"""Captions a second and core that ours has to do."""
ROWS = 8192
SAMPLE = 20
"""Captions of a round of the plain loop."""


def vocabulary(size: int, rng: np.random.Generator) -> list[str]:
    """Distinct made-up words of one to four syllables, shorter ones first as in real languages."""
    syllables = [
        c + v for c in "bdfghklmnprstvwz" for v in ("a", "e", "i", "o", "u", "an", "er", "is")
    ]
    words = itertools.chain.from_iterable(
        map("".join, itertools.product(syllables, repeat=n)) for n in (1, 2)
    )
    short = list(words)
    long = ["".join(rng.choice(syllables, 3 + i % 2)) for i in range(2 * size)]
    return list(dict.fromkeys([*rng.permutation(short).tolist(), *long]))[:size]


def synthetic(queries: int, captions: int) -> tuple[list[str], list[str]]:
    """(queries, captions) over one Zipf vocabulary."""
    rng = np.random.default_rng(0)
    words = vocabulary(queries * 3 // 5, rng)
    share = 1 / (np.arange(len(words)) + 2.7)
    share /= share.sum()
    listed = set(words[: queries // 2])
    while len(listed) < queries:
        drawn = iter(rng.choice(len(words), 4 * queries, p=share).tolist())
        lengths = rng.choice([2, 3, 4], queries, p=[0.8, 0.15, 0.05]).tolist()
        phrases = (" ".join(words[i] for i in itertools.islice(drawn, n)) for n in lengths)
        listed.update(itertools.islice(phrases, queries - len(listed)))
    lengths = rng.integers(4, 16, captions).tolist()
    drawn = iter(rng.choice(len(words), sum(lengths), p=share).tolist())
    texts = [" ".join(words[i] for i in itertools.islice(drawn, n)) for n in lengths]
    return sorted(listed), [text + "." if i % 3 else text for i, text in enumerate(texts)]


def spaced(caption: str) -> str:
    """A caption as the peers want it."""
    for space in "\t\n\r":
        caption = caption.replace(space, " ")
    for mark in ",.;:?!`":
        caption = caption.replace(mark, f" {mark} ")
    return f" {caption} "


def automaton_of(queries: list[str]) -> ahocorasick.Automaton:
    """The Aho-Corasick automaton of all entries between spaces."""
    automaton = ahocorasick.Automaton()
    for query in queries:
        automaton.add_word(f" {query} ", query)
    automaton.make_automaton()
    return automaton


def cpu_seconds(work: Callable[[], object]) -> float:
    """Process CPU seconds of `work`."""
    start = time.process_time()
    work()
    return time.process_time() - start


def rates(contenders: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, float]:
    """Median captions a CPU second of each contender (work, captions), in interleaved rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, (work, _) in contenders.items():
            seconds[name].append(cpu_seconds(work))
        shown = ", ".join(
            f"{name} {contenders[name][1] / s[-1]:,.0f}" for name, s in seconds.items()
        )
        print(
            f"round {number + 1}, captions/s/core: {shown}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    return {name: contenders[name][1] / statistics.median(s) for name, s in seconds.items()}


def main() -> int:
    """Run the comparison; exit status 1 if ours is not the faster one or below its floor."""
    parser = argparse.ArgumentParser(description="Matching beside Aho-Corasick and a plain loop.")
    parser.add_argument("--queries", type=int, default=500_000)
    parser.add_argument("--captions", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    queries, captions = synthetic(options.queries, options.captions)
    matcher, automaton = Matcher(queries), automaton_of(queries)
    print(f"build: ours {cpu_seconds(lambda: Matcher(queries)):.1f} s", end=", ")
    print(f"Aho-Corasick {cpu_seconds(lambda: automaton_of(queries)):.1f} s")
    column = pa.RecordBatch.from_pydict({"text": captions})
    starts = range(0, len(captions), ROWS)
    entries = [f" {query} " for query in queries]

    def ours() -> list[pa.RecordBatch]:
        return [match_batch(column.slice(start, ROWS), matcher) for start in starts]

    def aho_corasick() -> list[set[str]]:
        return [{query for _, query in automaton.iter(spaced(caption))} for caption in captions]

    def plain_loop() -> list[set[str]]:
        sample = map(spaced, captions[:SAMPLE])
        return [{entry[1:-1] for entry in entries if entry in caption} for caption in sample]

    found = aho_corasick()
    rows = [row for batch in ours() for row in batch.to_pylist()]
    identical = [(row["text"], row["queries"]) for row in rows] == [
        (caption, sorted(entry)) for caption, entry in zip(captions, found, strict=True) if entry
    ] and plain_loop() == found[:SAMPLE]
    matches = sum(map(len, found)) / len(captions)
    print(f"{len(queries):,} queries, {len(captions):,} captions, {matches:.1f} matches a caption")
    assert identical, "the three do not find the same matches"
    del found, rows
    n = len(captions)
    contenders = {"ours": (ours, n), "ahocorasick": (aho_corasick, n), "loop": (plain_loop, SAMPLE)}
    rate = rates(contenders, options.rounds)
    passed = True
    for peer in ("loop", "ahocorasick"):
        ok = rate["ours"] > rate[peer] and rate["ours"] >= FLOOR
        passed &= ok
        line = {"name": f"match/{peer}", "ours": rate["ours"], "peer": rate[peer]}
        line |= {"ratio": rate["ours"] / rate[peer], "unit": "captions/s/core", "ok": ok}
        print(json.dumps(line))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
