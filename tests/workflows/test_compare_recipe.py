"""`sightmill compare` over runs whose difference is known: page, JSON, CSV and exit status."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pytest

from evaluators import predictions
from pipelines import datasets
from pipelines.records import SCORES
from workflows import cli


def scored(path: Path, right: int, n: int = 40) -> str:
    """A run whose model got the first `right` of n items."""
    rows = [
        {
            "suite": "zero-shot",
            "dataset": "signs",
            "model": "CLIP",
            "task": "zero_shot",
            "item": f"item {i}",
            "truth": "stop",
            "rank": 0 if i < right else 1,
            "candidates": 9,
            "partners": 1,
            "top": ["stop" if i < right else "<go>"],
            "top_scores": [0.5],
        }
        for i in range(n)
    ]
    answers = datasets.build(
        str(path / "predictions/clip"),
        name="predictions",
        config={"model": "CLIP", "right": right},
        seed=0,
        parents=[],
        write=lambda folder: put(folder, rows, predictions.SCHEMA),
        content_hash=lambda _: f"{right:032x}",
    )
    rate = right / n
    figures = [
        {
            "suite": "zero-shot",
            "dataset": "signs",
            "split": "all",
            "metric": metric,
            "model": "CLIP",
            "value": value,
            "n": n,
            "standard_error": error,
        }
        for metric, value, error in (
            ("top1", rate, (rate * (1 - rate) / n) ** 0.5),
            ("calibration_error", 0.1, None),
        )
    ]
    datasets.build(
        str(path / "scores"),
        name="scores",
        config={},
        seed=0,
        parents=[answers],
        write=lambda folder: put(folder, figures, SCORES),
    )
    return str(path)


def put(folder: str, rows: list[dict[str, object]], schema: pa.Schema) -> dict[str, int]:
    datasets.write_shard(f"{folder}/0.parquet", pa.Table.from_pylist(rows, schema))
    return {}


def compare(*arguments: str) -> int:
    module, config, _ = cli.RECIPES["compare"]
    imported = __import__(module, fromlist=[config])
    return cli.run("sightmill compare", getattr(imported, config), list(arguments))


def test_a_regression_is_flagged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [scored(tmp_path / f"night {i}", right) for i, right in enumerate((30, 31, 12))]
    out = tmp_path / "out"
    assert compare(*runs, "--out", str(out), "--fail") == 1
    assert "zero-shot/signs, top-1: −47.5 points from night 1 to night 2" in capsys.readouterr().out
    assert compare(*runs, "--out", str(out)) == 0
    assert compare(*runs[:2], "--out", str(tmp_path / "small"), "--fail") == 0

    whole = json.loads((out / "compare.json").read_text())
    assert [run["run"] for run in whole["runs"]] == ["night 0", "night 1", "night 2"]
    told = [
        (c["before"], c["after"], c["lost"], c["gained"], c["verdict"]) for c in whole["changes"]
    ]
    assert told == [
        ("night 0", "night 1", 0, 1, "no difference shown"),
        ("night 1", "night 2", 19, 0, "worse"),
        ("night 0", "night 2", 18, 0, "worse"),
    ]
    assert whole["changes"][1]["p"] == pytest.approx(2 * 0.5**19)
    rows = list(csv.DictReader((out / "figures.csv").open()))
    assert [row["value"] for row in rows if row["metric"] == "top1"] == ["0.75", "0.775", "0.3"]
    assert [row["standard_error"] for row in rows if row["metric"] != "top1"] == ["", "", ""]
    assert len(list(csv.DictReader((out / "changes.csv").open()))) == 3

    page = (out / "compare.html").read_text()
    assert page.count('class="dot fell"') == 1  # night 2, in the chart of top-1
    assert page.count("<svg") == 2 and page.count('class="error one"') == 3
    assert "<td>worse</td>" not in page and page.count(">worse</td>") == 2
    assert 'class="sortable"' in page and "<button>adjusted p</button>" in page


def test_what_cannot_be_compared_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(str(tmp_path), "--out", str(tmp_path / "out")) == 1
    assert "holds no finished scores" in capsys.readouterr().err
    one = scored(tmp_path / "one", 3)
    assert compare(one, "--out", str(tmp_path / "out"), "--level", "2") == 1
    assert "legal: above 0 and below 1" in capsys.readouterr().err
    assert compare(one, "--out", str(tmp_path / "out")) == 0
    assert "a line needs two runs" in (tmp_path / "out/compare.html").read_text()
