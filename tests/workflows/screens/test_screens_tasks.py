"""The recipe on a released-form file and on Parquet, with a server that answers plainly; a rerun
asks for nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets import open_dataset
from workflows import cli
from workflows.screens.tasks import screens

SCREEN = (
    "TEXT Traveller 20 300 400 430, TEXT Grace Chan 20 300 440 470, "
    "BUTTON Cancel 20 400 800 860, BUTTON Book now 500 900 800 860"
)


ASKED: list[str] = []


def answer(request: dict[str, Any]) -> tuple[int, str]:
    """The plain question back; the answer is always Grace Chan, but only with the screen."""
    prompt = request["messages"][0]["content"][0]["text"]
    ASKED.append(prompt)
    (key,) = request["response_format"]["json_schema"]["schema"]["properties"]
    said = "Grace Chan" if "<screen>" in prompt else "nobody"
    if key in ("question", "order"):
        said = json.loads(prompt.rpartition(": ")[2])
    return 200, json.dumps({"choices": [{"message": {"content": json.dumps({key: said})}}]})


@pytest.fixture
def url(chat_server: Callable[..., str]) -> str:
    ASKED.clear()
    return chat_server(answer)


def released_csv(path: Path) -> str:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["screen_id", "screen_annotation"])
        rows.writerows([[str(n), SCREEN.replace("Grace", f"Grace {n}")] for n in range(9)])
        rows.writerow(["10", "no elements"])
        rows.writerow(["11", SCREEN])
    return str(path)


def test_a_released_file_becomes_tasks_and_a_mixture(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = released_csv(tmp_path / "valid.csv"), str(tmp_path / "run")
    arguments = ["--screens", file, "--out", out, "--writer", url]
    recipe = cli.RECIPES["screen-tasks"]
    from workflows.screens.tasks import ScreenTasksConfig

    assert recipe[:2] == (ScreenTasksConfig.__module__, ScreenTasksConfig.__name__)
    assert cli.run("sightmill screen-tasks", ScreenTasksConfig, arguments) == 0
    tasks = open_dataset(f"{out}/screen_tasks")
    rows = tasks.table().to_pylist()
    assert [r["status"] for r in rows].count("unreadable") == 1 and len(rows) == 11
    assert tasks.manifest.dropped["screen unreadable"] == 1
    assert tasks.manifest.dropped["self_answer"] > 0 and tasks.manifest.quality["success"]
    kept = [t for r in rows for t in r["tasks"] if t["status"] == "kept"]
    assert {"Grace Chan"} == {t["answer"] for t in kept if t["kind"] == "read"}
    mixed = open_dataset(f"{out}/screen_mixture")
    assert mixed.manifest.rows == len(kept) + 10 and mixed.manifest.quality["success"]
    assert "self_answer" in capsys.readouterr().err
    before = len(ASKED)
    assert cli.run("sightmill screen-tasks", ScreenTasksConfig, arguments) == 0
    assert len(ASKED) == before


def test_screens_come_from_parquet_too_and_others_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"image_id": ["a", "b"], "screen": [SCREEN, ""]}), tmp_path / "0.parquet"
    )
    assert screens(str(tmp_path), 1).to_pylist() == [{"image_id": "a", "screen": SCREEN}]
    with pytest.raises(ValueError, match="does not exist"):
        screens(str(tmp_path / "none"))
    pq.write_table(pa.table({"image_id": ["a"]}), tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="lacks"):
        screens(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no screens"):
        screens(str(tmp_path / "empty"))
