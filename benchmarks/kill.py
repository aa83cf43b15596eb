"""Kill -9 of a random process of a recipe at random moments, rerun each time: is anything lost?

    python benchmarks/kill.py [--kills 5] [--seed 0]   # a shortened demo
    python benchmarks/kill.py --whole runs/demo demo   # whole, against a run that stands
    python benchmarks/kill.py --whole clean --seconds 60 capfilt --data.input corpus/samples ...

Runs a recipe once without interruption and once with `kills` interruptions, each of the driver or
of a process picked at random from its tree: the crawler, a Ray worker, Ray's daemons. With
`--whole` the uninterrupted run is one that stands already, and took about `--seconds`.
Then every dataset of both runs must have one content hash, and no shard that was finished before a
kill may have been written again. Last line: one JSON line a comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
SHORT = ("--schedule.train.steps", "120", "--supervised.train.steps", "60")
SHORT += ("--schedule.train.checkpoint-every", "40", "--supervised.train.checkpoint-every", "20")


def start(out: Path, recipe: Sequence[str]) -> subprocess.Popen[bytes]:
    """The recipe, its name and its flags, into `out`, in a session of its own."""
    command = [sys.executable, "-c", "from workflows.cli import main; main()", *recipe]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, "--out", str(out)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(out.parent / f"{out.name}.log").open("ab"),
        start_new_session=True,
    )


def hashes(out: Path) -> dict[str, str]:
    """Content hash by dataset folder."""
    return {
        str(file.parent.relative_to(out)): json.loads(file.read_text())["content_hash"]
        for file in sorted(out.rglob("manifest.json"))
    }


def shards(out: Path) -> dict[str, int]:
    """Time of writing of every finished shard, by path."""
    found = [*out.rglob("[!._]*.parquet"), *out.rglob("crawl-*.warc.gz")]
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in found}


def kill_one(run: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kill the driver, or as often a random process of its tree; returns its name."""
    tree = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    victim = rng.choice(tree) if rng.random() < 0.5 else tree[0]
    name = " ".join(victim.cmdline()[:4])[:70]
    victim.kill()
    return name


def finish(run: subprocess.Popen[bytes]) -> int:
    """Wait for the run; one that lives on without what it needs is ended after a while."""
    try:
        return run.wait(timeout=3600)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, 9)
        return run.wait()


def main() -> None:
    """Both runs, and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("recipe", nargs=argparse.REMAINDER, default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "kill")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    whole, torn = arguments.whole or arguments.out / "whole", arguments.out / "torn"
    recipe, seconds = arguments.recipe or ["demo", *SHORT], arguments.seconds
    if not arguments.whole:
        began = time.monotonic()
        status = finish(start(whole, recipe))
        seconds = time.monotonic() - began
        print(f"uninterrupted: exit {status}, {seconds:.0f} s", flush=True)
    rewritten = 0
    for number in range(arguments.kills):
        run = start(torn, recipe)
        time.sleep(rng.uniform(0.05, 0.8) * seconds / (number + 1))
        if run.poll() is not None:
            print(f"kill {number}: the run had ended, exit {run.returncode}", flush=True)
            continue
        before = shards(torn)
        name = kill_one(run, rng)
        status = finish(run)
        after = shards(torn)
        again = [path for path, when in before.items() if path in after and after[path] != when]
        rewritten += len(again)
        print(f"kill {number}: {name}: exit {status}, {len(before)} shards stood", flush=True)
    status = finish(start(torn, recipe))
    same = hashes(whole) == hashes(torn)
    print(f"last run: exit {status}; {len(hashes(torn))} datasets, hashes equal: {same}")
    equal = sum(hashes(torn).get(name) == value for name, value in hashes(whole).items())
    print(
        json.dumps(
            {
                "name": "datasets equal after kills",
                "ours": equal,
                "peer": len(hashes(whole)),
                "ratio": equal / max(1, len(hashes(whole))),
                "unit": "datasets",
                "ok": same and status == 0 and rewritten == 0,
            }
        )
    )


if __name__ == "__main__":
    main()
