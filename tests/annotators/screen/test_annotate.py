from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from annotators.captions import Written
from annotators.screen import annotate, grammar
from annotators.screen import look as screen_look
from annotators.screen.annotate import (
    Assemble,
    Describe,
    Models,
    Name,
    Read,
    Running,
    See,
    steps,
)
from annotators.screen.look import look, looked
from annotators.screen.merge import Merging
from annotators.screen.ocr import Line, Pixels
from pipelines.records import DETECTION, PICTURES, SCHEMAS_OF_SCREENS
from pipelines.stages import check


class Dark:
    """A detector and an engine that find what is dark: one box around it."""

    def detect(self, screens: Sequence[Pixels]) -> list[list[dict[str, Any]]]:
        return [
            [
                {"kind": "BUTTON", "confidence": 0.9, "x0": x0, "y0": y0, "x1": x1, "y1": y1}
                for x0, x1, y0, y1 in self.boxes(screen)
            ]
            for screen in screens
        ]

    def read(self, screens: Sequence[Pixels]) -> list[list[Line]]:
        return [[Line("dark", edges, 0.9) for edges in self.boxes(s)] for s in screens]

    def boxes(self, screen: Pixels) -> list[tuple[float, float, float, float]]:
        import cv2

        _, labels = cv2.connectedComponents((screen.max(axis=2) < 80).astype(np.uint8))
        found = []
        for number in range(1, int(labels.max()) + 1):
            rows, columns = np.nonzero(labels == number)
            edges = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
            left, right, top, bottom = map(float, edges)
            found.append((left, right, top, bottom))
        return found


class Says:
    """A captioner that says how large a picture is, and refuses the key that ends in /0."""

    prepare = staticmethod(lambda image: Image.open(io.BytesIO(image)).size)

    def captions(self, images: Sequence[Any], keys: Sequence[str]) -> list[Written]:
        return [
            Written((), "over_budget") if key.endswith("/0") else Written((f"{w} by {h}",))
            for (w, h), key in zip(images, keys, strict=True)
        ]


def picture(size: tuple[int, int] = (200, 100), *dark: tuple[int, int, int, int]) -> Image.Image:
    made = Image.new("RGB", size, "white")
    for box in dark:
        made.paste("black", box)
    return made


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


PLAIN = picture((200, 100), (20, 20, 80, 50))


def sixteen_bits() -> bytes:
    values = np.linspace(0, 65535, 200 * 100).reshape(100, 200).astype(np.uint16)
    return encoded(Image.fromarray(values))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PLAIN, "JPEG", exif=exif)


