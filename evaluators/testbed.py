"""The model under test among the testbed's: ImageNet classifiers under natural shifts.

The table is the published `robustness_top1s.csv` of the ImageNet testbed (Taori et al., arXiv
2007.00644): a row a model, a column a set, top-1 in per cent. The line beta is fitted on logit axes
to its standard models (`evaluators.trend`), accuracy in distribution being that over the shifted
set's own classes. Then, as in CLIP's section 3.3 (arXiv 2103.00020),

    effective robustness    rho = acc_shift - beta(acc_id)
    relative robustness     tau = acc_shift - acc_shift of the standard model nearest in acc_id
    share of the gap closed rho / (acc_id - beta(acc_id))

Intervals draw the standard models anew, and the model's accuracies from their standard errors.

Letters: S standard models, R resamples.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.statistics import Interval, interval
from evaluators.trend import Trend, expit, fit_trend, least_squares, logit
from pipelines.storage import filesystem

COLUMNS = {
    "imagenetv2": ("val", "imagenetv2-matched-frequency-format-val"),
    "imagenet-sketch": ("val", "imagenet-sketch"),
    "imagenet-r": ("val-on-imagenet-r-classes", "imagenet-r"),
    "imagenet-a": ("val-on-imagenet-a-classes", "imagenet-a"),
    "objectnet": ("val-on-objectnet-classes", "objectnet-1.0-beta"),
    "imagenet-vid": ("val-on-vid-robust-classes", "imagenet-vid-robust_pm0"),
    "youtube-bb": ("val-on-ytbb-robust-classes", "ytbb-robust_pm0"),
}
"""By the catalogue's set: the table's columns in distribution and under shift."""
STANDARD, INTERVENTION, MORE_DATA, ASIDE = "standard", "intervention", "more data", "aside"
_KINDS = (
    (ASIDE, r"subsample|batch64|aws_baseline"),
    (
        MORE_DATA,
        r"^BiT-M|32x48d|_(s|sw)sl$|instagram|imagenet21k|imagenet11k|jft|tencent|noisystudent"
        r"|^dpn(107|68b|92)$",
    ),
    (
        INTERVENTION,
        r"lpf\d|cutmix|cutout|mixup|augmix|deepaugment|_SIN|advprop|[-_]adv[-_e]|_robust$"
        r"|resnet18-rotation|smoothing_noise_(?!0\.00)|_with_\w+_aws",
    ),
)
"""Kinds of the testbed's models by their names, the first that fits; the others are standard. Those
aside saw a part of ImageNet or are its baselines of other studies: its figures leave them out."""
LEAST = 0.55
"""Accuracy in distribution below which the testbed's figures show no model."""
RESAMPLES = 2000
NO_LINE = {"imagenet-a": "its pictures were picked against one ResNet-50: no single line holds"}


@dataclass(frozen=True)
class Entry:
    """One model of the table under one shift; accuracies in [0, 1]."""

    model: str
    kind: str
    acc_id: float
    acc_shift: float


@dataclass(frozen=True)
class Against:
    """The model under test under one shift, among the table's."""

    shift: str
    model: str
    acc_id: Interval
    acc_shift: Interval
    entries: Sequence[Entry]
    trend: Trend
    effective: Interval
    gap_closed: Interval
    nearest: str
    """The standard model with the nearest accuracy in distribution."""
    relative: Interval
    """tau against it."""
    doubts: Sequence[str]


Table = Sequence[Mapping[str, str]]


def read_testbed(path: str) -> Table:
    """Rows of the table. Raises ValueError, naming the file, where it is none."""
    fs, inner = filesystem(path)
    with fs.open_input_stream(inner) as stream:
        rows = list(csv.DictReader(io.StringIO(stream.read().decode("utf-8"))))
    if not rows or not {"model", "val"} <= rows[0].keys():
        raise ValueError(f"{path}: no columns model and val; legal: robustness_top1s.csv's columns")
    return rows


def kind_of(row: Mapping[str, str]) -> str:
    """The row's own column `type` where there is one, else what the model's name says."""
    if row.get("type"):
        return row["type"]
    return next((kind for kind, p in _KINDS if re.search(p, row["model"], re.I)), STANDARD)


