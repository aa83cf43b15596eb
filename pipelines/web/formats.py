"""What the bytes of a picture say about it before a pixel is decoded: format, size, orientation.

Names and Content-Type headers are hearsay: the format is told by the magic bytes, the number of
pixels by the header (a 100 kB PNG can announce 20,000 x 20,000 of them), and a JPEG with hundreds
of scans, each of which costs a pass over all pixels, is refused.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

DECODABLE = ("jpeg", "png", "gif", "webp", "bmp", "avif")
MAX_SCANS = 200
"""Scans of a progressive JPEG; encoders write about ten, each costs a pass over all pixels."""


class UndecodableError(Exception):
    """The bytes are no whole picture of the format that they claim."""


_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"\0\0\1\0", "ico"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL ", "jxl"),
    (b"\0\0\0\x0cjP  ", "jp2"),
    (b"8BPS", "psd"),
    (b"%PDF-", "pdf"),
)
_BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"mif1": "heic"}


def sniff(data: bytes) -> str:
    """The format by its magic bytes (WHATWG MIME sniffing), "html" for markup, "" for anything
    else.
    """
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "")
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(b"<svg") or (
        head.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in head
    ):
        return "svg"
    return "html" if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else ""


def read_header(data: bytes, kind: str) -> tuple[int, int, int]:
    """(width, height, EXIF orientation 1-8) as the picture is shown; decodes no pixels."""
    if kind == "jpeg":
        width, height = _jpeg_size(data)
    elif kind == "png":
        width, height = _png_size(data)
    else:
        with pillow(data, kind) as opened:
            width, height = opened.size
    turn = _orientation(data, kind)
    return (height, width, turn) if turn >= 5 else (width, height, turn)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    import simplejpeg

    progressive = any(marker == _SOF2 for marker, _ in _jpeg_segments(data))
    if progressive and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise UndecodableError(f"{scans} scans; at most {MAX_SCANS}")
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (
        ValueError,
        KeyError,
    ) as error:  # KeyError: a colour space that simplejpeg has no name for
        raise UndecodableError("jpeg: no readable header") from error
    return width, height


_SOF2, _APP1, _SOS = 0xC2, 0xE1, 0xDA


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, offset of its content) of the segments before the first scan (ITU T.81, B.1.1)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SOS:
        yield data[at + 1], at + 4
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _png_size(data: bytes) -> tuple[int, int]:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise UndecodableError("png without IHDR")
    width, height = struct.unpack(">II", data[16:24])
    if width == 0 or height == 0:
        raise UndecodableError("png of no pixels")
    return width, height


def pillow(data: bytes, kind: str) -> Any:
    """Pillow's lazily decoding image. Pillow's own pixel limit is above ours only for huge
    announcements.
    """
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=[kind.upper()])
    except Image.DecompressionBombError as error:
        raise UndecodableError("announces too many pixels") from error
    except Exception as error:  # Pillow's plugins raise SyntaxError, struct.error, KeyError, ...
        raise UndecodableError(f"{kind}: {type(error).__name__}") from error


def _orientation(data: bytes, kind: str) -> int:
    if not _has_exif(data, kind):
        return 1
    try:
        with pillow(data, kind) as opened:
            turn = opened.getexif().get(0x0112, 1)
    except (
        Exception
    ):  # broken EXIF is common and no reason to lose the picture: browsers show it unturned
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _has_exif(data: bytes, kind: str) -> bool:
    if kind == "jpeg":
        return any(
            marker == _APP1 and data.startswith(b"Exif", at) for marker, at in _jpeg_segments(data)
        )
    chunk = {"png": b"eXIf", "webp": b"EXIF", "avif": b"Exif"}.get(kind)
    return chunk is not None and chunk in data
