"""Our networks against the implementations that they are checked with: same weights, same inputs,
one process, interleaved rounds; CUDA where there is one, else CPU.

CLIP ViT-B/32 against open_clip: both encoders on a batch of 16 and a training step on a batch of
16, texts of 8 to 20 tokens as captions have; BLIP base against transformers: captions of 20 tokens
for 8 images, greedy; a band of 256 tokens against the dense kernel under the same mask, and against
the full causal kernel, at 1,024 to 8,192 tokens. Each line says how far the outputs lie apart and
how much memory each contender takes at its peak beyond weights and inputs (resident on CPU, in a
process of its own; allocated on CUDA).

    python benchmarks/models.py [clip] [blip] [sparse]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROUNDS = 7

Run = Callable[[], Any]


@dataclass(frozen=True)
class Contest:
    """Two runs of the same work; each returns a tensor or a list that both must agree on."""

    ours: Run
    peer: Run
    items: int
    unit: str
    least: float
    """Ratio of rates that is to be reached."""


def device() -> Any:
    """CUDA if there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(run: Run) -> float:
    """Of one call, until the device is done."""
    import torch

    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def apart(ours: Any, peer: Any) -> float:
    """Greatest absolute difference; of captions, how many differ."""
    if isinstance(ours, list):
        return float(sum(a != b for a, b in zip(ours, peer, strict=True)))
    return float((ours - peer).abs().max())


def clip_pair() -> tuple[Any, Any, Any, Any]:
    """Our CLIP ViT-B/32 and open_clip's with the same weights; pixels and tokens of 16 pairs."""
    import open_clip
    import torch

    from models.clip import CLIP, CLIP_B_32
    from models.public.clip import from_openai
    from models.weights import fit

    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-B-32-quickgelu").to(device())
    ours = CLIP(CLIP_B_32)
    fit(ours, from_openai({k: v.cpu() for k, v in theirs.state_dict().items()}), "open_clip")
    pixels = torch.randn(16, 3, 224, 224)
    tokens = torch.zeros(16, 77, dtype=torch.int64)
    for row in range(16):
        length = 8 + row % 13
        tokens[row, :length] = torch.randint(1, 49406, (length,))
        tokens[row, length - 1] = 49407
    return ours.to(device()), theirs, pixels.to(device()), tokens.to(device())


def inference(run: Run) -> Run:
    """`run` without gradients."""
    import torch

    def inside() -> Any:
        with torch.inference_mode():
            return run()

    return inside


def clip_step(losses: Callable[[], Any], model: Any) -> Run:
    """One training step: forward, backward, AdamW; returns the loss."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = losses()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def clip(part: str) -> Contest:
    """One of the parts image, text, step."""
    import open_clip

    ours, theirs, pixels, tokens = clip_pair()
    if part == "step":
        ours.train()
        theirs.train()
        loss = open_clip.ClipLoss()
        mine = clip_step(lambda: ours({"pixels": pixels, "tokens": tokens})["loss"], ours)
        other = clip_step(lambda: loss(*theirs(pixels, tokens)), theirs)
        return Contest(mine, other, 16, "pairs/s", 1.0)
    ours.eval()
    theirs.eval()
    if part == "image":
        runs = (lambda: ours.encode_image(pixels), lambda: theirs.encode_image(pixels))
    else:
        runs = (lambda: ours.encode_text(tokens), lambda: theirs.encode_text(tokens))
    return Contest(inference(runs[0]), inference(runs[1]), 16, f"{part}s/s", 1.0)


def blip() -> Contest:
    """Captions of 20 tokens for 8 images of 224 pixels, greedy, BLIP base drawn at random."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration

    from models.blip.blip import BLIP
    from models.generation import GenerationConfig
    from models.public.blip import read
    from models.weights import fit

    torch.manual_seed(0)
    sizes = BlipConfig(text_config={"num_attention_heads": 12}, vision_config={"image_size": 224})
    theirs = BlipForConditionalGeneration(sizes).eval()
    config, tensors = read(sizes.to_dict(), theirs.state_dict())
    ours = BLIP(config).eval()
    fit(ours, tensors, "transformers")
    ours, theirs = ours.to(device()), theirs.to(device())
    ours.pack()
    pixels = torch.randn(8, 3, 224, 224, device=device())
    settings = GenerationConfig(most=20, least=20)

    def peer() -> list[list[int]]:
        made = theirs.generate(pixels, max_new_tokens=20, min_new_tokens=20, do_sample=False)
        return [row[1:] for row in made.tolist()]

    return Contest(lambda: ours.caption(pixels, settings), peer, 8, "images/s", 1.3)


