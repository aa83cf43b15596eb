"""Pictures: exact pixels, every odd format, and what is refused before a pixel is decoded."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from pipelines.web import images
from pipelines.web.filters import SizeRules
from pipelines.web.formats import sniff
from pipelines.web.images import ImageConfig, Picture, Rejected, process

CONFIG = ImageConfig(image_size=64, encoding="png")


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with some noise, BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noisy = smooth + rng.integers(-8, 9, smooth.shape, dtype=np.int16)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, extension: str, *options: int) -> bytes:
    return cv2.imencode(extension, pixels, list(options))[1].tobytes()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def kept(data: bytes, config: ImageConfig = CONFIG) -> tuple[Picture, np.ndarray]:
    """The picture and its decoded BGR pixels."""
    found = process(data, config)
    assert isinstance(found, Picture), found
    return found, cv2.imdecode(np.frombuffer(found.image, np.uint8), cv2.IMREAD_COLOR)


def refused(data: bytes, config: ImageConfig = CONFIG) -> Rejected:
    found = process(data, config)
    assert isinstance(found, Rejected), found
    return found


@pytest.mark.parametrize("size", [(100, 150), (64, 64), (301, 64), (40, 40), (333, 129)])
@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)])
def test_pixels_are_exactly_opencvs(size: tuple[int, int], options: tuple[int, ...]) -> None:
    data = encoded(photo(*size), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 88, *options)
    picture, pixels = kept(data)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    scale = 64 / min(size)
    if scale < 1:
        target = (int(size[1] * scale + 0.5), int(size[0] * scale + 0.5))
        expected = cv2.resize(expected, target, interpolation=cv2.INTER_AREA)
    assert (pixels == expected).all()
    assert (picture.height, picture.width) == expected.shape[:2]
    assert (picture.original_height, picture.original_width) == size
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    assert len(picture.phash) == 16 and len(picture.thumbnail) == 768


def test_scaled_decode_is_close() -> None:
    data = encoded(photo(512, 512), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 88)
    _, exact = kept(data)
    _, scaled = kept(data, ImageConfig(image_size=64, encoding="png", scaled_decode=True))
    error = np.mean((exact.astype(float) - scaled) ** 2)
    assert 10 * np.log10(255**2 / error) > 35
    assert (exact != scaled).any()


@pytest.mark.parametrize("encoding", ["jpeg", "png", "webp"])
def test_encodings(encoding: str) -> None:
    found, _ = kept(encoded(photo(90, 80), ".png"), ImageConfig(image_size=64, encoding=encoding))
    assert sniff(found.image) == found.format == encoding


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied_as_opencv_does(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(Image.fromarray(photo(120, 200)[:, :, ::-1]), "jpeg", exif=exif, quality=90)
    picture, pixels = kept(data)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # turns by itself
    target = (picture.width, picture.height)
    assert (pixels == cv2.resize(expected, target, interpolation=cv2.INTER_AREA)).all()
    assert (picture.original_width < picture.original_height) == (turn >= 5)
    scaled = ImageConfig(image_size=64, encoding="png", scaled_decode=True)
    assert kept(data, scaled)[1].shape == pixels.shape


def test_transparent_is_laid_on_white() -> None:
    pixels = np.dstack(
        [photo(64, 64), np.linspace(0, 255, 64 * 64).astype(np.uint8).reshape(64, 64)]
    )
    alpha = pixels[:, :, 3:].astype(float) / 255
    expected = pixels[:, :, :3] * alpha + 255 * (1 - alpha)
    for data in (
        encoded(pixels, ".png"),
        saved(Image.fromarray(pixels[:, :, [2, 1, 0, 3]]), "webp", lossless=True, exact=True),
    ):
        assert np.abs(kept(data)[1] - expected).max() <= 1


def test_palette_with_transparency() -> None:
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (0, 0, 32, 64))
    for kind in ("png", "gif"):
        _, pixels = kept(saved(palette, kind, transparency=1))
        assert (pixels[10, 10] == 255).all()
        assert pixels[10, 50].tolist() == [0, 0, 255]


def test_animation_gives_its_first_frame() -> None:
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    for kind in ("gif", "webp", "png"):
        data = saved(red, kind, save_all=True, append_images=[blue])
        _, pixels = kept(data)
        assert pixels[30, 30, 2] > 200 and pixels[30, 30, 0] < 60, kind


def test_grey_sixteen_bit_and_cmyk() -> None:
    grey = photo(64, 64)[:, :, 0]
    assert (kept(encoded(grey, ".png"))[1] == grey[:, :, None]).all()
    assert kept(encoded(grey, ".jpg"))[1].shape == (64, 64, 3)
    deep = grey.astype(np.uint16) * 257
    assert (kept(encoded(deep, ".png"))[1] == grey[:, :, None]).all()
    alpha = np.dstack([photo(64, 64).astype(np.uint16) * 257, np.full((64, 64), 65535, np.uint16)])
    assert (kept(encoded(alpha, ".png"))[1] == photo(64, 64)).all()
    cmyk = saved(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "jpeg", quality=95)
    blue, _, red = kept(cmyk)[1][30, 30]
    assert red > 200 and blue < 60


def test_bmp_and_avif() -> None:
    assert (kept(encoded(photo(64, 64), ".bmp"))[1] == photo(64, 64)).all()
    avif = saved(Image.fromarray(photo(64, 64)[:, :, ::-1]), "avif", quality=90)
    assert np.abs(kept(avif)[1].astype(int) - photo(64, 64)).mean() < 10


def png(width: int, height: int, rows: bytes) -> bytes:
    """An 8-bit grey PNG that announces any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_huge_png_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(20_000, 20_000, bytes(20_001) * 200)
    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("decoded"))
    assert refused(data) == Rejected("too_many_pixels", "20000 x 20000 pixels")


