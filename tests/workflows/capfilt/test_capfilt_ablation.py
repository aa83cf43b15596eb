"""The ablation on a tiny corpus: two conditions, one seed, the table and its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets import Dataset, open_dataset
from workflows import cli
from workflows.ablation import chosen
from workflows.capfilt.ablation import CONDITIONS, AblationConfig

pytestmark = pytest.mark.timeout(900)  # eight runs of Ray Train, each some seconds to start


def test_conditions_are_chosen_by_name() -> None:
    found = chosen(("both, beam", "none"), CONDITIONS)
    assert [one.name for one in found] == ["none", "both, beam"]
    assert len({one.name for one in CONDITIONS}) == len(CONDITIONS)
    with pytest.raises(ValueError, match="; legal: "):
        chosen(("all",), CONDITIONS)


def test_corpora_models_and_table(tmp_path: Path, sheets: Callable[..., Dataset]) -> None:
    web = sheets(tmp_path / "input", "web", 40, True)
    clean = sheets(tmp_path / "clean-pairs", "clean", 40, False)
    flags = ["--data.input", web.path, "--data.clean", clean.path, "--out", str(tmp_path / "out")]
    parts = (
        "contrast",
        "pretraining",
        "captioner-tuning",
        "matcher-tuning",
        "fresh-contrast",
        "fresh",
    )
    for part in parts:
        flags += [f"--{part}.train.steps", "3", f"--{part}.train.batch-size", "16"]
    flags += ["--seeds", "0", "--conditions", "none", "both, nucleus"]
    assert cli.run("sightmill capfilt-ablation", AblationConfig, flags) == 0
    out = tmp_path / "out"
    table: Any = json.loads((out / "report" / "ablation.json").read_text())
    assert "none" in str(table) and "both, nucleus" in str(table)
    plain = open_dataset(str(out / "samples-none"))
    texts = [t["source"] for row in plain.table(["texts"]).to_pylist() for t in row["texts"]]
    assert "caption" not in texts, "without bootstrapping there are only web and clean texts"
    assert (
        plain.manifest.rows
        == open_dataset(str(out / "web")).manifest.rows
        + open_dataset(str(out / "clean")).manifest.rows
    )
    assert (out / "report" / "ablation.html").read_text().count("both, nucleus") >= 1
