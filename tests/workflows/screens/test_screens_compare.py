"""Annotations beside the truth on three screens, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.datasets import Dataset, verify
from workflows.job import Job
from workflows.screens.compare import Beside, beside, read_counts, score_annotation, worst
from workflows.screens.scored import figure, write_scores


def abc(screens: Dataset, schemas: Dataset) -> list[Beside]:
    return sorted(beside(screens, schemas), key=lambda one: one.page)


def test_screens_are_laid_beside_their_truth(screens: Dataset, schemas: Dataset) -> None:
    a, b, c = abc(screens, schemas)
    assert a.name == "X, a.html (desktop, light, en)"
    counts, missed, made_up = a.elements()
    assert (counts.pairs, counts.predicted, counts.true) == (2, 2, 2)
    assert not missed and not made_up
    counts, missed, made_up = b.elements()
    assert (counts.pairs, counts.predicted, counts.true) == (1, 3, 2)
    assert [(e.kind, e.text) for e in missed] == [("TEXT", "Sales")]
    assert {e.kind for e in made_up} == {"TEXT", "LINK"}
    assert [one.page for one in worst([a, b, c], 2)] == ["b.html", "c.html"]


def test_words_in_true_pictures_count_on_neither_side(screens: Dataset, schemas: Dataset) -> None:
    a, b, _ = abc(screens, schemas)
    assert (read_counts(a).pairs, read_counts(a).predicted, read_counts(a).true) == (3, 3, 3)
    read, true = b.words()
    assert dict(read) == {"sale": 1} and dict(true) == {"sales": 1}


def test_the_scores_tell_languages_and_sizes_apart(
    job: Job, screens: Dataset, schemas: Dataset
) -> None:
    made = score_annotation(job, "annotation-scores", screens, schemas)
    assert verify(made.path) == []
    rows = {(r["suite"], r["split"], r["metric"]): r for r in made.table().to_pylist()}
    assert rows["reading", "1280 x 800, English", "word f1"]["value"] == 1
    assert rows["reading", "phones, English", "word f1"]["value"] == 0
    assert rows["reading", "all sizes, other languages", "word recall"]["n"] == 3
    both = rows["annotation", "all classes", "f1 at IoU 0.5"]
    assert both["n"] == 6 and both["value"] == pytest.approx(2 * 4 / (6 + 6))
    assert rows["annotation", "BUTTON", "f1 at IoU 0.1"]["value"] == pytest.approx(2 / 3)
    again = score_annotation(job, "annotation-scores", screens, schemas)
    assert again.manifest.content_hash == made.manifest.content_hash


def test_a_figure_of_nothing_is_no_score(tmp_path: Path) -> None:
    rows = [figure("detection", "MAP", "ap50", math.nan, 4), figure("icons", "x", "top_1", 0.5, 0)]
    with pytest.raises(ValueError, match="nothing to score"):
        write_scores(str(tmp_path), rows)
    write_scores(str(tmp_path), [*rows, figure("icons", "y", "top_1", 0.5, 2)])
    (kept,) = pq.read_table(tmp_path / "00000.parquet").to_pylist()
    assert kept["split"] == "y" and math.isnan(kept["standard_error"])
