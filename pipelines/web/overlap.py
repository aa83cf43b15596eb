"""Training pictures that show an evaluation picture: re-encoded, resized, or cropped.

A perceptual hash of the whole picture does not survive a crop: of pictures cropped by 10 % a side
it finds 3 %. Here a corpus keeps only the 16 x 16 thumbnails that fetching wrote, and the
evaluation picture, which is at hand whole, is cropped in every way that is looked for:

    1. thumbnails shrunk to 4 x 4, mean removed, length 1: the nearest by cosine are candidates,
       since a crop moves so coarse a picture little
    2. each candidate against 91 crops of the evaluation picture, 0 to 12.5 % of each side cut off
       in steps of 2.5 % at all places in such steps, by the correlation of 16 x 16 thumbnails
    3. the best few: the four edges of the crop are moved, each alone, by ever smaller steps as long
       as the correlation rises

Measured with 200 of 1,250 stamps, clip arts and emoji planted (each a quarter: recompressed at
quality 50 to 90; resized by 0.5 to 1.5; cropped by 10 % of each side anywhere; the last two) in a
corpus of 1,700: recall 0.97 (crops 0.98, resized crops 0.96), and 0.19 % of the 1,050 others were
taken for shown, 11 ms of one core a picture. Hash search finds 3 % of such crops.

A pair is an overlap if that correlation is high and the mean difference of the pixels low; the
latter tells a red drawing from a blue one. Step 1 is a matrix product in blocks of the corpus, so
memory is flat. A training picture that shows MORE than the evaluation picture is found only as far
as 1.25 % of a side.

Letters: Q evaluation pictures, N corpus pictures, V crops, K candidates.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.datasets import Dataset
from pipelines.web.fingerprints import THUMBNAIL_SIDE, Pixels

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
COARSE_SIDE = 4
Box = tuple[float, float, float, float]
CORPUS_A_BLOCK = 1 << 16
PICTURES_A_BLOCK = 512
STEP = 0.025
"""Of the cut and of its place, as a share of the side."""
CUTS = 5
"""Most steps that are cut off."""
NUDGES = (0.02, 0.01, 0.005, 0.0025)
"""Steps by which the edges of the best crop are moved, shares of the side."""
PROMISING = 0.8
"""Correlation from which a candidate is worth step 3."""
REFINED = 8
"""Most candidates that go through step 3."""
DECODED_SIDE = 160
"""Pixels of the longer side that crops are taken from."""


@dataclass(frozen=True)
class OverlapConfig:
    """When a training picture shows an evaluation picture."""

    candidates: int = 64
    """K: nearest coarse pictures that are looked at closely."""
    least_correlation: float = 0.98
    """Of 16 x 16 thumbnails with their means removed, in [-1, 1]."""
    most_difference: float = 12.0
    """Mean absolute difference of their 768 values, of 255."""


def crops(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """(V, 768) thumbnails, RGB row-major, of the crops of a BGR picture; the whole one is first."""
    return np.stack([_thumbnail(pixels, box) for box in _boxes()])


def _thumbnail(pixels: Pixels, box: Box) -> npt.NDArray[np.uint8]:
    import cv2

    height, width = pixels.shape[:2]
    x0, y0 = round(box[0] * width), round(box[1] * height)
    x1, y1 = max(x0 + 1, round(box[2] * width)), max(y0 + 1, round(box[3] * height))
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small = cv2.resize(pixels[y0:y1, x0:x1], side, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)[:, :, ::-1].reshape(-1)


@functools.cache
def _boxes() -> tuple[Box, ...]:
    """(left, top, right, bottom) of every crop, as shares of the sides."""
    return tuple(
        (STEP * x, STEP * y, 1 - STEP * (cut - x), 1 - STEP * (cut - y))
        for cut in range(CUTS + 1)
        for y in range(cut + 1)
        for x in range(cut + 1)
    )


def coarse(thumbnails: npt.NDArray[np.uint8]) -> Floats:
    """(M, 48): thumbnails (M, 768) shrunk to 4 x 4 RGB, mean removed, length 1; flat ones are 0."""
    block = THUMBNAIL_SIDE // COARSE_SIDE
    shape = (-1, COARSE_SIDE, block, COARSE_SIDE, block, 3)
    small = thumbnails.reshape(shape).astype(np.float32).mean(axis=(2, 4)).reshape(-1, 48)
    return _unit(small)


def _unit(x: Floats) -> Floats:
    x = x - x.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(x / np.maximum(length, 1e-6) * (length > 1e-3), dtype=np.float32)


def decode(image: bytes) -> Pixels | None:
    """BGR pixels as the fingerprints see them, at most DECODED_SIDE a side; None if undecodable."""
    import cv2

    from pipelines.web.formats import UndecodableError
    from pipelines.web.images import pixels_of

    try:
        pixels = pixels_of(image)
    except UndecodableError:
        return None
    scale = DECODED_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = tuple(max(1, round(side * scale)) for side in pixels.shape[1::-1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def overlaps(
    images: Iterator[tuple[str, bytes]], corpus: pa.Table, config: OverlapConfig
) -> pa.Table:
    """(image_id, other_id, correlation, difference) of every evaluation picture that is shown.

    `corpus`: image_id and thumbnail, as `samples` have them. Of several training pictures the best
    is named. Pictures that cannot be decoded show nothing and are found nowhere.
    """
    thumbs = np.frombuffer(b"".join(corpus.column("thumbnail").to_pylist()), np.uint8)
    thumbs = thumbs.reshape(-1, 3 * THUMBNAIL_SIDE**2)
    rows: list[tuple[str, int, float, float]] = []
    while block := list(islice(images, PICTURES_A_BLOCK)):
        seen = [(i, pixels) for i, image in block if (pixels := decode(image)) is not None]
        views = [crops(pixels) for _, pixels in seen]
        if not seen:
            continue
        near = _nearest(coarse(np.stack([v[_middle()] for v in views])), thumbs, config.candidates)
        for (image_id, pixels), v, some in zip(seen, views, near, strict=True):
            best = _best(pixels, v, thumbs, some, config)
            rows += [(image_id, *best)] if best is not None else []
    names = corpus.column("image_id")
    columns: list[Any] = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return pa.table(
        {
            "image_id": pa.array(columns[0], pa.string()),
            "other_id": names.take(pa.array(columns[1], pa.int64())).cast(pa.string()),
            "correlation": pa.array(columns[2], pa.float64()),
            "difference": pa.array(columns[3], pa.float64()),
        }
    ).sort_by("image_id")


@functools.cache
def _middle() -> int:
    """The crop that all others differ least from: some of each side cut off, from the middle."""
    return next(
        i for i, box in enumerate(_boxes()) if np.allclose(box, (STEP, STEP, 1 - STEP, 1 - STEP))
    )


def _nearest(asked_QF: Floats, thumbs: npt.NDArray[np.uint8], k: int) -> Indices:
    """(Q, K) places in the corpus of the coarse pictures nearest by cosine, a block at a time."""
    best: Floats = np.zeros((len(asked_QF), 0), np.float32)
    place: Indices = np.zeros((len(asked_QF), 0), np.int64)
    for start in range(0, len(thumbs), CORPUS_A_BLOCK):
        cosines = asked_QF @ coarse(thumbs[start : start + CORPUS_A_BLOCK]).T
        few = min(k, cosines.shape[1])
        top = np.argpartition(-cosines, few - 1, axis=1)[:, :few]
        best = np.concatenate([best, np.take_along_axis(cosines, top, axis=1)], axis=1)
        place = np.concatenate([place, top + start], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(best, order, axis=1)
        place = np.take_along_axis(place, order, axis=1)
    return place


def _best(
    pixels: Pixels,
    views_VF: npt.NDArray[np.uint8],
    thumbs: npt.NDArray[np.uint8],
    some_K: Indices,
    config: OverlapConfig,
) -> tuple[int, float, float] | None:
    """(place in the corpus, correlation, difference) of the best candidate that passes."""
    known = thumbs[some_K]
    units_KF = _unit(known.astype(np.float32))
    correlation_VK = _unit(views_VF.astype(np.float32)) @ units_KF.T
    view, best = correlation_VK.argmax(axis=0), correlation_VK.max(axis=0)
    passed = []
    for k in np.argsort(-best, kind="stable")[:REFINED]:
        if best[k] < PROMISING:
            break
        correlation, seen = _refined(pixels, _boxes()[view[k]], units_KF[k])
        difference = float(np.abs(seen.astype(np.int16) - known[k]).mean())
        if correlation >= config.least_correlation and difference <= config.most_difference:
            passed.append((correlation, int(some_K[k]), difference))
    if not passed:
        return None
    correlation, place, difference = max(passed)
    return place, correlation, difference


def _refined(pixels: Pixels, box: Box, known_F: Floats) -> tuple[float, npt.NDArray[np.uint8]]:
    """The crop's edges moved, each alone, as long as the correlation with `known_F` rises."""

    def at(box: Box) -> tuple[float, npt.NDArray[np.uint8]]:
        seen = _thumbnail(pixels, box)
        return float(_unit(seen.astype(np.float32)) @ known_F), seen

    best = at(box)
    for nudge in NUDGES:
        for edge in range(4):
            for step in (nudge, -nudge):
                edges = [*box]
                edges[edge] = min(max(edges[edge] + step, 0.0), 1.0)
                moved: Box = (edges[0], edges[1], edges[2], edges[3])
                tried = at(moved)
                if tried[0] > best[0]:
                    best, box = tried, moved
    return best


def overlapping(labelled: Dataset, corpus: Dataset, config: OverlapConfig) -> pa.Table:
    """`overlaps` of a `labelled` dataset with a `samples` dataset."""
    rows = (
        (row["image_id"], row["image"])
        for batch in labelled.batches(["image_id", "image"])
        for row in batch.to_pylist()
    )
    return overlaps(rows, corpus.table(["image_id", "thumbnail"]), config)
