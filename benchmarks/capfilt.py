"""Captioning for CapFilt: images a second against a plain transformers loop, and a second actor.

BLIP base in Hugging Face's layout with random weights, 224 pixels, greedy captions of 20 tokens,
encoded JPEGs in, texts out. The plain loop is the model card's: open, process, generate, decode, an
image at a time; beside it the same in batches of 8. Ours is `annotators.blip.BLIPCaptioner` on the
same directory, in batches of 8, in the same process, rounds interleaved; captions must be equal.

The scaling runs the captioning stage on Ray Data (`annotators.capfilt.write_captioned`) with one
captioning actor and with two, torch at one thread in each; the rate counts from the first batch's
start to the last one's end, so that starting Ray is not in it. The matcher there judges nothing.

    python benchmarks/capfilt.py
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
IMAGES, BATCH, TOKENS, ROUNDS, SIDE = 16, 8, 20, 3, 224
STAGE_IMAGES = 192
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def directory(path: Path) -> str:
    """A BLIP base with random weights, as transformers saves it, and its processor."""
    import torch
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
    )

    torch.manual_seed(0)
    config = BlipConfig(text_config={"num_attention_heads": 12}, vision_config={"image_size": SIDE})
    BlipForConditionalGeneration(config).eval().save_pretrained(path)
    words = [*WORDS, *(f"word{n}" for n in range(config.text_config.vocab_size - len(WORDS) - 2))]
    (path / "vocab.txt").write_text("\n".join([*words, "[DEC]", "[ENC]"]))
    BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    BlipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(path)
    return str(path)


def pictures(count: int) -> list[bytes]:
    """JPEGs of 320 x 240 smooth fields."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(chance.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        out = io.BytesIO()
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return made


def plain_loop(path: str, batch: int) -> Callable[[Sequence[bytes]], list[list[int]]]:
    """transformers as its model card shows it; ids without the start."""
    import torch
    from PIL import Image
    from transformers import BlipForConditionalGeneration, BlipImageProcessor

    model = BlipForConditionalGeneration.from_pretrained(path).eval()
    processor = BlipImageProcessor.from_pretrained(path)

    def run(images: Sequence[bytes]) -> list[list[int]]:
        out: list[list[int]] = []
        for start in range(0, len(images), batch):
            opened = [
                Image.open(io.BytesIO(i)).convert("RGB") for i in images[start : start + batch]
            ]
            with torch.inference_mode():
                pixels = processor(opened, return_tensors="pt")["pixel_values"]
                made = model.generate(
                    pixels, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False
                )
            out += [row[1:] for row in made.tolist()]
        return out

    return run


def our_captioner(path: str) -> Any:
    """Ours, greedy."""
    from annotators.blip import BLIPCaptioner, Captioning
    from models.generation import GenerationConfig

    greedy = GenerationConfig("greedy", most=TOKENS, least=TOKENS)
    return BLIPCaptioner(path, "stretch", Captioning(greedy))


def our_loop(path: str) -> Callable[[Sequence[bytes]], list[list[int]]]:
    """Ours on encoded images, to ids."""
    captioner = our_captioner(path)
    config = captioner.config

    def run(images: Sequence[bytes]) -> list[list[int]]:
        out: list[list[int]] = []
        for start in range(0, len(images), BATCH):
            prepared = [captioner.prepare(image) for image in images[start : start + BATCH]]
            out += captioner.model.caption(captioner.states(prepared), config.generation)
        return out

    return run


class TimedCaptioner:
    """Ours at one thread; notes when each batch began and ended."""

    def __init__(self, path: str, notes: str) -> None:
        import torch

        torch.set_num_threads(1)
        self.captioner = our_captioner(path)
        self.prepare, self.notes = self.captioner.prepare, notes

    def captions(self, images: Sequence[bytes], keys: Sequence[str]) -> Any:
        """As the captioner's."""
        started = time.time()
        made = self.captioner.captions(images, keys)
        with open(f"{self.notes}/{os.getpid()}", "a") as file:
            file.write(f"{started} {time.time()} {len(images)}\n")
        return made


