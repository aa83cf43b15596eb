"""What else a crawler meets: the bad answers that real hosts give, each on one of the demo's
sites.

None of them is random, so that the drop counts are the same in every run.
"""

from __future__ import annotations

import functools
import struct
import zlib
from pathlib import Path

from workflows.demo_web.sites import Resource, page, redirect

NO_AI = {"X-Robots-Tag": "noai"}
NO_IMAGE_AI = {"X-Robots-Tag": "noimageai"}


def redirect_loop(first: str, second: str) -> dict[str, Resource]:
    """Two paths that redirect to each other for ever."""
    return {first: redirect(second), second: redirect(first)}


def page_as_jpeg() -> Resource:
    """An HTML page that says it is a JPEG image."""
    body = b"<!doctype html><title>Sign in</title><h1>Please sign in to see this picture</h1>"
    return Resource(body, "image/jpeg")


def torn(picture: Path, content_type: str) -> Resource:
    """The first half of a picture."""

    def half() -> bytes:
        whole = picture.read_bytes()
        return whole[: len(whole) // 2]

    return Resource(half, content_type)


def slow_page(title: str, seconds: float) -> Resource:
    """A page that takes `seconds` to arrive."""
    quick = page(title, lambda: "<p>Sorry that this took so long.</p>")
    return Resource(quick.body, quick.content_type, drip_seconds=seconds)


def dripping(picture: Path, content_type: str, seconds: float) -> Resource:
    """A picture that would take `seconds` to arrive, a byte at a time."""
    return Resource(picture, content_type, drip_seconds=seconds)


@functools.cache
def huge_png(side: int = 20_000) -> bytes:
    """A valid blank PNG of side x side pixels, 1 bit each: 50 MB of pixels in 50 kB at 20,000."""
    row = b"\0" + b"\xff" * ((side + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * 100) for _ in range(side // 100))
    data += packer.compress(row * (side % 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
