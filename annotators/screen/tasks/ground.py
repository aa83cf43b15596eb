"""Whether an answer follows from the elements that it rests on: worked out again from the schema
alone, by each kind of answer's own rule, whoever picked it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from annotators.screen.schema import Element, Schema
from annotators.screen.tasks.items import NOUNS, Pick, Test
from annotators.screen.tasks.numbers import Amount, amount, written
from annotators.screen.tasks.view import folded


def ungrounded(pick: Pick, schema: Schema) -> str:
    """Why `pick`'s answer does not follow from `schema`; "" if it does."""
    if not pick.evidence or not all(0 <= place < len(schema) for place in pick.evidence):
        return f"elements {pick.evidence} of {len(schema)}"
    there = [schema.elements[place] for place in pick.evidence]
    for anchor in pick.anchors:
        if not any(folded(e.text) == folded(anchor) for e in there):
            return f"{anchor!r} is not what the elements say"
    right = _answer(pick, there, schema)
    return "" if right is not None and folded(right) == folded(pick.answer) else f"it is {right!r}"


def _answer(pick: Pick, there: Sequence[Element], schema: Schema) -> str | None:
    return _RULES[pick.test](there, schema)


def _last(there: Sequence[Element], schema: Schema) -> str | None:
    return there[-1].text


def _total(there: Sequence[Element], schema: Schema) -> str | None:
    """Elements of the classes that the question is about, on the whole screen."""
    return str(sum(e.kind in {one.kind for one in there} for e in schema))


def _more(there: Sequence[Element], schema: Schema) -> str | None:
    """The plural that the question uses for the class of which there are most."""
    counted = Counter(e.kind for e in schema if e.kind in {one.kind for one in there})
    (kind, most), *rest = counted.most_common()
    return NOUNS[kind] if len(rest) == 1 and rest[0][1] < most else None


def _higher(there: Sequence[Element], schema: Schema) -> str | None:
    return min(there, key=lambda e: e.box.centre[1]).text


def _pair(there: Sequence[Element]) -> tuple[Amount, Amount] | None:
    """The two amounts of one unit in the second half of the elements."""
    found = [amount(e.text) for e in there[len(there) // 2 :]]
    if len(found) != 2 or found[0] is None or found[1] is None:
        return None
    return (found[0], found[1]) if found[0].unit == found[1].unit else None


def _larger(there: Sequence[Element], schema: Schema) -> str | None:
    pair = _pair(there)
    return None if pair is None else there[pair[1].value > pair[0].value].text


def _plus(there: Sequence[Element], schema: Schema) -> str | None:
    pair = _pair(there)
    return None if pair is None else written(pair[0].value + pair[1].value, pair[0].unit)


_RULES: dict[Test, Callable[[Sequence[Element], Schema], str | None]] = {
    "text": _last,
    "box": _last,
    "total": _total,
    "more": _more,
    "higher": _higher,
    "larger": _larger,
    "plus": _plus,
    "summary": lambda there, schema: "",
}


def boxless(pick: Pick, schema: Schema) -> str:
    """Why `pick`'s box is not one of `schema` that can be tapped; "" if it is, or none is asked
    for.
    """
    if pick.kind != "navigate":
        return ""
    if pick.box is None:
        return "no box"
    if not any(element.box == pick.box for element in schema):
        return f"no element at {tuple(pick.box)}"
    flat = pick.box.x0 == pick.box.x1 or pick.box.y0 == pick.box.y1
    return f"{tuple(pick.box)} has no area" if flat else ""
