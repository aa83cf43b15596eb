"""A small report with something in every section."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluators.report.cards.page import CardPage, Section
from evaluators.report.inputs import (
    Match,
    Naming,
    ReportInputs,
    Run,
    Sample,
    Shift,
    Stage,
)
from evaluators.robustness import Outcome, robustness
from evaluators.statistics import Interval
from evaluators.testbed import Against, Entry, against
from pipelines.web.head_tail import HeadTail


def drawing(seed: int, side: int = 40) -> bytes:
    """A PNG of noise."""
    out = io.BytesIO()
    array = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(array).save(out, "png")
    return out.getvalue()


def row(place: str, model: str, value: float, n: int) -> dict[str, Any]:
    """A score at "suite dataset split metric"."""
    error = 0.0 if model == "chance" else (value * (1 - value) / n) ** 0.5
    named = dict(zip(("suite", "dataset", "split", "metric"), place.split(), strict=True))
    return {**named, "model": model, "value": value, "n": n, "standard_error": error}


def manifest(name: str, rows: int, parents: list[str], failed: int = 0) -> dict[str, Any]:
    check = {
        "expectation": f"{name} holds",
        "critical": False,
        "success": not failed,
        "unexpected": failed,
        "examples": ["odd"] if failed else [],
    }
    return {
        "name": name,
        "schema": [{"name": "x"}],
        "rows": rows,
        "shards": [],
        "content_hash": f"{name:0<32}",
        "config": {},
        "config_hash": f"c{name:0<31}",
        "seed": 0,
        "code_version": "0+g1",
        "parents": [{"name": p, "path": f"../{p}", "content_hash": f"{p:0<32}"} for p in parents],
        "dropped": {},
        "quality": {"success": not failed, "expectations": [check]},
    }


def simulated_shift() -> Shift:
    rng = np.random.default_rng(0)
    hard = rng.random(80)
    ones = np.ones(80)

    def outcome(name: str, inside: float, outside: float) -> Outcome:
        return Outcome(name, (hard < inside) * 1.0, ones, (hard < outside) * 1.0, ones)

    standard = [outcome("supervised", 0.5, 0.25), outcome("pixels", 0.2, 0.1)]
    models = [outcome("CLIP", 0.6, 0.5), *standard]
    found = [robustness(m, standard, resamples=100) for m in models]
    return Shift("concepts", "known", "unseen", found, ("supervised", "pixels"))


def simulated_testbed() -> Against:
    """Three standard models on a line, and the model above it."""
    shown = [Entry(f"net {i}", "standard", 0.6 + 0.1 * i, 0.3 + 0.1 * i) for i in range(3)]
    sides = [Interval(value, value, value, 0.01) for value in (0.7, 0.5)]
    return against("imagenetv2", "CLIP", *sides, [*shown, Entry("more", "more data", 0.7, 0.45)])


@pytest.fixture
def inputs() -> ReportInputs:
    return ReportInputs(
        title="A <small> report",
        model="CLIP",
        created="2026-11-23",
        introduction="Made by hand.",
        funnel=[
            Stage("Crawled", 1000, "pages", dropped={"robots_txt": 12}),
            Stage("Kept", 250, "images", dropped={"near_duplicate": 34, "too_small": 5}),
        ],
        queries=HeadTail(
            5, ["the", "owl", "rare", "never"], np.array([900, 20, 1, 0]), np.array([5, 5, 1, 0])
        ),
        samples=[Sample(drawing(1), ["an owl", "<script>alert(1)</script>"], "http://x/owl.png")],
        rejected=[Sample(None, ["a map"], reason="too_many_pixels: 20000 x 20000")],
        runs=[
            Run(
                "CLIP",
                [
                    {"step": s, "loss": 5 - s / 10, "examples_per_second": 600, "seconds": 6.0 * s}
                    for s in range(1, 41)
                ],
                {"parameters": "6 million"},
            )
        ],
        scores=[
            row("concepts unseen all top1", "CLIP", 0.25, 1500),
            row("concepts unseen all top1", "supervised", 0.2, 1500),
            row("concepts unseen all top1", "chance", 0.001, 1500),
            row("concepts unseen held gap", "CLIP", 0.1, 80),
            row("captions stamps all image_to_text_r5", "CLIP", 0.5, 200),
            {**row("captions stamps all image_to_text_r1", "CLIP", 0.1, 200)}
            | {"standard_error": float("nan")},
        ],
        shots=[
            row("zero-shot digits all top1", "CLIP", 0.3, 100),
            row("zero-shot digits all top1", "chance", 0.1, 100),
            row("probe digits 1-shot top1", "CLIP", 0.2, 100),
            row("probe digits 4-shot top1", "CLIP", 0.5, 100),
            row("probe digits all top1", "CLIP", 0.8, 100),
            row("probe digits 1-shot top1", "pixels", 0.15, 100),
            row("probe digits all top1", "pixels", 0.7, 100),
        ],
        audits=[{"set": "digits", "status": "damaged", "remarks": "missing_class 1: test: 7"}],
        significance=[{"set": "digits", "against": "other", "n": 100, "p": 0.03125}],
        classes=[{"set": "digits", "class": "7", "accuracy": 0.25}],
        confusions=[{"set": "digits", "truth": "7", "answer": "1", "times": 12}],
        shifts=[simulated_shift()],
        testbed=[simulated_testbed()],
        namings=[
            Naming(drawing(2), "owl", [("owl", 0.8), ("cat", 0.1)], 0, "unseen"),
            Naming(b"no image", "bat", [("mouse", 0.6), ("bat", 0.2)], 1, "unseen"),
        ],
        mistakes=[Naming(drawing(5), "elk", [("fox", 0.97), ("elk", 0.02)], 1, "unseen")],
        matches=[
            Match("a red house", None, [("a house", drawing(3), True)], 0),
            Match("an owl", drawing(4), [("a bat", None, False)], 7),
        ],
        overlap=[{"test_set": "unseen", "images": 1500, "near_duplicates": 0, "share": 0.25}],
        fine_tuned={"Under shift": [{"set": "digits", "shift": "fonts", "robustness lost": 4.5}]},
        bias={"denigration": [{"by": "race", "group": "White", "n": 9, "share, %": 11.1}]},
        overlap_method="Perceptual hash.",
        descriptions=[
            CardPage("Model card of clip", "A CLIP.", [Section("Not for", ["Surveillance."])])
        ],
        manifests={
            "candidates": manifest("candidates", 2000, []),
            "samples": manifest("samples", 250, ["candidates", "gone"], failed=3),
        },
        config={"seed": 0},
        commands=["make demo"],
        left_out=["The stamps were left out."],
    )
