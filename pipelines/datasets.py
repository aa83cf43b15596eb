"""A dataset is a folder: Parquet shards, and one manifest.json written last.

A folder without a manifest is unfinished. While it is being built it holds plan.json (what is to be
made, from what, with which config and seed), so that a rerun after a kill can tell work that it may
go on with from work of another plan. Other things with a lineage, such as a crawl's WARC files or a
checkpoint, are folders of the same kind that bring their own content hash.

The content hash is that of its rows (`pipelines.hashing`); paths are local or URLs
(`pipelines.storage`).
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import quality
from pipelines.hashing import config_dict, hash_json, rows_hash
from pipelines.records import SCHEMAS
from pipelines.storage import file_sha256, filesystem, listed, read_json, write_file, write_json

MANIFEST, PLAN = "manifest.json", "plan.json"
ROWS_A_BATCH = 1024


class DatasetError(Exception):
    """A folder is not the dataset that it should be; the message names the folder and what to
    do.
    """


@dataclass(frozen=True)
class Shard:
    """One file of a dataset: its name in the folder, its rows (0 if it is no Parquet), its
    sha256.
    """

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Parent:
    """What a dataset was made from: where it lay, seen from the child's folder, and what it
    held.
    """

    name: str
    path: str
    content_hash: str


@dataclass(frozen=True)
class Manifest:
    """The last file of a finished folder; `schema` is empty for folders that hold no rows."""

    name: str
    schema: list[dict[str, str]]
    rows: int
    shards: list[Shard]
    content_hash: str
    config: dict[str, Any]
    config_hash: str
    seed: int
    code_version: str
    parents: list[Parent]
    dropped: dict[str, int]
    quality: dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A finished folder."""

    path: str
    manifest: Manifest

    @property
    def shards(self) -> list[str]:
        """Full paths of the shards, in the manifest's order."""
        return [posixpath.join(self.path, shard.file) for shard in self.manifest.shards]

    def batches(
        self, columns: list[str] | None = None, batch_size: int = ROWS_A_BATCH
    ) -> Iterator[pa.RecordBatch]:
        """Rows in shard order, at most `batch_size` at a time: memory stays flat at any size."""
        for shard in self.shards:
            yield from shard_batches(shard, columns, batch_size)

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """All rows at once."""
        schema = SCHEMAS[self.manifest.name]
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
        return pa.Table.from_batches([b.cast(wanted) for b in self.batches(columns)], wanted)


def write_shard(path: str, table: pa.Table) -> None:
    """Write one Parquet shard, atomically."""
    write_file(path, lambda sink: pq.write_table(table, sink, compression="zstd"))


def shard_batches(
    path: str, columns: list[str] | None = None, batch_size: int = ROWS_A_BATCH
) -> Iterator[pa.RecordBatch]:
    """Rows of one Parquet file. Raises DatasetError naming the file if it is torn."""
    fs, inner = filesystem(path)
    try:
        with fs.open_input_file(inner) as source, pq.ParquetFile(source) as file:
            yield from file.iter_batches(batch_size=batch_size, columns=columns)
    except pa.ArrowInvalid as error:
        raise DatasetError(f"{path} is not a readable Parquet file: {error}") from error


def row_count(path: str) -> int:
    """Rows of one Parquet file, by its footer."""
    fs, inner = filesystem(path)
    with fs.open_input_file(inner) as source:
        return int(pq.ParquetFile(source).metadata.num_rows)


def open_dataset(path: str) -> Dataset:
    """The finished dataset at `path`. Raises DatasetError where there is none."""
    path = path.rstrip("/") if len(path) > 1 else path
    found = read_json(posixpath.join(path, MANIFEST))
    if found is None:
        raise DatasetError(
            f"{path} has no {MANIFEST}: unfinished, or not a dataset. Run its recipe (again)."
        )
    found["shards"] = [Shard(**shard) for shard in found["shards"]]
    found["parents"] = [Parent(**parent) for parent in found["parents"]]
    return Dataset(path, Manifest(**found))


def _relative(path: str, start: str) -> str:
    return path if "://" in path or "://" in start else os.path.relpath(path, start)


def _make_room(path: str, plan: dict[str, Any]) -> Dataset | None:
    """The finished dataset of this very plan, or None with a folder that holds nothing of another
    plan.
    """
    fs, inner = filesystem(path)
    standing = read_json(posixpath.join(path, PLAN))
    same = standing is not None and hash_json(standing) == hash_json(plan)
    if same and read_json(posixpath.join(path, MANIFEST)) is not None:
        return open_dataset(path)
    if not same:
        if standing is None and listed(path):
            raise DatasetError(
                f"{path} holds files but no {PLAN}: not ours to overwrite. Name another folder."
            )
        fs.create_dir(inner, recursive=True)
        fs.delete_dir_contents(inner)
        write_json(posixpath.join(path, PLAN), plan)
    return None