class NoMatcher:
    """Judges nothing."""

    def judge(self, images: Sequence[bytes], texts: Sequence[Sequence[str]]) -> Any:
        """No scores."""
        from annotators.captions import Judged

        return [[Judged()] * len(row) for row in texts]


def corpus(path: Path, images: Sequence[bytes]) -> Any:
    """A samples dataset of the images."""
    import pyarrow as pa

    from pipelines import datasets
    from pipelines.records import SAMPLES, record_id

    def write(folder: str) -> dict[str, int]:
        rows = []
        for number, image in enumerate(images):
            row = {name: _blank(SAMPLES.field(name).type) for name in SAMPLES.names}
            url = f"http://images.example/{number}.jpg"
            row |= {"image_id": record_id(url), "image_url": url, "image": image}
            row |= {"format": "jpeg", "width": 320, "height": 240, "phash": f"{number:016x}"}
            rows.append(row | {"sha256": hashlib.sha256(image).hexdigest()})
        datasets.write_shard(f"{folder}/0.parquet", pa.Table.from_pylist(rows, SAMPLES))
        return {}

    return datasets.build(str(path), name="samples", config={}, seed=0, parents=[], write=write)


def _blank(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_list(kind):
        return []
    return b"" if kind == pa.binary() else "" if kind == pa.string() else 0


def stage_rate(path: str, samples: Any, actors: int, work: Path) -> float:
    """Images a second of the captioning stage."""
    from annotators.capfilt import Workers, write_captioned
    from pipelines.engines import Engines

    notes = work / f"notes-{actors}"
    notes.mkdir()
    prepare = our_captioner(path).prepare
    write_captioned(
        samples,
        str(work / f"captioned-{actors}"),
        partial(TimedCaptioner, path, str(notes)),
        NoMatcher,
        (prepare, prepare),
        Workers(captioners=actors, decoders=1, batch_rows=BATCH),
        Engines(),
    )
    lines = [line.split() for file in notes.iterdir() for line in file.read_text().splitlines()]
    starts, ends, counts = zip(*((float(a), float(b), int(c)) for a, b, c in lines), strict=True)
    assert sum(counts) == STAGE_IMAGES, f"{sum(counts)} of {STAGE_IMAGES} images"
    return STAGE_IMAGES / (max(ends) - min(starts))


def line(name: str, ours: float, peer: float, goal: float, **more: Any) -> None:
    """One comparison as JSON; ratio over 1: ours is better."""
    figures = {"name": name, "ours": round(ours, 3), "peer": round(peer, 3)}
    ratio = ours / peer
    print(
        json.dumps(
            {**figures, "ratio": round(ratio, 3), "unit": "images/s", "ok": ratio >= goal, **more}
        ),
        flush=True,
    )


def compare(path: str) -> None:
    """Interleaved rounds of ours, the plain loop and the batched one."""
    images = pictures(IMAGES)
    runs = {
        "ours": our_loop(path),
        "plain": plain_loop(path, 1),
        "batched": plain_loop(path, BATCH),
    }
    said = {name: run(images) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.perf_counter()
            run(images)
            seconds[name].append(time.perf_counter() - started)
    rate = {name: IMAGES / statistics.median(found) for name, found in seconds.items()}
    equal = sum(a == b for a, b in zip(said["ours"], said["batched"], strict=True)) / IMAGES
    line("captioning against a plain loop", rate["ours"], rate["plain"], 1.5, equal=equal)
    line("captioning against a batched loop", rate["ours"], rate["batched"], 1.0, equal=equal)


def scale(path: str, work: Path) -> None:
    """One actor and two."""
    from pipelines.engines import Engines, ray_session

    samples = corpus(work / "samples", pictures(STAGE_IMAGES))
    with ray_session(Engines()):
        one, two = (stage_rate(path, samples, actors, work) for actors in (1, 2))
    line("captioning stage, two actors against one", two, one, 1.6)


def main() -> None:
    """Both comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        path = directory(Path(folder) / "blip")
        compare(path)
        scale(path, Path(folder))


if __name__ == "__main__":
    main()
