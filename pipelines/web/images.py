"""From the bytes that a server sent to a picture that a model can train on, or the reason why not.

`process` trusts nothing that it is told: the format is told by the magic bytes, the number of
pixels is read from the header before a pixel is decoded (a 100 kB PNG can announce 20,000 x 20,000
of them), and a JPEG with hundreds of scans, which costs minutes to decode, is refused. What is left
is decoded, turned as EXIF says, laid on white where it is transparent, and shrunk by area averaging
until its shorter side is `image_size`.

JPEGs go through libjpeg-turbo itself (simplejpeg), PNGs through OpenCV, all else through Pillow. In
the exact mode the pixels are those of cv2.imdecode + cv2.resize(INTER_AREA), bit by bit. With
`scaled_decode` libjpeg-turbo leaves out the DCT coefficients that the target size cannot show:
fetching then costs a tenth less in all, 53 dB PSNR from the exact pixels (benchmarks/fetch.py).
"""

from __future__ import annotations

import hashlib
import math
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipelines.web.filters import SizeRules, size_reason
from pipelines.web.fingerprints import Pixels, fingerprint
from pipelines.web.formats import DECODABLE, UndecodableError, pillow, read_header, sniff


@dataclass(frozen=True)
class ImageConfig:
    """What a kept picture looks like."""

    image_size: int = 256
    """Shorter side at most, pixels; the ratio of the sides stays."""
    encoding: Literal["jpeg", "png", "webp"] = "jpeg"
    """How the shrunk picture is stored."""
    quality: int = 95
    """Of JPEG and WebP, 1 to 100."""
    scaled_decode: bool = False
    """Decode JPEGs at the smallest DCT scale that still covers the target: faster, not
    pixel-identical.
    """
    size: SizeRules = field(default_factory=SizeRules)
    """Which sizes as fetched are kept."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A kept picture; the fields are columns of `fetched`."""

    image: bytes
    format: str
    width: int
    height: int
    original_width: int
    original_height: int
    sha256: str
    phash: str
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why there is no picture: `reason` is counted, `detail` is for a person."""

    reason: str
    detail: str = ""


def process(data: bytes, config: ImageConfig) -> Picture | Rejected:
    """The picture in `data`, at most `config.image_size` on its shorter side, or why there is none.

    Reasons: empty_body, not_an_image, unsupported_format, too_many_pixels, too_small, aspect,
    undecodable.
    """
    kind = sniff(data)
    if kind not in DECODABLE:
        return _refuse(data, kind)
    try:
        width, height, turn = read_header(data, kind)
        reason = size_reason(width, height, config.size)
        if reason is not None:
            return Rejected(reason, f"{width} x {height} pixels")
        target = shrunk(width, height, config.image_size)
        cover = (target if turn < 5 else target[::-1]) if config.scaled_decode else (0, 0)
        pixels = _turned(decode(data, kind, cover, _scratch(width * height * 3)), turn)
        return _picture(data, resized(pixels, target), (width, height), config)
    except UndecodableError as error:
        return Rejected("undecodable", str(error))


def _picture(
    data: bytes, pixels: Pixels, original: tuple[int, int], config: ImageConfig
) -> Picture:
    phash, thumbnail = fingerprint(pixels)
    return Picture(
        image=encode(pixels, config),
        format=config.encoding,
        width=pixels.shape[1],
        height=pixels.shape[0],
        original_width=original[0],
        original_height=original[1],
        sha256=hashlib.sha256(data).hexdigest(),
        phash=phash,
        thumbnail=thumbnail,
    )


def _refuse(data: bytes, kind: str) -> Rejected:
    if not data:
        return Rejected("empty_body")
    if kind in ("", "html"):
        return Rejected("not_an_image", kind or f"starts with {data[:8].hex()}")
    return Rejected("unsupported_format", kind)


def decode(
    data: bytes,
    kind: str,
    cover: tuple[int, int] = (0, 0),
    scratch: npt.NDArray[np.uint8] | None = None,
) -> Pixels:
    """BGR pixels as stored, not turned.

    `cover`: stored (width, height) that DCT scaling must still cover, (0, 0) for no scaling.
    `scratch`: memory that a JPEG's pixels may be put into, large enough.
    """
    if kind == "jpeg":
        return _decode_jpeg(data, cover, scratch)
    return _decode_png(data) if kind == "png" else _decode_pillow(data, kind)


def _decode_jpeg(
    data: bytes, cover: tuple[int, int], scratch: npt.NDArray[np.uint8] | None
) -> Pixels:
    import simplejpeg

    width, height = cover
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "BGR", min_height=height, min_width=width, buffer=scratch
        )
        return pixels
    except ValueError:  # CMYK, or libjpeg warned: Pillow tells a torn file from a harmless oddity
        return _decode_pillow(data, "jpeg")


SCRATCH_BYTES = 1 << 22
_local = threading.local()


def _scratch(size: int) -> npt.NDArray[np.uint8] | None:
    """Memory of this thread for one picture's pixels: fresh pages cost 0.1 to 0.2 ms a picture."""
    if size > SCRATCH_BYTES:
        return None
    if not hasattr(_local, "scratch"):
        _local.scratch = np.empty(SCRATCH_BYTES, np.uint8)
    scratch: npt.NDArray[np.uint8] = _local.scratch
    return scratch


