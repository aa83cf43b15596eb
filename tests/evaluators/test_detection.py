from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest

from evaluators.detection import THRESHOLDS, Predicted, True_, detection_score, match

KINDS = ("BUTTON", "LINK", "TEXT")
Screens = list[tuple[list[Predicted], list[True_]]]


def drawn(seed: int, screens: int = 8) -> Screens:
    """Screens whose detections are true boxes moved a little, doubled, missed or made up."""
    draw = np.random.default_rng(seed)
    out: Screens = []
    for _ in range(screens):
        true: list[True_] = []
        predicted: list[Predicted] = []
        for _ in range(draw.integers(0, 12)):
            corner, size = draw.uniform(0, 400, 2), draw.uniform(5, 90, 2)
            box = [*corner, *(corner + size)]
            kind = KINDS[draw.integers(len(KINDS))]
            true.append((kind, box))
            for _ in range(draw.integers(0, 3)):
                moved = np.array(box) + draw.normal(0, 0.08, 4) * np.tile(size, 2)
                seen = kind if draw.uniform() < 0.8 else KINDS[draw.integers(len(KINDS))]
                predicted.append((seen, float(draw.uniform()), moved.tolist()))
        for _ in range(draw.integers(0, 4)):
            corner = draw.uniform(0, 400, 2)
            box = [*corner, *(corner + draw.uniform(5, 90, 2))]
            predicted.append((KINDS[draw.integers(len(KINDS))], float(draw.uniform()), box))
        out.append((predicted, true))
    return out


def by_pycocotools(screens: Screens) -> tuple[float, float, dict[str, float]]:
    """mAP at 0.5, mAP, and AP at 0.5 of each class."""
    coco_module = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    def sides(box: list[float]) -> list[float]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    truth = coco_module.COCO()
    annotations = [
        {
            "image_id": image,
            "category_id": KINDS.index(kind),
            "bbox": sides(list(box)),
            "iscrowd": 0,
        }
        for image, (_, true) in enumerate(screens)
        for kind, box in true
    ]
    for number, annotation in enumerate(annotations, 1):
        wide, high = annotation["bbox"][2:]
        annotation |= {"id": number, "area": wide * high}
    truth.dataset = {
        "images": [{"id": image} for image in range(len(screens))],
        "annotations": annotations,
        "categories": [{"id": place} for place in range(len(KINDS))],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes(
            [
                {
                    "image_id": image,
                    "category_id": KINDS.index(kind),
                    "bbox": sides(list(box)),
                    "score": sure,
                }
                for image, (predicted, _) in enumerate(screens)
                for kind, sure, box in predicted
            ]
        )
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes
    ap_KC = np.where((precision > -1).all(1), precision.mean(1), np.nan)
    return (
        float(np.nanmean(ap_KC[0])),
        float(np.nanmean(ap_KC)),
        dict(zip(KINDS, ap_KC[0].tolist(), strict=True)),
    )


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_is_pycocotools(seed: int) -> None:
    screens = drawn(seed)
    map50, mean, each = by_pycocotools(screens)
    ours = detection_score(screens, resamples=2)
    assert ours.map50.value == pytest.approx(map50, abs=1e-9)
    assert ours.map == pytest.approx(mean, abs=1e-9)
    for kind, value in each.items():
        if not math.isnan(value):
            assert ours.by_class[kind].ap50 == pytest.approx(value, abs=1e-9)


def test_a_perfect_detector_scores_one_and_an_empty_one_nothing() -> None:
    true = [("TEXT", [0, 0, 10, 10]), ("LINK", [20, 0, 40, 10])]
    perfect = detection_score([([(kind, 0.9, box) for kind, box in true], true)])
    nothing = detection_score([([], true)])
    assert perfect.map50.value == perfect.map == 1
    assert nothing.map50.value == 0
    assert nothing.by_class["TEXT"].recall50 == 0


def test_a_true_box_is_found_once() -> None:
    true = [("TEXT", [0, 0, 10, 10])]
    twice = detection_score([([("TEXT", 0.9, [0, 0, 10, 10]), ("TEXT", 0.8, [0, 0, 10, 9])], true)])
    assert twice.by_class["TEXT"].ap50 == 1  # the second comes after full recall
    hits = match(np.array([[0, 0, 10, 10], [0, 0, 10, 9.0]]), np.array([[0, 0, 10, 10.0]]))
    assert hits[0].all()
    assert not hits[1].any()


def test_rare_classes_do_not_count_where_asked() -> None:
    true = [("TEXT", [0, 0, 10, 10]), ("TEXT", [20, 0, 30, 10]), ("LINK", [50, 50, 60, 60])]
    score = detection_score([([("TEXT", 0.9, [0, 0, 10, 10])], true)], least=2)
    assert score.counted == ("TEXT",)
    assert score.map50.value == score.by_class["TEXT"].ap50 == pytest.approx(51 / 101)


def test_without_classes_a_box_of_another_class_is_found() -> None:
    screens: Screens = [([("BUTTON", 0.9, [0, 0, 10, 10])], [("LINK", [0, 0, 10, 10])])]
    assert detection_score(screens).map50.value == 0
    assert detection_score(screens, one_class=True).map50.value == 1


def test_nothing_at_all_has_no_score() -> None:
    score = detection_score([])
    assert math.isnan(score.map50.value)
    assert score.screens == 0
    assert len(THRESHOLDS) == 10
