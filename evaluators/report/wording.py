"""Figures into words: the cards at the page's top, and the two sentences on what came out.

All of it is written from the data. A figure that was not measured is not mentioned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evaluators.figures import CHANCE
from evaluators.report.inputs import ReportInputs, Row, Shift
from evaluators.robustness import Robustness
from evaluators.statistics import Interval

THIN, MINUS = "\u202f", "\u2212"


@dataclass(frozen=True)
class Card:
    """One headline figure."""

    figure: str
    label: str
    note: str


def number(value: float) -> str:
    """Thousands apart, such as 12,345."""
    return f"{value:,.0f}"


def percent(rate: float, digits: int = 1) -> str:
    """A rate as 21.4 %, finer where it is small."""
    digits = digits if abs(rate) >= 0.01 or rate == 0 else digits + 1
    return f"{100 * rate:.{digits}f}{THIN}%"


def points(difference: float) -> str:
    """A difference of two rates, signed, in percentage points without the unit."""
    rounded = round(100 * difference, 1) + 0.0
    return f"{'+' if rounded > 0 else MINUS if rounded < 0 else ''}{abs(rounded):.1f}"


def span(one: Interval) -> str:
    """A 95 % interval of a difference, such as +2.1 to +7.0."""
    return f"{points(one.low)} to {points(one.high)}" if math.isfinite(one.low) else "unknown"


def duration(seconds: float) -> str:
    """Such as 42 s, 7 min 30 s, 3 h 5 min."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min" + (f" {s % 60} s" if s % 60 else "")
    return f"{s // 3600} h" + (f" {s % 3600 // 60} min" if s % 3600 // 60 else "")


def figure(inputs: ReportInputs, metric: str, model: str, place: Sequence[str] = ()) -> Row | None:
    """The score of this metric and model, at (suite, dataset, split) or the first there is."""
    for row in inputs.scores:
        here = (row["suite"], row["dataset"], row["split"])
        if (
            row["metric"] == metric
            and row["model"] == model
            and (not any(place) or here == tuple(place))
        ):
            return row
    return None


def headline(inputs: ReportInputs) -> tuple[Row, Row | None] | None:
    """The zero-shot figure that leads the page, and its chance level."""
    row = figure(inputs, "top1", inputs.model, inputs.headline)
    if row is None:
        return None
    return row, figure(inputs, "top1", CHANCE, (row["suite"], row["dataset"], row["split"]))


def headline_shift(inputs: ReportInputs) -> tuple[Shift, Robustness] | None:
    """The report's model under the headline's shift, or under the first."""
    ordered = sorted(
        inputs.shifts, key=lambda s: (s.suite, s.shifted) != tuple(inputs.headline[:2])
    )
    for shift in ordered:
        for one in shift.models:
            if one.model == inputs.model:
                return shift, one
    return None


def cards(inputs: ReportInputs) -> Iterator[Card]:
    """The headline figures that there are, in the order of the flow."""
    if inputs.funnel:
        last = inputs.funnel[-1]
        first = inputs.funnel[0]
        yield Card(number(last.count), last.unit, f"from {number(first.count)} {first.unit}")
    if (found := headline(inputs)) is not None:
        yield _zero_shot_card(*found)
    if (under := headline_shift(inputs)) is not None:
        yield from _shift_cards(*under)
    recall = figure(inputs, "image_to_text_r5", inputs.model)
    if recall is not None:
        note = f"image to text, {recall['dataset']}; {_error_and_n(recall)}"
        yield Card(percent(recall["value"]), "recall at 5", note)
    for run in inputs.runs[:1]:
        if run.lines and "seconds" in run.lines[-1]:
            end = run.lines[-1]
            note = f"{number(end['step'])} steps, loss {end['loss']:.3g} at the end"
            yield Card(duration(end["seconds"]), "of training", note)


def _error_and_n(row: Row) -> str:
    return f"± {percent(row['standard_error'])}, n {row['n']:,}"


def _zero_shot_card(row: Row, chance: Row | None) -> Card:
    times = f"; {row['value'] / chance['value']:,.0f} times chance" if chance is not None else ""
    note = f"{row['dataset']}, {row['split']}; {_error_and_n(row)}{times}"
    return Card(percent(row["value"]), "zero-shot top-1", note)


def _shift_cards(shift: Shift, one: Robustness) -> Iterator[Card]:
    over = f"over the same {one.n_concepts:,} concepts"
    yield Card(
        points(-one.gap.value),
        f"points from {shift.in_distribution} to {shift.shifted}",
        f"{span(_negated(one.gap))}, {over}",
    )
    if one.effective is not None:
        care = "; read with care" if one.doubts else ""
        yield Card(
            points(one.effective.value),
            "points effective robustness",
            f"{span(one.effective)}{care}",
        )


def _negated(one: Interval) -> Interval:
    return Interval(-one.value, -one.high, -one.low, one.standard_error)


def summary(inputs: ReportInputs) -> list[str]:
    """What came out: a sentence on the corpus and the score, and one on the shift."""
    return [s for s in (_corpus_and_score(inputs), _shift_sentence(inputs)) if s]


def _corpus_and_score(inputs: ReportInputs) -> str:
    parts = []
    if len(inputs.funnel) > 1:
        first, last = inputs.funnel[0], inputs.funnel[-1]
        parts.append(f"{number(first.count)} {first.unit} became {number(last.count)} {last.unit}")
    if (found := headline(inputs)) is not None:
        row, chance = found
        said = (
            f"{inputs.model} names {percent(row['value'])} (± {percent(row['standard_error'])}) of "
            f"{row['n']:,} {row['dataset']} pictures right zero-shot"
        )
        if chance is not None:
            said += f", {row['value'] / chance['value']:,.0f} times what guessing gives"
        parts.append(said)
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""


def _shift_sentence(inputs: ReportInputs) -> str:
    found = headline_shift(inputs)
    if found is None:
        return ""
    shift, one = found
    change = _negated(one.gap)
    said = (
        f"From {shift.in_distribution} to {shift.shifted}, over the same {one.n_concepts:,} "
        f"concepts, its accuracy changes by {points(change.value)} points "
        f"(95{THIN}% interval {span(change)})"
    )
    others = [m for m in shift.models if m.model in shift.standard and m.model != one.model]
    if others:
        said += f", that of {others[0].model} by {points(-others[0].gap.value)}"
    if one.effective is not None:
        rho = one.effective
        care = ", to be read with care" if one.doubts else ""
        said += f"; effective robustness is {points(rho.value)} points ({span(rho)}{care})"
    return said + "."
