"""A public set becomes a dataset; what is left out is counted in its manifest."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from pipelines.datasets import open_dataset, verify
from workflows import cli
from workflows.job import Job
from workflows.screens.public import PublicScreensConfig, read_public


def test_a_set_in_a_folder_becomes_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"questionId": n, "question": f"{n}?", "image": f"{n}.png", "answers": ["x"]}
        for n in range(3)
    ]
    (tmp_path / "val_v1.0.json").write_text(json.dumps({"data": rows}))
    for name in ("0.png", "1.png"):
        Image.new("L", (4, 4)).save(picture := io.BytesIO(), "png")
        (tmp_path / name).write_bytes(picture.getvalue())
    out = tmp_path / "out"
    arguments = ["--name", "docvqa", "--root", str(tmp_path), "--split", "val", "--out", str(out)]
    assert cli.run("sightmill public-screens", PublicScreensConfig, arguments) == 0
    made = open_dataset(str(out / "docvqa-val"))
    assert made.manifest.rows == 2 and made.manifest.dropped == {"missing_image": 1}
    assert verify(made.path) == []
    assert "val_v1.0.json, 2" in capsys.readouterr().err


def test_a_set_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_v1.0.json").write_text('{"data": [{"question": "?", "image": "a"}]}')
    config = PublicScreensConfig("docvqa", str(tmp_path), str(tmp_path / "out"))
    with pytest.raises(ValueError, match="no_answer: 1"):
        read_public(Job(config.out), config)
    assert cli.RECIPES["public-screens"][:2] == (
        PublicScreensConfig.__module__,
        PublicScreensConfig.__name__,
    )
