"""Images into the page itself, small, as data URIs: a report makes no request to anyone."""

from __future__ import annotations

import base64
import io

QUALITY = 82
"""WebP quality: at 128 pixels a drawing takes some 3 kB."""


def data_uri(image: bytes | None, side: int) -> str:
    """The picture on white, at most `side` pixels a side, as a WebP data URI; else empty."""
    from PIL import Image

    if image is None:
        return ""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            picture = opened.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""  # the page shows a frame that says so
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", picture.size, "white")
    out = io.BytesIO()
    Image.alpha_composite(white, picture).convert("RGB").save(out, "webp", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
