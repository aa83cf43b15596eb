from __future__ import annotations

from typing import Any

from annotators.screen import grammar
from annotators.screen.truth import true_schema


def element(kind: str, box: tuple[float, float, float, float], **values: str) -> dict[str, Any]:
    x0, x1, y0, y1 = box
    about = {"text": "", "name": "", "state": "", "depth": 0}
    return {**about, "kind": kind, "x0": x0, "x1": x1, "y0": y0, "y1": y1, **values}


def test_the_truth_is_nested_quantised_and_says_names_of_icons() -> None:
    truth = [
        element("TEXT", (10, 90, 150, 160), text="below"),
        element("PICTOGRAM", (5, 15, 5, 15), name="search"),
        element("TOOLBAR", (0, 100, 0, 20)),
        element("TEXT_INPUT", (20, 90, 5, 15), text="Find", name="Search field"),
    ]
    schema = true_schema({"truth": truth, "width": 100, "height": 200})
    assert grammar.render(schema) == (
        "TOOLBAR 0 999 0 100 (PICTOGRAM search 50 150 25 75, TEXT_INPUT Find 200 899 25 75), "
        "TEXT below 100 899 749 799"
    )


def test_a_screen_without_a_truth_has_an_empty_schema() -> None:
    assert len(true_schema({"truth": None, "width": 0, "height": 0})) == 0