def _decode_png(data: bytes) -> Pixels:
    import cv2

    if (
        not data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")
        and b"IEND\xaeB`\x82" not in data[-65536:]
    ):
        raise UndecodableError("png without its end")
    decoded: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        return _decode_pillow(data, "png")
    if decoded.dtype == np.uint16:
        decoded = cv2.convertScaleAbs(decoded, alpha=1 / 257)
    if decoded.ndim == 2:
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_GRAY2BGR), np.uint8)
    return on_white(decoded) if decoded.shape[2] == 4 else decoded


def _decode_pillow(data: bytes, kind: str) -> Pixels:
    """The first frame. Pillow raises on torn files, where OpenCV fills in grey."""
    import cv2

    try:
        with pillow(data, kind) as opened:
            transparent = "A" in opened.getbands() or "transparency" in opened.info
            values = np.asarray(opened.convert("RGBA" if transparent else "RGB"), np.uint8)
    except UndecodableError:
        raise
    except Exception as error:
        raise UndecodableError(f"{kind}: {type(error).__name__}") from error
    if transparent:
        return on_white(np.asarray(cv2.cvtColor(values, cv2.COLOR_RGBA2BGRA), np.uint8))
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2BGR), np.uint8)


def on_white(bgra: npt.NDArray[np.uint8]) -> Pixels:
    """(H, W, 4) laid on white: round(colour * alpha / 255) + 255 - alpha."""
    import cv2

    alpha = cv2.cvtColor(cv2.extractChannel(bgra, 3), cv2.COLOR_GRAY2BGR)
    colour = cv2.cvtColor(bgra, cv2.COLOR_BGRA2BGR)
    laid = cv2.add(cv2.multiply(colour, alpha, scale=1 / 255), cv2.bitwise_not(alpha))
    return np.asarray(laid, np.uint8)


def _turned(pixels: Pixels, turn: int) -> Pixels:
    """As EXIF orientation `turn` (1-8) says that the picture is to be shown."""
    if turn == 1:
        return pixels
    if turn in (3, 4, 7, 6):
        pixels = pixels[::-1]
    if turn in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels)


def shrunk(width: int, height: int, image_size: int) -> tuple[int, int]:
    """(width, height) with the shorter side at most `image_size`, rounded half up."""
    scale = image_size / min(width, height)
    if scale >= 1:
        return width, height
    return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))


def resized(pixels: Pixels, target: tuple[int, int]) -> Pixels:
    """`pixels` at (width, height) `target`, by averaging areas."""
    import cv2

    if (pixels.shape[1], pixels.shape[0]) == target:
        return pixels
    return np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), np.uint8)


def encode(pixels: Pixels, config: ImageConfig) -> bytes:
    """`pixels` as JPEG, PNG or WebP."""
    import cv2

    options = {
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, config.quality],
        "png": [],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, config.quality],
    }
    ok, encoded = cv2.imencode(f".{config.encoding}", pixels, options[config.encoding])
    if not ok:
        raise RuntimeError(f"OpenCV cannot encode {pixels.shape} as {config.encoding}")
    return encoded.tobytes()


def fingerprint_of(data: bytes) -> tuple[str, bytes]:
    """`fingerprint` of an encoded picture, such as an evaluation image, shrunk as the corpus is.

    Raises UndecodableError where `data` is no picture.
    """
    return fingerprint(pixels_of(data))


def pixels_of(data: bytes) -> Pixels:
    """An encoded picture as BGR pixels, on white and upright, shrunk as the corpus is.

    Raises UndecodableError where `data` is no picture.
    """
    kind = sniff(data)
    if kind not in DECODABLE:
        raise UndecodableError(f"{kind or 'no image'}; legal: {', '.join(DECODABLE)}")
    width, height, turn = read_header(data, kind)
    pixels = _turned(decode(data, kind), turn)
    return resized(pixels, shrunk(width, height, ImageConfig.image_size))