def sparse(length: int) -> Contest:
    """A band of 256 tokens by blocks against the dense kernel under its mask, 8 heads of 64."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from models.layers import masks
    from models.layers.patterns import Banded
    from models.layers.sparse import SparseAttention

    torch.manual_seed(0)
    attention = SparseAttention(512, 8, (Banded(256),)).to(device())
    q, k, v = (torch.randn(1, 8, length, 64, device=device()) for _ in range(3))
    mask = masks.banded(length, 256, device())
    return Contest(
        inference(lambda: attention.mix(q, k, v, causal=True)),
        inference(lambda: scaled_dot_product_attention(q, k, v, attn_mask=mask)),
        length,
        "tokens/s",
        1.0,
    )


def causal(length: int) -> Contest:
    """The same band against the full causal kernel, which computes half of all pairs; its outputs
    differ, so both return nothing to compare.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    contest = sparse(length)
    q, k, v = (torch.randn(1, 8, length, 64, device=device()) for _ in range(3))

    def full() -> list[Any]:
        with torch.inference_mode():
            scaled_dot_product_attention(q, k, v, is_causal=True)
        return []

    def ours() -> list[Any]:
        contest.ours()
        return []

    return Contest(ours, full, length, "tokens/s", 1.0)


CONTESTS: dict[str, Callable[[], Contest]] = {
    "clip image encoder": lambda: clip("image"),
    "clip text encoder": lambda: clip("text"),
    "clip training step": lambda: clip("step"),
    "blip captioning": blip,
    "sparse: band of 256, 1024 tokens": lambda: sparse(1024),
    "sparse: band of 256, 4096 tokens": lambda: sparse(4096),
    "sparse: band of 256, 8192 tokens": lambda: sparse(8192),
    "sparse: against full causal, 1024 tokens": lambda: causal(1024),
    "sparse: against full causal, 4096 tokens": lambda: causal(4096),
    "sparse: against full causal, 8192 tokens": lambda: causal(8192),
}


def peak(name: str, side: str) -> float:
    """Peak mebibytes of one run of a contender, in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, "--side", side]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(float(made.stdout.split()[-1]), 1)


def measure_peak(name: str, side: str) -> None:
    """Print the peak of one contender."""
    import torch

    contest = CONTESTS[name]()
    run = contest.ours if side == "ours" else contest.peer
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts over
    before = resident("VmRSS")
    run()
    print(resident("VmHWM") - before)


def resident(field: str) -> float:
    """Mebibytes of this process, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def compare(name: str) -> None:
    """Interleaved rounds of one contest, and its line."""
    contest = CONTESTS[name]()
    difference = apart(contest.ours(), contest.peer())
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(ROUNDS):
        for side in ("ours", "peer") if number % 2 == 0 else ("peer", "ours"):
            times[side].append(seconds(getattr(contest, side)))
    ours, peer = (contest.items / statistics.median(times[side]) for side in ("ours", "peer"))
    line = {
        "name": name,
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "ratio": round(ours / peer, 3),
        "unit": contest.unit,
        "ok": ours / peer >= contest.least,
        "difference": difference,
        "peak_mib_ours": peak(name, "ours"),
        "peak_mib_peer": peak(name, "peer"),
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Compare those whose name begins with one of the words given, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("words", nargs="*", default=[""])
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        measure_peak(options.peak, options.side)
        return
    for name in CONTESTS:
        if name.startswith(tuple(options.words)):
            compare(name)


if __name__ == "__main__":
    main()
