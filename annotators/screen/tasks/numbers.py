"""Amounts on a screen: a text that is one number with a unit, exactly, without rounding."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

_AMOUNT = re.compile(
    r"(?P<before>[$€£¥]?) ?(?P<number>-?(?:\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.\d{1,4})?)"
    r" ?(?P<after>%|€|km|m|mi|ft|kg|g|lb|lbs|kcal|cal|MB|GB|KB|min|h|s|steps|points)?"
)


class Amount(NamedTuple):
    """A number and what it counts."""

    value: Decimal
    unit: str
    """A currency sign as it stands before the number, else what stands after it; may be empty."""


def amount(text: str) -> Amount | None:
    """The amount that all of `text` is; None for dates, times, phone numbers, codes and words."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (found["before"] and found["after"]):
        return None
    digits = found["number"].replace(",", "")
    if len(digits.lstrip("-")) > 1 and digits.lstrip("-")[0] == "0" and "." not in digits:
        return None  # 0042 is a code
    return Amount(Decimal(digits), found["before"] or found["after"] or "")


def written(value: Decimal, unit: str) -> str:
    """As a screen writes it: $1,234.50, 12 km, 40%."""
    number = f"{value:,f}"
    if unit and unit in "$£¥€":
        return f"-{unit}{number[1:]}" if number.startswith("-") else f"{unit}{number}"
    return f"{number}{'' if unit in ('', '%') else ' '}{unit}"
