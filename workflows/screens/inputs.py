"""Screenshots of any kind to the dataset `pictures`: a folder of image files, Parquet files with an
`image` column, or a dataset of ours.

A file that cannot be read is a row without bytes, with a status; a file that is no picture by its
name is left out and counted.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.datasets import Dataset, write_shard
from pipelines.hashing import hash_json
from pipelines.records import PICTURES, record_id
from pipelines.storage import filesystem as filesystem_of
from workflows.job import Job

KINDS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
IDS = ("image_id", "screen_id", "id")
"""Columns of a Parquet file that name its rows; without one of them, file and row number do."""
ROWS_A_SHARD = 64


def pictures(job: Job, place: str) -> Dataset:
    """The dataset `pictures` of what lies at `place`.

    Raises ValueError where there is nothing, or a Parquet file has no column of images.
    """
    fs, root = filesystem_of(place)
    files = listed(fs, root)
    parquet = [file for file in files if file.path.endswith(".parquet")]
    chosen = parquet or [file for file in files if file.path.lower().endswith(KINDS)]
    if not chosen:
        raise ValueError(f"{place} has neither pictures ({' '.join(KINDS)}) nor Parquet files")
    left_out = len([file for file in files if not file.path.endswith("manifest.json")])

    def write(folder: str, update: Any) -> Mapping[str, int]:
        rows = _from_parquet(fs, root, chosen) if parquet else _from_files(fs, root, chosen)
        done = 0
        for number, table in enumerate(_parts(rows)):
            path = posixpath.join(folder, f"{number:05d}.parquet")
            if not _exists(path):  # a killed run's shard is the same one
                write_shard(path, table)
            done += table.num_rows
            update(done, 0 if parquet else len(chosen), "")
        others = left_out - len(chosen)
        return {"not_a_picture": others} if others and not parquet else {}

    sizes = [[_below(root, file.path), file.size] for file in chosen]
    config = {"files": len(chosen), "listing": hash_json(sizes)}
    return job.build("gather pictures", "pictures", write, config=config)


def pictures_of(job: Job, screens: Dataset, split: str) -> Dataset:
    """The dataset `pictures` of a `screens` dataset's split; their origins are its ids.

    Screens without a picture are left out and counted by their status.
    """

    def write(folder: str, update: Any) -> Mapping[str, int]:
        dropped: Counter[str] = Counter()

        def rows() -> Iterator[dict[str, Any]]:
            for batch in screens.batches(["screen_id", "image", "split", "status"], batch_size=16):
                for row in batch.to_pylist():
                    if row["split"] == split and row["status"] == "ok":
                        yield _row(row["screen_id"], row["image"])
                    elif row["split"] == split:
                        dropped[row["status"]] += 1

        for number, table in enumerate(_parts(rows())):
            write_shard(posixpath.join(folder, f"{number:05d}.parquet"), table)
        return dict(dropped)

    return job.build(
        f"{split} pictures", "pictures", write, config={"split": split}, parents=[screens]
    )


def listed(fs: pafs.FileSystem, root: str) -> list[pafs.FileInfo]:
    """Every file below `root`, or `root` itself, by path; what is hidden is left out."""
    info = fs.get_file_info(root)
    if info.type == pafs.FileType.File:
        return [info]
    if info.type != pafs.FileType.Directory:
        raise ValueError(f"{root} does not exist")
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    files = [one for one in found if one.type == pafs.FileType.File]
    seen = [f for f in files if not any(p[0] in "._" for p in _below(root, f.path).split("/") if p)]
    return sorted(seen, key=lambda one: str(one.path))


def _below(root: str, path: str) -> str:
    return path[len(root) :].lstrip("/") or posixpath.basename(path)


def _row(origin: str, image: bytes | None, detail: str = "") -> dict[str, Any]:
    digest = hashlib.sha256(image or b"").hexdigest()
    return {
        "image_id": record_id(origin, digest),
        "origin": origin,
        "image": image,
        "status": "ok" if image is not None else "unreadable",
        "detail": detail,
    }


def _from_files(
    fs: pafs.FileSystem, root: str, files: list[pafs.FileInfo]
) -> Iterator[dict[str, Any]]:
    for file in files:
        origin = _below(root, file.path)
        try:
            with fs.open_input_file(file.path) as opened:
                image = opened.read()
        except OSError as error:
            yield _row(origin, None, f"{type(error).__name__}: {error}"[:300])
        else:
            yield _row(origin, image)


def _from_parquet(
    fs: pafs.FileSystem, root: str, files: list[pafs.FileInfo]
) -> Iterator[dict[str, Any]]:
    for file in files:
        with fs.open_input_file(file.path) as opened:
            parquet = pq.ParquetFile(opened)
            names = parquet.schema_arrow.names
            if "image" not in names:
                raise ValueError(f"{file.path} has columns {names}; legal: one of them `image`")
            key = next((name for name in IDS if name in names), None)
            columns = ["image", *([key] if key else [])]
            number = 0
            for batch in parquet.iter_batches(batch_size=16, columns=columns):
                for row in batch.to_pylist():
                    origin = str(row[key]) if key else f"{_below(root, file.path)}#{number}"
                    number += 1
                    yield _row(origin, *_bytes(row["image"]))


def _bytes(value: Any) -> tuple[bytes | None, str]:
    """The bytes of a cell: bytes, or datasets' {"bytes", "path"}."""
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if isinstance(value, bytes):
        return value, ""
    return None, f"the row holds {type(value).__name__}, no bytes"


def _parts(rows: Iterator[dict[str, Any]]) -> Iterator[pa.Table]:
    """Shards; a row whose id was there already is the same picture and comes once."""
    seen: set[str] = set()
    part: list[dict[str, Any]] = []
    for row in rows:
        if row["image_id"] in seen:
            continue
        seen.add(row["image_id"])
        part.append(row)
        if len(part) == ROWS_A_SHARD:
            yield pa.Table.from_pylist(part, PICTURES)
            part = []
    if part:
        yield pa.Table.from_pylist(part, PICTURES)


def _exists(path: str) -> bool:
    fs, inner = filesystem_of(path)
    return bool(fs.get_file_info(inner).is_file)
