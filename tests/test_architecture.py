"""The one way that imports point, held over the syntax trees; and the names that no file may
have.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RANK = {"pipelines": 0, "models": 1, "annotators": 2, "evaluators": 2, "workflows": 3}
DRAWERS = {"utils", "helpers", "common", "base", "misc"}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module or ""


def against_the_arrow(package: str, imported: str) -> bool:
    target = imported.split(".", maxsplit=1)[0]
    return target in RANK and target != package and RANK[target] >= RANK[package]


@pytest.mark.parametrize("package", RANK)
def test_imports_point_one_way(checkout: Path, package: str) -> None:
    files = list((checkout / package).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(checkout)} imports {name}"
        for file in files
        for name in imports(file)
        if against_the_arrow(package, name)
    ]
    assert wrong == []


def test_the_rule_itself_tells_right_from_wrong() -> None:
    assert against_the_arrow("pipelines", "models.clip")
    assert against_the_arrow("annotators", "evaluators.score")
    assert not against_the_arrow("models", "pipelines.datasets")


def test_no_file_is_a_drawer(checkout: Path) -> None:
    names = {file.stem for package in RANK for file in (checkout / package).rglob("*.py")}
    assert not names & DRAWERS


def test_help_answers_without_heavy_imports() -> None:
    code = (
        "import sys; sys.argv = ['sightmill', '--help']; from workflows.cli import main; main();"
        "heavy = {'torch', 'ray', 'apache_beam', 'scrapy', 'cv2', 'pandas', 'great_expectations'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout and "wit" in done.stdout
