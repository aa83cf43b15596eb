"""The DOM's truth of a rendered screen as a screen schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotators.screen.layout import arrange, quantise
from annotators.screen.schema import Element, Schema


def true_schema(row: Mapping[str, Any]) -> Schema:
    """The schema of a row of `records.SCREENS`, empty for one without a truth.

    Icons and pictures say their accessible names; all else says what stands on it. Elements are
    nested and in reading order by the rules that annotated screens go by.
    """
    return arrange(
        Element(
            one["kind"],
            one["name"] if one["kind"] in ("PICTOGRAM", "IMAGE") else one["text"],
            quantise(one["x0"], one["x1"], one["y0"], one["y1"], row["width"], row["height"]),
        )
        for one in row["truth"] or ()
    )
