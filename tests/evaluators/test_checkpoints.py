"""Contenders name checkpoints, travel to workers, and import nothing heavy until they load."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.checkpoints import clip_contender, supervised_contender
from evaluators.suites.labelled import Picture

HEAVY = ("torch", "ray", "apache_beam", "sklearn", "matplotlib", "jinja2", "great_expectations")


def test_contenders_pickle_and_know_what_they_are_made_from(make_labelled):
    dataset = make_labelled("any", [Picture("1", b"x", "owl", "a")])
    clip = clip_contender("CLIP", "/runs/clip", dataset)
    supervised = supervised_contender("supervised", "/runs/c", dataset, ["a", "b"], "pad")
    assert (clip.standard, supervised.standard) == (False, True)
    assert clip.made_from == supervised.made_from == (dataset,)
    again = pickle.loads(pickle.dumps(supervised.load))
    assert again.args == ("/runs/c", ("a", "b"), "pad")


@pytest.mark.parametrize(
    "module",
    [
        "evaluators.score",
        "evaluators.checkpoints",
        "evaluators.nearest",
        "evaluators.report.write",
        "evaluators.report.examples",
    ],
)
def test_the_command_line_may_import_this(module, checkout: Path):
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
