"""CLIP_benchmark's CSV and the LaTeX table, and the chart of shots."""

import csv
import io

from evaluators.report.exports import clip_benchmark_csv, latex
from evaluators.report.shot_charts import shot_chart, shot_sets


def test_the_csv_has_clip_benchmarks_columns_and_one_row_a_task(inputs):
    found = list(
        csv.DictReader(io.StringIO(clip_benchmark_csv([*inputs.scores, *inputs.shots], "ours")))
    )
    by_task = {(row["dataset"], row["model"], row["task"]): row for row in found}
    assert len(by_task) == len(found)
    unseen = by_task["unseen", "CLIP", "zeroshot_classification"]
    assert (unseen["acc1"], unseen["acc5"], unseen["pretrained"]) == ("0.25", "", "ours")
    stamps = by_task["stamps", "CLIP", "zeroshot_retrieval"]
    assert stamps["text_retrieval_recall@5"] == "0.5"
    probe = by_task["digits", "CLIP", "linear_probe"]
    assert probe["lp_acc1"] == "0.8"  # the whole probe, not a k-shot one
    assert not any(row["model"] == "chance" for row in found)


def test_a_shifts_held_side_is_no_row_of_the_csv():
    rows = [
        {"suite": "shift r", "dataset": d, "split": "held", "metric": "top1", "model": "CLIP"}
        | {"value": v, "n": 10, "standard_error": 0.1}
        for d, v in (("imagenet", 0.9), ("r", 0.4))
    ]
    found = list(csv.DictReader(io.StringIO(clip_benchmark_csv(rows, ""))))
    assert [(row["dataset"], row["acc1"]) for row in found] == [("r", "0.4")]


def test_latex_escapes_and_keeps_a_row_a_figure(inputs):
    rows = [{**row, "dataset": "a_b & 50%"} for row in inputs.shots]
    text = latex(rows)
    assert r"a\_b \& 50\%" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    line = next(line for line in text.splitlines() if line.startswith("zero-shot"))
    assert r"30.0 $\pm$ 4.6" in line and line.endswith(r"\\")
    columns = {line.count(" & ") for line in text.splitlines() if line.endswith(r" \\")}
    assert columns == {5}  # suite, set, split, metric, two models


def test_the_chart_has_a_point_a_shot_and_the_zero_shot_level(inputs):
    assert shot_sets(inputs.shots) == ["digits"]
    drawing = shot_chart(inputs.shots, "digits", "CLIP")
    assert drawing.count("<circle") == 5
    assert "zero-shot 30.0%" in drawing and "CLIP: probe on all images 80.0%" in drawing
    assert "chance 10.0%" in drawing and "pixels: probe on all images 70.0%" in drawing
