"""Planted evaluation pictures: recompressed, resized, cropped by a tenth, among others alike."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from pipelines.web.images import fingerprint_of
from pipelines.web.overlap import OverlapConfig, coarse, crops, decode, overlaps


def drawing(seed: int) -> Image.Image:
    """Shapes of several colours on a ground that changes smoothly."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 255, (3, 3, 3), dtype=np.uint8)
    size = (int(rng.integers(90, 200)), int(rng.integers(90, 200)))
    picture = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(7):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        w, h = rng.integers(10, 70, 2)
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((int(x), int(y), int(x + w), int(y + h)), fill=colour)
    return picture


def encoded(picture: Image.Image, quality: int = 92) -> bytes:
    out = io.BytesIO()
    picture.save(out, "jpeg", quality=quality)
    return out.getvalue()


def planted(seed: int, kind: str) -> bytes:
    rng, picture = np.random.default_rng([seed, 1]), drawing(seed)
    if "crop" in kind:
        w, h = (round(0.9 * side) for side in picture.size)
        x, y = rng.integers(0, picture.width - w + 1), rng.integers(0, picture.height - h + 1)
        picture = picture.crop((int(x), int(y), int(x) + w, int(y) + h))
    if "resize" in kind:
        factor = rng.uniform(0.5, 1.5)
        picture = picture.resize([round(factor * side) for side in picture.size])
    return encoded(picture, int(rng.integers(50, 90)))


def corpus_of(pictures: dict[str, bytes]) -> pa.Table:
    thumbnails = [fingerprint_of(picture)[1] for picture in pictures.values()]
    return pa.table({"image_id": list(pictures), "thumbnail": thumbnails})


def test_planted_pictures_are_found_and_others_are_not():
    kinds = ("jpeg", "resize", "crop", "resize crop")
    tests = {f"t{i:03d}": encoded(drawing(i)) for i in range(160)}
    shown = {f"t{i:03d}": planted(i, kinds[i % 4]) for i in range(80)}
    corpus = {f"of {name}": picture for name, picture in shown.items()}
    corpus |= {f"other {i}": encoded(drawing(1000 + i)) for i in range(300)}
    found = overlaps(iter(tests.items()), corpus_of(corpus), OverlapConfig()).to_pylist()
    right = [row for row in found if row["other_id"] == f"of {row['image_id']}"]
    assert len(right) >= 0.95 * len(shown)
    assert [row for row in found if row["image_id"] not in shown] == []


def test_colour_tells_apart_what_has_one_shape():
    red, blue = (Image.new("RGB", (80, 80), "white") for _ in range(2))
    ImageDraw.Draw(red).ellipse((20, 20, 60, 60), fill=(230, 30, 30))
    ImageDraw.Draw(blue).ellipse((20, 20, 60, 60), fill=(30, 30, 230))
    corpus = corpus_of({"red": encoded(red), "blue": encoded(blue)})
    found = overlaps(iter([("asked", encoded(red))]), corpus, OverlapConfig()).to_pylist()
    assert [row["other_id"] for row in found] == ["red"]
    found = overlaps(iter([("asked", encoded(blue))]), corpus.slice(0, 1), OverlapConfig())
    assert found.num_rows == 0


def test_a_broken_picture_is_found_nowhere():
    corpus = corpus_of({"a": encoded(drawing(1))})
    found = overlaps(iter([("broken", b"no picture")]), corpus, OverlapConfig())
    assert found.num_rows == 0 and decode(b"no picture") is None


def test_crops_are_those_of_the_pixels():
    pixels = np.asarray(drawing(3).resize((160, 160)))[:, :, ::-1]
    views = crops(np.ascontiguousarray(pixels))
    assert views.shape == (91, 768) and len(np.unique(views, axis=0)) == 91
    whole = pixels.reshape(16, 10, 16, 10, 3).mean(axis=(1, 3))[:, :, ::-1].reshape(-1)
    np.testing.assert_allclose(views[0], whole, atol=0.51)  # area means, RGB


def test_flat_pictures_have_no_direction():
    flat = np.full((1, 768), 128, np.uint8)
    assert not coarse(flat).any()
