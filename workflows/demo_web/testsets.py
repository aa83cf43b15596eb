"""The evaluation sets of the demo, as tables of the schema `labelled`.

Emoji: every concept as each hand draws it. Groups: `google` (each drawing is served, so this is
memory), `twitter-known` (served too), `twitter-held` (a known hand's unseen pictures), `openmoji`
and `fluent` (unseen hands). A row's label is the concept's place in `DemoWeb.concepts`;
`held_labels` says which are held, so that a gap can be taken over the same concepts on both
sides.

Style: the shared concepts as withheld photographs (group `photo`), as withheld clip art
(`clipart`) and, for reference, as Google's emoji (`emoji`, served). A label is the place in
`DemoWeb.styles`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from pipelines.records import LABELLED, record_id
from workflows.demo_web.concepts import Concept
from workflows.demo_web.web import DemoWeb

SIZE = 128
"""Pixels of the side of a drawing that has to be rendered."""

Row = tuple[str, bytes, int, str, str]


def emoji_table(web: DemoWeb, size: int = SIZE) -> pa.Table:
    """Every concept in every hand that is there, sorted by group and label."""
    hands = list(web.concepts[0].drawings) if web.concepts else []
    drawings = [
        (_group(hand, concept, web.held), label, concept, concept.drawings[hand])
        for hand in hands
        for label, concept in enumerate(web.concepts)
    ]
    with ThreadPoolExecutor(2) as pool:  # both renderers leave the interpreter's lock
        pictures = pool.map(lambda drawing: png(drawing[3], size), drawings)
        rows = [
            (record_id("emoji", group.partition("-")[0], it.key), picture, label, it.name, group)
            for (group, label, it, _), picture in zip(drawings, pictures, strict=True)
        ]
    return _table(rows)


def style_table(web: DemoWeb) -> pa.Table:
    """The test pictures of the shared concepts, and Google's emoji of them, sorted likewise."""
    return _table(_style_rows(web))


def held_labels(web: DemoWeb) -> list[int]:
    """Labels of the held concepts in the emoji sets."""
    return [label for label, concept in enumerate(web.concepts) if concept.key in web.held]


def png(drawing: Path, size: int) -> bytes:
    """A drawing as PNG with its transparency; SVG and WebP are rendered at size x size pixels."""
    if drawing.suffix == ".png":
        return drawing.read_bytes()
    if drawing.suffix == ".svg":
        from resvg_py import svg_to_bytes

        return bytes(
            svg_to_bytes(svg_path=str(drawing), width=size, height=size, skip_system_fonts=True)
        )
    from PIL import Image

    with Image.open(drawing) as picture:
        small = picture.convert("RGBa").resize((size, size), Image.Resampling.BOX)
    out = io.BytesIO()
    small.convert("RGBA").save(out, "png", compress_level=1)
    return out.getvalue()


def _group(hand: str, concept: Concept, held: frozenset[str]) -> str:
    if hand != "twitter":
        return hand
    return "twitter-held" if concept.key in held else "twitter-known"


def _style_rows(web: DemoWeb) -> Iterator[Row]:
    for label, style in enumerate(web.styles):
        photographs = web.style_test.photographs[style.name]
        clip_art = web.style_test.clip_art[style.name]
        pictures = [("photo", it.path, it.file) for it in photographs]
        pictures += [("clipart", it.path, it.file) for it in clip_art]
        if "google" in style.emoji.drawings:
            pictures.append(("emoji", style.emoji.key, style.emoji.drawings["google"]))
        for group, origin, file in pictures:
            yield record_id(group, origin), file.read_bytes(), label, style.name, group


def _table(rows: Iterable[Row]) -> pa.Table:
    ordered = sorted(rows, key=lambda row: (row[4], row[2], row[0]))
    columns = list(zip(*ordered, strict=True)) or [()] * len(LABELLED)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, LABELLED, strict=True)],
        schema=LABELLED,
    )