@pytest.mark.parametrize("kind", ["gif", "webp", "bmp"])
def test_every_format_announces_its_size(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("decoded"))
    data = saved(Image.new("RGB", (3000, 3000)), kind)
    small = ImageConfig(size=SizeRules(max_pixels=8_999_999))
    assert refused(data, small).reason == "too_many_pixels"


def test_jpeg_of_endless_scans() -> None:
    data = saved(Image.fromarray(photo(64, 64)), "jpeg", progressive=True)
    assert isinstance(process(data, CONFIG), Picture)
    scan = data[data.index(b"\xff\xda") : -2]
    assert refused(data[:-2] + scan * 300 + data[-2:]).reason == "undecodable"


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp", "bmp"])
def test_truncated(kind: str) -> None:
    data = saved(Image.fromarray(photo(200, 200)), kind)
    assert refused(data[: len(data) // 2]).reason == "undecodable"
    assert refused(data[:40]).reason == "undecodable"


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp", "bmp", "avif"])
def test_broken_bytes_never_raise(kind: str) -> None:
    data = saved(Image.fromarray(photo(48, 48)), kind)
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = np.frombuffer(data, np.uint8).copy()
        where = rng.integers(0, min(len(broken), 400), 4)
        broken[where] = rng.integers(0, 256, 4)
        assert isinstance(process(broken.tobytes(), CONFIG), Picture | Rejected)


def test_detail_is_the_same_every_time() -> None:
    data = encoded(photo(200, 200), ".jpg")
    for broken in (data[:5000], data[:30], b"GIF89a" + bytes(30), b"\x89PNG\r\n\x1a\n" + bytes(60)):
        assert refused(broken) == refused(bytes(bytearray(broken)))
        assert "0x" not in refused(broken).detail


def test_jpeg_with_trailing_junk_is_a_picture() -> None:
    data = encoded(photo(100, 100), ".jpg")
    picture, pixels = kept(data + b"junk" * 50)
    assert (pixels == kept(data)[1]).all()
    assert picture.sha256 != kept(data)[0].sha256


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", "empty_body", ""),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "not_an_image", "html"),
        (b"hello", "not_an_image", "starts with 68656c6c6f"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format", "svg"),
        (b"<?xml version='1.0'?>\n<svg/>", "unsupported_format", "svg"),
        (b"%PDF-1.7", "unsupported_format", "pdf"),
        (b"II*\0" + bytes(20), "unsupported_format", "tiff"),
        (bytes(4) + b"ftypheic", "unsupported_format", "heic"),
        (bytes(4) + b"ftypmp42", "not_an_image", "starts with 0000000066747970"),
    ],
)
def test_what_is_no_picture(data: bytes, reason: str, detail: str) -> None:
    assert refused(data) == Rejected(reason, detail)


def test_sizes() -> None:
    assert refused(encoded(photo(31, 100), ".png")) == Rejected("too_small", "100 x 31 pixels")
    assert refused(encoded(photo(300, 50), ".png")).reason == "aspect"
    assert isinstance(process(encoded(photo(250, 50), ".png"), CONFIG), Picture)


def slow_phash(grey: np.ndarray) -> str:
    """The same hash by loops over whole numbers."""
    side = range(32)
    cosine = [[round(4096 * np.cos(np.pi * u * (2 * x + 1) / 64)) for x in side] for u in range(8)]
    low = [
        sum(cosine[u][y] * cosine[v][x] * int(grey[y, x]) for y in side for x in side)
        for u in range(8)
        for v in range(8)
    ]
    mean = max(sum(abs(value) for value in low[1:]) / 63 / 4, 64 * 4096**2)
    return f"{int(''.join('1' if value > mean else '0' for value in low), 2):016x}"


def test_phash_is_that_of_plain_loops() -> None:
    from pipelines.web.fingerprints import phash

    flat = np.full((32, 32), 200, np.uint8)
    faint = flat + (np.arange(32) % 2).astype(np.uint8)[:, None]
    for grey in (*(photo(32, 32, seed)[:, :, 1] for seed in range(5)), flat, faint):
        assert phash(grey) == slow_phash(grey)
    assert phash(flat) == phash(faint) == "8000000000000000"


def test_fingerprint_survives_reencoding_and_sees_colour() -> None:
    original, _ = kept(encoded(photo(300, 300), ".png"))
    again, _ = kept(encoded(photo(300, 300), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 60))
    assert (int(original.phash, 16) ^ int(again.phash, 16)).bit_count() <= 4
    other, _ = kept(encoded(photo(300, 300, seed=1), ".png"))
    assert (int(original.phash, 16) ^ int(other.phash, 16)).bit_count() > 10
    assert images.fingerprint_of(encoded(photo(300, 300), ".png")) is not None


def test_fingerprint_of_an_encoded_picture() -> None:
    data = encoded(photo(300, 400), ".png")
    picture = process(data, ImageConfig())
    assert isinstance(picture, Picture)
    assert images.fingerprint_of(data) == (picture.phash, picture.thumbnail)
    with pytest.raises(images.UndecodableError, match="legal: jpeg, png"):
        images.fingerprint_of(b"<svg/>")
