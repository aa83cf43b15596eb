"""Screenshots as they come, to pictures that the models may take, or why there is none.

    undecodable   no picture of a kind that Pillow reads, or one that ends too early
    too_small     shorter side under 16 pixels
    too_large     over 64 million pixels
    blank         one colour all over; its schema is empty
    ok            all else; `detail` says what was done to it: "CMYK", "first of 3 frames", or that
                  texts were not legible

A picture of more than one frame is its first; one in CMYK, of sixteen bits, turned by its camera,
or in a form that no browser shows, is kept as PNG.
"""

from __future__ import annotations

import io

import pyarrow as pa

from annotators.screen.ocr import decode
from pipelines.records import SCHEMAS_OF_SCREENS

OK, BLANK = "ok", "blank"
UNDECODABLE, TOO_SMALL, TOO_LARGE = "undecodable", "too_small", "too_large"
LEAST, MOST = 16, 64_000_000
"""Pixels of the shorter side, and of the whole picture."""
SHOWN = ("PNG", "JPEG", "WEBP")
"""Formats that are kept as they are."""
MODES = ("RGB", "RGBA", "L", "LA", "P", "1")

LOOKED = ("image", "format", "width", "height", "status", "detail")


def look(table: pa.Table) -> pa.Table:
    """The table with the columns of `LOOKED`: every picture as the models may take it."""
    found = [
        looked(image) if status == OK else (image, "", 0, 0, status, detail)
        for image, status, detail in zip(
            *(table[name].to_pylist() for name in ("image", "status", "detail")), strict=True
        )
    ]
    columns = list(zip(*found, strict=True)) or [()] * len(LOOKED)
    for name, values in zip(LOOKED, columns, strict=True):
        table = put(table, name, pa.array(values, SCHEMAS_OF_SCREENS.field(name).type))
    return table


def looked(image: bytes) -> tuple[bytes, str, int, int, str, str]:
    """Image, format, width, height, status and detail of an encoded picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image or b"")) as opened:
            width, height = opened.size
            if width * height > MOST:
                return image, "", width, height, TOO_LARGE, f"{width} x {height} pixels"
            opened.load()
            frames, mode, kind = getattr(opened, "n_frames", 1), opened.mode, opened.format or ""
            turned = opened.getexif().get(0x0112, 1) != 1
            said = [f"first of {frames} frames"] * (frames > 1) + [mode] * (mode not in MODES)
            said += ["turned"] * turned + [kind] * (kind not in SHOWN)
            if said:
                plain = ImageOps.exif_transpose(opened)
                if plain.mode.startswith("I"):  # sixteen bits: Pillow would cut, not scale
                    plain = plain.convert("I").point(lambda value: value / 257).convert("L")
                plain = plain.convert("RGBA" if "A" in plain.mode else "RGB")
                out = io.BytesIO()
                plain.save(out, "png", compress_level=1)
                image, kind, (width, height) = out.getvalue(), "PNG", plain.size
            if min(width, height) < LEAST:
                return image, kind.lower(), width, height, TOO_SMALL, f"{width} x {height} pixels"
        one_colour = all(low == high for low, high in _extrema(image))
    except UnidentifiedImageError:
        return image, "", 0, 0, UNDECODABLE, "no picture of a kind that Pillow reads"
    except Exception as error:  # Pillow's readers raise of all kinds
        return image, "", 0, 0, UNDECODABLE, f"{type(error).__name__}: {error}"[:300]
    status = BLANK if one_colour else OK
    return image, kind.lower(), width, height, status, ", ".join(said)


def _extrema(image: bytes) -> list[tuple[int, int]]:
    pixels = decode(image)
    return [(int(pixels[..., c].min()), int(pixels[..., c].max())) for c in range(3)]


def put(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with a column, in place of the one of that name if there is one."""
    at = table.schema.get_field_index(name)
    return table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