def entries(table: Table, shift: str, least: float = LEAST) -> list[Entry]:
    """The models that the table has on both sides of a shift, both inside (0, 1)."""
    inside, outside = COLUMNS[shift]
    found = []
    for row in table:
        try:
            one = Entry(
                row["model"], kind_of(row), float(row[inside]) / 100, float(row[outside]) / 100
            )
        except (KeyError, ValueError):  # an empty cell: it was not measured
            continue
        if least <= one.acc_id < 1 and 0 < one.acc_shift < 1 and one.kind != ASIDE:
            found.append(one)
    return found


def against_testbed(
    rows: Sequence[Mapping[str, Any]],
    table: Table,
    model: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Against]:
    """Every shift that the scores `rows` and the table both have; without standard models none."""
    found = []
    for shift in COLUMNS:
        inside = _figure(rows, shift, "top1_in_distribution", model)
        outside = _figure(rows, shift, "top1", model)
        shown = entries(table, shift)
        lined = any(one.kind == STANDARD for one in shown)
        if inside is not None and outside is not None and lined:
            found.append(against(shift, model, inside, outside, shown, seed, resamples))
    return found


def _figure(
    rows: Sequence[Mapping[str, Any]], shift: str, metric: str, model: str
) -> Interval | None:
    """The scores' figure over the shared classes (split "held"), with its standard error."""
    for row in rows:
        place = (row["dataset"], row["split"], row["metric"], row["model"])
        if place == (shift, "held", metric, model):
            error = row["standard_error"] if row["standard_error"] is not None else math.nan
            value = float(row["value"])
            return Interval(value, value - 1.96 * error, value + 1.96 * error, error)
    return None


def against(
    shift: str,
    model: str,
    acc_id: Interval,
    acc_shift: Interval,
    shown: Sequence[Entry],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Against:
    """The formulas above, with intervals. Raises ValueError without a standard model."""
    standard = [one for one in shown if one.kind == STANDARD]
    x_S, y_S = (np.array([getattr(e, k) for e in standard]) for k in ("acc_id", "acc_shift"))
    trend = fit_trend(x_S.tolist(), y_S.tolist())
    rng = np.random.default_rng(seed)
    drawn_RS = rng.integers(0, len(standard), (resamples, len(standard)))
    slope, intercept = least_squares(logit(x_S)[drawn_RS], logit(y_S)[drawn_RS])
    inside, outside = (_draws(one, rng, resamples) for one in (acc_id, acc_shift))
    beta_R = expit(slope * logit(inside) + intercept)
    at = min(max(acc_id.value, 1e-6), 1 - 1e-6)  # a logit needs the inside of (0, 1)
    beta = float(trend.predict(at))
    nearest = min(standard, key=lambda one: (abs(one.acc_id - acc_id.value), one.model))
    doubts = [*trend.doubts(acc_id.value), *([NO_LINE[shift]] if shift in NO_LINE else [])]
    return Against(
        shift,
        model,
        acc_id,
        acc_shift,
        shown,
        trend,
        interval(acc_shift.value - beta, outside - beta_R),
        interval(
            (acc_shift.value - beta) / (acc_id.value - beta),
            (outside - beta_R) / (inside - beta_R),
        ),
        nearest.model,
        interval(acc_shift.value - nearest.acc_shift, outside - nearest.acc_shift),
        doubts,
    )


def _draws(
    one: Interval, rng: np.random.Generator, resamples: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The accuracy as it might have come out, kept inside (0, 1)."""
    error = one.standard_error if math.isfinite(one.standard_error) else 0.0
    return np.clip(rng.normal(one.value, error, resamples), 1e-6, 1 - 1e-6)


def among_rows(found: Sequence[Against]) -> list[dict[str, Any]]:
    """A row a shift, in percentage points where not said otherwise, for the page and for JSON."""
    return [
        {
            "shift": one.shift,
            "in distribution, %": 100 * one.acc_id.value,
            "under shift, %": 100 * one.acc_shift.value,
            "foretold, %": 100 * float(one.acc_shift.value - one.effective.value),
            "effective robustness": 100 * one.effective.value,
            "low": 100 * one.effective.low,
            "high": 100 * one.effective.high,
            "share of the gap closed, %": 100 * one.gap_closed.value,
            "nearest standard model": one.nearest,
            "relative robustness": 100 * one.relative.value,
            "slope": one.trend.slope,
            "intercept": one.trend.intercept,
            "standard models": len(one.trend.acc_id),
            "remarks": "; ".join(one.doubts),
        }
        for one in found
    ]
