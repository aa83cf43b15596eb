"""Resuming a Ray Data job at the row, after a kill at any moment, with each row exactly once.

Ray Data's checkpointing writes the ids of a shard as pending, then the shard under its final name,
then renames the pending ids to committed; a rerun leaves out rows whose id is committed. That
leaves three holes. A worker that outlives its killed driver can write a shard, even commit it,
after the rerun has looked: rows come twice. A reader who lists the folder meanwhile sees torn
shards. And the ids are deleted once the job has succeeded, so that a kill between that and the
manifest does everything again.

So each run writes into a folder of its own, `_run-<id>`, which readers ignore and no later run
writes to. `adopt` moves its whole shards up by rename, minus rows that are there already, and
throws the torn ones away; it runs before and after each run. The shards that lie in the folder are
the truth, and `write_checkpoint` tells Ray Data so.
"""

from __future__ import annotations

import contextlib
import posixpath
import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.datasets import DatasetError, shard_batches, write_shard
from pipelines.storage import filesystem

RUN, CHECKPOINT = "_run-", "_checkpoint"


def new_run(folder: str) -> str:
    """A folder for the shards of one run."""
    return posixpath.join(folder, f"{RUN}{uuid.uuid4().hex[:12]}")


def done_ids(folder: str, id_column: str) -> pa.ChunkedArray:
    """The ids of the rows that lie finished in `folder`."""
    chunks = [_ids(path, id_column) for path in shards(folder)]
    return pa.chunked_array([c for chunk in chunks for c in chunk.chunks], pa.string())


def rows(folder: str) -> int:
    """Rows of the whole shards right in `folder`."""
    total = 0
    for path in shards(folder):
        with contextlib.suppress(pa.ArrowInvalid):  # being written
            total += pq.read_metadata(path, filesystem=filesystem(folder)[0]).num_rows
    return total


def write_checkpoint(folder: str, id_column: str) -> str:
    """The path of a Ray Data checkpoint that says that the rows in `folder` are done, and no
    others.
    """
    fs, inner = filesystem(posixpath.join(folder, CHECKPOINT))
    fs.create_dir(inner, recursive=True)
    fs.delete_dir_contents(inner)
    ids = done_ids(folder, id_column)
    if len(ids):
        write_shard(posixpath.join(inner, "done.parquet"), pa.table({id_column: ids}))
    return inner


def adopt(folder: str, id_column: str) -> None:
    """Move the whole shards of all runs up into `folder`, each id once; the run folders are gone
    then.
    """
    runs = [path for path in _children(folder) if posixpath.basename(path).startswith(RUN)]
    found = [(path, _ids_if_whole(path, id_column)) for run in runs for path in shards(run)]
    whole = [(path, ids) for path, ids in found if ids is not None]
    done = done_ids(folder, id_column)
    chunks = [chunk for ids in (done, *(ids for _, ids in whole)) for chunk in ids.chunks]
    everything = pa.chunked_array(chunks, pa.string())
    twice = pc.count_distinct(everything).as_py() < len(everything)
    seen = set(done.to_pylist()) if twice else None
    for path, ids in whole:
        _move_up(path, folder, id_column, ids, seen)
    fs, _ = filesystem(folder)
    for run in runs:
        fs.delete_dir(run)


def _move_up(
    path: str, folder: str, id_column: str, ids: pa.ChunkedArray, seen: set[str] | None
) -> None:
    """Move one whole shard, without the rows whose ids are in `seen` (None: no row can be)."""
    fs, inner = filesystem(folder)
    name = posixpath.join(inner, posixpath.basename(path))
    if seen is None:
        fs.move(path, name)
        return
    fresh = []
    for key in ids.to_pylist():
        fresh.append(key not in seen)
        seen.add(key)
    if all(fresh):
        fs.move(path, name)
    elif any(fresh):
        table = pa.Table.from_batches(shard_batches(path))
        write_shard(name, table.filter(pa.array(fresh)))


def _children(folder: str) -> list[str]:
    fs, inner = filesystem(folder)
    infos = fs.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    return sorted(info.path for info in infos)


def shards(folder: str) -> list[str]:
    """Paths of the Parquet files right in `folder`, written under their final names."""
    paths = [path for path in _children(folder) if path.endswith(".parquet")]
    return [path for path in paths if posixpath.basename(path)[0] not in "._"]


def _ids(path: str, id_column: str) -> pa.ChunkedArray:
    batches = list(shard_batches(path, [id_column], batch_size=1 << 16))
    return pa.chunked_array([batch.column(0).cast(pa.string()) for batch in batches], pa.string())


def _ids_if_whole(path: str, id_column: str) -> pa.ChunkedArray | None:
    """Parquet's footer comes last: a file without one is torn."""
    try:
        return _ids(path, id_column)
    except DatasetError:
        return None
