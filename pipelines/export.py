"""Samples written out in the forms that other tools load.

WebDataset: tars of `<id>.jpg`, `<id>.txt`, `<id>.json`, one entry a pair, as open_clip and
webdataset read them. Hugging Face: Parquet under data/ with the feature types in its metadata, as
`datasets.load_dataset(folder)` reads it. Both are functions of the dataset alone: times and owners
in the tars are zero.
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipelines.datasets import Dataset, DatasetError, write_shard
from pipelines.storage import write_bytes, write_json

EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}


def to_webdataset(samples: Dataset, out: str, pairs_a_tar: int = 10_000) -> int:
    """Write `out`/00000.tar ...; returns the number of pairs.

    An image with several texts stands once for each. Keys are `<image_id>-<number of the text>`.
    """
    _only_samples(samples)
    written = 0
    for number, chunk in enumerate(_chunks(_pairs(samples), pairs_a_tar)):
        write_bytes(posixpath.join(out, f"{number:05d}.tar"), _tar(chunk))
        written += len(chunk)
    write_json(posixpath.join(out, "sizes.json"), {"pairs": written, "pairs_a_tar": pairs_a_tar})
    return written


def to_huggingface(samples: Dataset, out: str) -> int:
    """Write a folder that Hugging Face `datasets` loads with an Image column; returns the rows."""
    _only_samples(samples)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image_id": {"dtype": "string", "_type": "Value"},
        "image": {"_type": "Image"},
        "texts": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
        "url": {"dtype": "string", "_type": "Value"},
    }
    schema = pa.schema(
        [
            ("image_id", pa.string()),
            ("image", image),
            ("texts", pa.list_(pa.string())),
            ("url", pa.string()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    total = len(samples.shards)
    for number, shard in enumerate(samples.shards):
        rows = [_huggingface_row(row) for row in _rows(samples, shard)]
        name = f"data/train-{number:05d}-of-{total:05d}.parquet"
        write_shard(posixpath.join(out, name), pa.Table.from_pylist(rows, schema))
    write_bytes(posixpath.join(out, "README.md"), _card(samples).encode())
    return samples.manifest.rows


def _only_samples(dataset: Dataset) -> None:
    if dataset.manifest.name != "samples":
        raise DatasetError(
            f"{dataset.path} is a {dataset.manifest.name} dataset; only samples are exported"
        )


def _rows(samples: Dataset, shard: str) -> Iterator[dict[str, Any]]:
    from pipelines.datasets import shard_batches

    for batch in shard_batches(shard, samples_columns):
        yield from batch.to_pylist()


samples_columns = ["image_id", "image_url", "image", "format", "width", "height", "sha256", "texts"]


def _huggingface_row(row: dict[str, Any]) -> dict[str, Any]:
    name = f"{row['image_id']}.{EXTENSIONS[row['format']]}"
    return {
        "image_id": row["image_id"],
        "image": {"bytes": row["image"], "path": name},
        "texts": [text["text"] for text in row["texts"]],
        "url": row["image_url"],
    }


def _pairs(samples: Dataset) -> Iterator[tuple[str, dict[str, bytes]]]:
    for shard in samples.shards:
        for row in _rows(samples, shard):
            about = {k: row[k] for k in ("image_id", "image_url", "width", "height", "sha256")}
            for number, text in enumerate(row["texts"]):
                yield (
                    f"{row['image_id']}-{number:03d}",
                    {
                        EXTENSIONS[row["format"]]: row["image"],
                        "json": json.dumps(
                            about | text, ensure_ascii=False, sort_keys=True
                        ).encode(),
                        "txt": text["text"].encode(),
                    },
                )


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _tar(entries: list[tuple[str, dict[str, bytes]]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in entries:
            for extension, data in files.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _card(samples: Dataset) -> str:
    manifest = samples.manifest
    dropped = "\n".join(f"| {reason} | {count} |" for reason, count in manifest.dropped.items())
    return (
        f"# Samples {manifest.content_hash}\n\n{manifest.rows} images with the texts of the web, "
        f"made by sightmill {manifest.code_version}, seed {manifest.seed}.\n\n"
        f"| dropped because | images |\n| --- | --- |\n{dropped}\n\n"
        f"The pictures and texts belong to their owners; `url` says where each came from.\n"
    )
