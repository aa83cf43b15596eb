"""Near-duplicates: planted ones are found, the exact search equals all pairs, colour counts."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.web.dedup import DedupConfig, duplicates, near_duplicates
from pipelines.web.fingerprints import fingerprint


def photo(seed: int, side: int = 256) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def half(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def table(pictures: dict[str, np.ndarray]) -> pa.Table:
    looks = [fingerprint(pixels) for pixels in pictures.values()]
    return pa.table(
        {
            "image_id": list(pictures),
            "phash": [phash for phash, _ in looks],
            "thumbnail": pa.array([thumbnail for _, thumbnail in looks], pa.binary()),
            "original_width": pa.array([p.shape[1] for p in pictures.values()], pa.int32()),
            "original_height": pa.array([p.shape[0] for p in pictures.values()], pa.int32()),
        }
    )


def found(pictures: dict[str, np.ndarray], config: DedupConfig | None = None) -> dict[str, str]:
    rows = duplicates(table(pictures), config or DedupConfig())
    return dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def test_planted_duplicates_are_found_and_no_others() -> None:
    pictures = {f"{seed:03d}": photo(seed) for seed in range(60)}
    planted = {}
    for seed in range(0, 60, 3):
        changed = (jpeg(photo(seed), 50), half(photo(seed)), photo(seed))[seed // 3 % 3]
        pictures[f"{seed:03d}-again"] = changed
        planted[f"{seed:03d}-again"] = f"{seed:03d}"
    assert found(pictures) == planted


def test_the_most_pixels_stay_then_the_least_id() -> None:
    small, large = half(photo(1)), photo(1)
    assert found({"a": small, "b": large, "c": large}) == {"a": "b", "c": "b"}
    assert found({"b": large, "a": large}) == {"b": "a"}


def test_a_red_and_a_blue_disc_are_two_pictures() -> None:
    discs = {}
    for name, colour in (("red", (0, 0, 255)), ("blue", (255, 76, 0))):
        discs[name] = np.full((128, 128, 3), 255, np.uint8)
        cv2.circle(discs[name], (64, 64), 40, colour, -1)
    rows = table(discs)
    bits = [int(phash, 16) for phash in rows.column("phash").to_pylist()]
    assert (bits[0] ^ bits[1]).bit_count() <= 4  # the hash alone would merge them
    assert found(discs) == {}


def made_up(count: int, seed: int) -> pa.Table:
    """Fingerprints in clusters: hashes some bits apart, thumbnails a few levels apart."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 1 << 63, 12, dtype=np.uint64)
    bits = (rng.random((count, 64)) < 0.04) @ (1 << np.arange(64, dtype=np.uint64))
    hashes = centres[rng.integers(0, 12, count)] ^ bits.astype(np.uint64)
    level = rng.integers(0, 12, (count, 1)) + rng.integers(0, 4, (count, 768))
    return pa.table(
        {
            "image_id": [f"{seed}-{row:04d}" for row in rng.permutation(count)],
            "phash": [f"{value:016x}" for value in hashes.tolist()],
            "thumbnail": pa.array([row.tobytes() for row in level.astype(np.uint8)], pa.binary()),
            "original_width": pa.array(rng.integers(1, 4, count), pa.int32()),
            "original_height": pa.array(rng.integers(1, 4, count), pa.int32()),
        }
    )


def same(a: dict[str, object], b: dict[str, object], config: DedupConfig) -> bool:
    bits = (int(str(a["phash"]), 16) ^ int(str(b["phash"]), 16)).bit_count()
    thumbnails = [np.frombuffer(row["thumbnail"], np.uint8).astype(int) for row in (a, b)]
    difference = np.abs(thumbnails[0] - thumbnails[1]).mean()
    return bits <= config.max_bits and difference <= config.max_difference


@pytest.mark.parametrize("config", [DedupConfig(), DedupConfig(0, 2.0), DedupConfig(9, 3.0)])
def test_search_equals_comparing_all_pairs(config: DedupConfig) -> None:
    rows = made_up(150, seed=3).to_pylist()
    cluster = {row["image_id"]: {row["image_id"]} for row in rows}
    for a, b in combinations(rows, 2):
        if same(a, b, config):
            merged = cluster[a["image_id"]] | cluster[b["image_id"]]
            for key in merged:
                cluster[key] = merged
    by_id = {row["image_id"]: row for row in rows}
    expected = {}
    for key, members in cluster.items():
        pixels = {m: by_id[m]["original_width"] * by_id[m]["original_height"] for m in members}
        best = min(members, key=lambda m: (-pixels[m], m))
        if best != key:
            expected[key] = best
    assert expected
    result = duplicates(made_up(150, seed=3), config)
    assert dict(zip(*(column.to_pylist() for column in result.columns), strict=True)) == expected
    assert result.column("image_id").to_pylist() == sorted(expected)


def test_near_duplicates_between_two_tables() -> None:
    config = DedupConfig()
    of, against = made_up(90, seed=1), made_up(70, seed=1).slice(20)
    expected = sorted(
        (a["image_id"], b["image_id"])
        for a in of.to_pylist()
        for b in against.to_pylist()
        if same(a, b, config)
    )
    result = near_duplicates(of, against, config)
    assert list(zip(*(c.to_pylist() for c in result.columns), strict=True)) == expected
    assert expected


def test_nothing_in_nothing_out() -> None:
    empty = made_up(1, seed=0).slice(1)
    assert duplicates(empty, DedupConfig()).num_rows == 0
    assert near_duplicates(empty, empty, DedupConfig()).num_rows == 0
    assert near_duplicates(made_up(5, seed=0), empty, DedupConfig()).num_rows == 0


def test_many_copies_of_one_placeholder() -> None:
    copies = table({"a": photo(1)}).take([0] * 20_000)
    ids = pa.array([f"{row:05d}" for row in range(20_000)])
    result = duplicates(copies.set_column(0, "image_id", ids), DedupConfig())
    assert result.num_rows == 19_999
    assert set(result.column("duplicate_of").to_pylist()) == {"00000"}