CASES: dict[str, tuple[bytes | None, str, str, tuple[int, int], str]] = {
    "png": (encoded(PLAIN), "png", "ok", (200, 100), ""),
    "webp": (encoded(PLAIN, "WEBP"), "webp", "ok", (200, 100), ""),
    "cmyk": (encoded(PLAIN.convert("CMYK"), "JPEG"), "png", "ok", (200, 100), "CMYK"),
    "animated": (
        encoded(PLAIN, "GIF", save_all=True, append_images=[picture()]),
        *("png", "ok", (200, 100), "first of 2 frames, GIF"),
    ),
    "turned": (turned(), "png", "ok", (100, 200), "turned"),
    "sixteen bits": (sixteen_bits(), "png", "ok", (200, 100), "I;16"),
    "blank": (encoded(picture()), "png", "blank", (200, 100), ""),
    "1x1": (encoded(picture((1, 1))), "png", "too_small", (1, 1), "1 x 1 pixels"),
    "torn": (encoded(PLAIN)[:-40], "", "undecodable", (0, 0), "OSError: "),
    "no picture": (b"<svg/>", "", "undecodable", (0, 0), "no picture of a kind"),
    "nothing": (None, "", "undecodable", (0, 0), "no picture of a kind"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_odd_picture_has_its_status(case: str) -> None:
    image, form, status, size, detail = CASES[case]
    found, found_form, width, height, found_status, said = looked(image or b"")
    assert (found_form, found_status, (width, height)) == (form, status, size)
    assert said.startswith(detail)
    assert bool(said) == bool(detail)
    if status == "ok":
        with Image.open(io.BytesIO(found)) as opened:
            assert (opened.size, getattr(opened, "n_frames", 1)) == (size, 1)
            assert opened.format == form.upper()
            opened.convert("RGBA")


def test_the_first_frame_is_kept_and_sixteen_bits_are_scaled() -> None:
    first = np.asarray(Image.open(io.BytesIO(looked(CASES["animated"][0] or b"")[0])).convert("L"))
    assert first[30, 50] < 10
    assert first[90, 190] > 245
    grey = np.asarray(Image.open(io.BytesIO(looked(sixteen_bits())[0])).convert("L"), np.int64)
    expected = np.linspace(0, 255, 200 * 100).reshape(100, 200)
    assert np.abs(grey - expected).max() <= 1.5


def test_too_many_pixels_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_look, "MOST", 19_999)
    assert looked(encoded(PLAIN))[1:] == ("", 200, 100, "too_large", "200 x 100 pixels")


def table(images: Sequence[bytes | None], status: Sequence[str] = ()) -> pa.Table:
    rows = [
        {
            "image_id": f"{number:032x}",
            "origin": f"{number}.png",
            "image": image,
            "status": status[number] if status else "ok",
            "detail": "",
        }
        for number, image in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, PICTURES)


def run(images: pa.Table, folder: Path) -> list[dict[str, Any]]:
    """The chain without an engine."""
    seen = See(str(folder), Dark)(look(images))
    named = Name(str(folder), "")(Read(str(folder), Dark)(seen))
    done = Assemble(str(folder), Merging())(named)
    assert done.schema.equals(SCHEMAS_OF_SCREENS)
    rows: list[dict[str, Any]] = done.to_pylist()
    return rows


def test_a_chain_loses_no_row_whatever_comes(tmp_path: Path) -> None:
    images = table([image for image, *_ in CASES.values()])
    rows = run(images, tmp_path)
    assert [row["image_id"] for row in rows] == images["image_id"].to_pylist()
    assert [row["status"] for row in rows] == [status for _, _, status, *_ in CASES.values()]
    assert rows[0]["screen"] == "BUTTON dark 100 400 200 500"
    for row in rows:
        if row["status"] != "ok":
            assert (row["screen"], row["elements"]) == ("", [])


def test_a_row_that_came_with_a_status_keeps_it(tmp_path: Path) -> None:
    (row,) = run(table([None], ["unreadable"]), tmp_path)
    assert (row["status"], row["screen"], row["image"]) == ("unreadable", "", None)


def test_a_long_screen_is_seen_in_tiles_and_nothing_twice(tmp_path: Path) -> None:
    dark = [(x, 100, x + 60, 140) for x in range(50, 7900, 150)]
    (row,) = run(table([encoded(picture((8000, 300), *dark))]), tmp_path)
    schema = grammar.parse(row["screen"])
    assert [element.kind for element in schema] == ["BUTTON"] * len(dark)
    lefts = [element.box.x0 for element in schema]
    assert lefts == [round(x / 8000 * 999) for x, *_ in dark]


def test_images_are_described_and_refusals_counted(tmp_path: Path) -> None:
    box = {"confidence": 0.9, "x0": 20.0, "y0": 20.0, "x1": 80.0, "y1": 50.0}
    boxes = [box | {"kind": kind} for kind in ("IMAGE", "PICTOGRAM", "PICTOGRAM", "TEXT")]
    rows = look(table([encoded(PLAIN), b""]))
    rows = rows.append_column("boxes", pa.array([boxes, []], pa.list_(DETECTION)))
    rows = rows.append_column("icons", pa.array([["", "home", "", ""], []]))
    described = Describe(str(tmp_path), Says, Says.prepare, 10)(rows)
    assert described["captions"].to_pylist() == [["", "", "60 by 30", ""], []]
    assert described["detail"].to_pylist()[0] == "1 captions over_budget"
    one = Describe(str(tmp_path), Says, Says.prepare, 1)(rows)
    assert one["captions"].to_pylist() == [["", "", "", ""], []]


def test_the_steps_fit_each_other_and_leave_their_times(tmp_path: Path) -> None:
    models = Models(Dark, Dark, captioner=Says, prepare=Says.prepare)
    check(PICTURES.names, steps(models, Running(), str(tmp_path)), SCHEMAS_OF_SCREENS.names)
    run(table([encoded(PLAIN)]), tmp_path)
    assert len(list((tmp_path / annotate.SECONDS).glob("*.json"))) == 4
