"""CapFilt's figures into words: the headline cards, and what came out, good or bad.

All of it is written from the data. Whether one thing beats another is said by the interval of their
difference alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from evaluators.report.capfilt_inputs import CapFiltInputs, CaptionTable, MetricLine
from evaluators.report.wording import MINUS, Card, number, percent
from evaluators.statistics import Interval

LEAD = "CIDEr"
"""The caption metric that leads the page; the others stand in the table."""
THIN = "\u202f"


def figure(one: Interval, digits: int = 3) -> str:
    """A value such as 0.123, with a real minus; unknown if it is NaN."""
    if not math.isfinite(one.value):
        return "unknown"
    rounded = round(one.value, digits) + 0.0
    return f"{MINUS if rounded < 0 else ''}{abs(rounded):.{digits}f}"


def span(one: Interval, digits: int = 3) -> str:
    """A 95 % interval such as 0.10 to 0.15."""
    if not math.isfinite(one.low + one.high):
        return "no interval"
    ends = (Interval(end, end, end, 0.0) for end in (one.low, one.high))
    return " to ".join(figure(end, digits) for end in ends)


def rate_span(one: Interval) -> str:
    """A rate's 95 % interval in per cent."""
    if not math.isfinite(one.low + one.high):
        return "no interval"
    return f"{percent(one.low)} to {percent(one.high)}"


def rate(one: Interval) -> str:
    """A rate in per cent, or unknown."""
    return percent(one.value) if math.isfinite(one.value) else "unknown"


FILTERS = {"figure": figure, "span": span, "rate": rate, "rate_span": rate_span}
"""What the pages' templates write figures with."""


def compared(inputs: CapFiltInputs) -> tuple[CaptionTable, MetricLine] | None:
    """The table of captions beside the web's texts, and its leading line."""
    for table in inputs.captions:
        for one in table.lines:
            if table.compares and one.metric == LEAD and one.difference is not None:
                return table, one
    return None


def cards(inputs: CapFiltInputs) -> Iterator[Card]:
    """The headline figures that there are."""
    if inputs.swaps is not None:
        score = inputs.swaps.score
        average = score.average_precision
        swapped = f"{number(score.matching)} of {number(score.pairs)} captions swapped"
        yield Card(figure(average), "average precision on swaps", f"{span(average)}; {swapped}")
        rule = f"dropped below {inputs.threshold:g}"
        for name, reached in (("precision", score.precision), ("recall", score.recall)):
            yield Card(rate(reached), f"{name} on swaps", f"{rate_span(reached)}; {rule}")
    if (found := compared(inputs)) is not None:
        table, one = found
        on = f"{number(table.pictures)} pictures"
        ours, web = one.cells[0], one.cells[-1]
        yield Card(figure(ours), f"{one.metric} of written captions", f"{span(ours)}; {on}")
        yield Card(figure(web), f"{one.metric} of web texts", f"{span(web)}; the same {on}")
    if inputs.kept is not None:
        kept = inputs.kept
        for label, share, n in (
            ("of web texts kept", kept.web_kept, kept.web_texts),
            ("of written captions kept", kept.synthetic_kept, kept.synthetic_texts),
        ):
            yield Card(rate(share), label, f"of {number(n)}, at {inputs.threshold:g}")


def summary(inputs: CapFiltInputs) -> list[str]:
    """What came out, a sentence or two each on the filter, the captions and the corpus."""
    made = (_filter(inputs), _captions(inputs), _corpus(inputs))
    return [sentence for sentence in made if sentence]


def _filter(inputs: CapFiltInputs) -> str:
    if inputs.swaps is None:
        return ""
    score, left = inputs.swaps.score, inputs.swaps.noise_left
    noise = score.matching / score.pairs
    average = score.average_precision
    said = (
        f"With {percent(noise, 0)} of held-out captions swapped, the filter ranks swapped ones "
        f"first with average precision {figure(average)} (95{THIN}% interval {span(average)}); "
        f"guessing gives {noise:.2f}."
    )
    if math.isfinite(average.low) and average.low <= noise:
        said += " That is not told apart from guessing."
    if not math.isfinite(score.precision.value):
        return said + f" At the threshold {inputs.threshold:g} it drops none of them."
    said += (
        f" At the threshold {inputs.threshold:g}, {rate(score.precision)} of what it drops was "
        f"swapped, and it drops {rate(score.recall)} of what was swapped"
    )
    if not math.isfinite(left):
        return said + "; it keeps nothing."
    return said + f": {percent(left)} of what it keeps is still swapped."


def _captions(inputs: CapFiltInputs) -> str:
    found = compared(inputs)
    if found is None:
        return ""
    table, one = found
    gain = one.difference
    assert gain is not None  # compared() returns no other
    said = (
        f"On the {number(table.pictures)} held-out pictures that the web shows too, written "
        f"captions have {one.metric} {figure(one.cells[0])}, the web's texts "
        f"{figure(one.cells[-1])} (difference {figure(gain)}, 95{THIN}% interval {span(gain)}). "
    )
    if gain.low > 0:
        return said + "By this metric the captions are better than the web's texts."
    if gain.high < 0:
        return said + (
            "By this metric the captions are worse than the web's texts: here the captioner "
            "does not improve on what was there."
        )
    return said + "The interval holds zero: neither is shown to be better."


def _corpus(inputs: CapFiltInputs) -> str:
    if inputs.kept is None:
        return ""
    kept = inputs.kept
    said = f"The threshold keeps {rate(kept.web_kept)} of {number(kept.web_texts)} web texts"
    if not kept.synthetic_texts:
        return said + "; no captions were written."
    return said + (
        f" and {rate(kept.synthetic_kept)} of {number(kept.synthetic_texts)} written captions."
    )