def build(
    path: str,
    *,
    name: str,
    config: object,
    seed: int,
    parents: Sequence[Dataset],
    write: Callable[[str], Mapping[str, int]],
    content_hash: Callable[[str], str] | None = None,
) -> Dataset:
    """The dataset at `path`: as it stands if this very plan was finished there, else made by
    `write`.

    Args:
        name: key of `records.SCHEMAS` and of the expectations, or a name of its own with
            `content_hash`. config: what the rows depend on, all of it: nothing else may change
            them. write: puts shards into the folder and returns drop counts by reason. After a kill
            it is called again on the same folder; finished shards lying there are of the same plan.
        content_hash: for folders that hold no rows of ours: folder to hash.

    Raises:
        DatasetError: the shards do not have the schema, or a critical expectation failed.
    """
    from pipelines.engines import code_version

    resolved = config_dict(config)
    plan = {
        "name": name,
        "config_hash": hash_json(resolved),
        "seed": seed,
        "parents": [parent.manifest.content_hash for parent in parents],
    }
    finished = _make_room(path, plan)
    if finished is not None:
        return finished
    dropped = dict(sorted(write(path).items()))
    files = [file for file in listed(path) if file not in (MANIFEST, PLAN)]
    if content_hash is None:
        shards, digest = _hash_shards(path, name, [f for f in files if f.endswith(".parquet")])
        report = quality.check(name, path, [shard.file for shard in shards])
    else:
        shards = [Shard(file, 0, file_sha256(posixpath.join(path, file))) for file in files]
        digest, report = content_hash(path), {}
    manifest = Manifest(
        name=name,
        schema=_describe(SCHEMAS[name]) if content_hash is None else [],
        rows=sum(shard.rows for shard in shards),
        shards=shards,
        content_hash=digest,
        config=resolved,
        config_hash=hash_json(resolved),
        seed=seed,
        code_version=code_version(),
        parents=[
            Parent(p.manifest.name, _relative(p.path, path), p.manifest.content_hash)
            for p in parents
        ],
        dropped=dropped,
        quality=report,
    )
    write_json(posixpath.join(path, MANIFEST), dataclasses.asdict(manifest))
    return Dataset(path, manifest)


def _describe(schema: pa.Schema) -> list[dict[str, str]]:
    return [
        {
            "name": f.name,
            "type": str(f.type),
            "meaning": (f.metadata or {}).get(b"meaning", b"").decode(),
        }
        for f in schema
    ]


def _hash_shards(path: str, name: str, files: list[str]) -> tuple[list[Shard], str]:
    schema, shards, total = SCHEMAS[name], [], 0
    for file in files:
        full = posixpath.join(path, file)
        _check_schema(full, schema)
        part, rows = rows_hash(shard_batches(full, schema.names), schema)
        total += part
        shards.append(Shard(file, rows, file_sha256(full)))
    return shards, f"{total % (1 << 128):032x}"


def _check_schema(path: str, schema: pa.Schema) -> None:
    fs, inner = filesystem(path)
    with fs.open_input_file(inner) as source:
        types = {field.name: field.type for field in pq.read_schema(source)}
    wrong = [
        f"{field.name} is {types.get(field.name, 'missing')}, should be {field.type}"
        for field in schema
        if field.name not in types or not _same_type(types[field.name], field.type)
    ]
    if wrong:
        raise DatasetError(f"{path}: {'; '.join(wrong)}")


def _same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Equal but for the names and nullability of list items, which every writer chooses
    differently.
    """
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _same_type(found.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return pa.types.is_struct(found) and all(
            found.get_field_index(f.name) >= 0 and _same_type(found.field(f.name).type, f.type)
            for f in wanted
        )
    return bool(found == wanted)


def verify(path: str) -> list[str]:
    """What is wrong with a finished dataset, a line each; empty where the shards are as the
    manifest says.
    """
    dataset = open_dataset(path)
    known = {shard.file: shard for shard in dataset.manifest.shards}
    present = {file for file in listed(path) if file not in (MANIFEST, PLAN)}
    problems = [f"{path}/{file}: missing" for file in sorted(set(known) - present)]
    if dataset.manifest.schema:
        stray = {file for file in present - set(known) if file.endswith(".parquet")}
        problems += [f"{path}/{file}: not in the manifest" for file in sorted(stray)]
    for file in sorted(set(known) & present):
        if file_sha256(posixpath.join(path, file)) != known[file].sha256:
            problems.append(f"{path}/{file}: sha256 differs from the manifest")
    if dataset.manifest.schema and not problems:
        _, digest = _hash_shards(path, dataset.manifest.name, list(known))
        if digest != dataset.manifest.content_hash:
            problems.append(
                f"{path}: content hash is {digest}, manifest says {dataset.manifest.content_hash}"
            )
    return problems
