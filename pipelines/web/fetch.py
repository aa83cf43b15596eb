"""From image URLs to pictures, on Ray Data: fetch, decode, shrink, hash, write, resume.

`Fetch` is a plain batch callable: a table of targets in, a table of `fetched` out, a row for a row.
A URL that failed is a row with its reason as status, never a lost row. Inside, one thread runs the
network (asyncio) and decodes small bodies; large ones go to another thread, for OpenCV and
libjpeg-turbo let go of the interpreter lock.

`write_fetched` lifts it to Ray Data; after a kill it goes on by Ray Data's checkpointing on
image_id and `pipelines.resume`, so that no row is lost, none comes twice, and no finished shard
is made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines import resume
from pipelines.datasets import Dataset, shard_batches
from pipelines.engines import Engines, ray_session
from pipelines.records import FETCHED
from pipelines.web.answers import Answer
from pipelines.web.client import Client, ClientConfig
from pipelines.web.images import ImageConfig, Picture, Rejected, process
from pipelines.web.safety import AddressPolicy

INLINE_BYTES = 150_000
"""Smaller bodies are decoded right on the network's thread: a hop to another one costs 0.2 ms of
2.3, and the kernel goes on receiving meanwhile. Larger ones would keep the others waiting."""


@dataclass(frozen=True)
class FetchConfig:
    """How targets become pictures."""

    client: ClientConfig = field(default_factory=ClientConfig)
    """Limits and manners of one worker."""
    image: ImageConfig = field(default_factory=ImageConfig)
    """What a kept picture looks like."""
    decode_threads: int = 1
    """Threads of one worker that decode."""
    batch_rows: int = 256
    """Targets that a worker takes at a time."""
    batches_at_once: int = 4
    """Of those, worked on together, so that one slow URL does not hold up the rest."""
    shard_rows: int = 1000
    """Rows of a written shard, at least: the unit that a kill can cost."""


class Fetch:
    """A batch of targets to a batch of `fetched`; holds connections, so make one a worker."""

    def __init__(self, config: FetchConfig, policy: AddressPolicy | None = None) -> None:
        import cv2

        cv2.setNumThreads(1)
        gc.freeze()  # what is imported stays; the collector need not walk it again and again
        self._config = config
        self._bodies: list[tuple[bytes, asyncio.Future[Picture | Rejected]]] = []
        self._decoders = ThreadPoolExecutor(config.decode_threads, "decode")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="network", daemon=True).start()
        self._client = self._run(self._open(policy))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of records.TARGETS to rows of records.FETCHED, in the same order."""
        answers: list[Answer] = self._run(self._fetch(batch.column("image_url").to_pylist()))
        return _rows(batch, answers)

    def close(self) -> None:
        """Close the connections and stop the threads."""
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._decoders.shutdown()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self, policy: AddressPolicy | None) -> Client:
        return Client(self._config.client, policy)

    async def _fetch(self, urls: list[str]) -> list[Answer]:
        gets = [self._client.get(url, self._finish) for url in urls]
        return list(await asyncio.gather(*gets))

    async def _finish(self, body: bytes) -> Answer:
        if len(body) <= INLINE_BYTES:
            made = await self._decoded(body)
        else:
            made = await self._loop.run_in_executor(
                self._decoders, process, body, self._config.image
            )
        if isinstance(made, Picture):
            return Answer("ok", value=made)
        return Answer(made.reason, made.detail)

    async def _decoded(self, body: bytes) -> Picture | Rejected:
        """`body` processed on this thread, once all that the network has brought by now is read:
        one after the other, so that the decoder's code and tables stay in the cache.
        """
        if not self._bodies:
            self._loop.call_soon(self._decode)
        made: asyncio.Future[Picture | Rejected] = self._loop.create_future()
        self._bodies.append((body, made))
        return await made

    def _decode(self) -> None:
        bodies, self._bodies = self._bodies, []
        for body, made in bodies:
            if made.cancelled():
                continue
            try:
                made.set_result(process(body, self._config.image))
            except Exception as error:
                made.set_exception(error)


ID = "image_id"
_PARQUET = {
    "compression": {
        name: "none" if name in ("image", "thumbnail") else "zstd" for name in FETCHED.names
    },
    "use_dictionary": ["status", "detail", "format"],
    "write_statistics": [ID],
    "row_group_size": 256,
    "write_batch_size": 32,
}
"""Pictures are compressed already: to compress them again, or to look for equal ones, costs and
gains nothing. Row groups of one batch, pages of some 800 kB: the writer would copy more than that
together first, into fresh memory that the kernel has to clear, for 0.1 ms a picture.
"""
_PICTURE_FIELDS = [f.name for f in dataclasses.fields(Picture)]


def _rows(batch: pa.Table, answers: list[Answer]) -> pa.Table:
    columns = {name: batch.column(name) for name in batch.column_names if name in FETCHED.names}
    columns["status"] = pa.array([answer.status for answer in answers], pa.string())
    columns["detail"] = pa.array([answer.detail for answer in answers], pa.string())
    for name in _PICTURE_FIELDS:
        values = [getattr(answer.value, name, None) for answer in answers]
        kind = FETCHED.field(name).type
        columns[name] = _binary(values) if kind == pa.binary() else pa.array(values, kind)
    return pa.table({name: columns[name] for name in FETCHED.names}).cast(FETCHED)


def _binary(values: list[bytes | None]) -> pa.Array:
    """pa.array(values, pa.binary()), which would grow its buffer, and copy it, again and again."""
    ends = np.cumsum([0, *(len(value or b"") for value in values)], dtype=np.int32)
    there = pa.array([value is not None for value in values], pa.bool_())
    data = b"".join(filter(None, values))
    buffers = [there.buffers()[1], pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.BinaryArray.from_buffers(pa.binary(), len(values), buffers)


def _drops(folder: str, expected: int) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for path in resume.shards(folder):
        for batch in shard_batches(path, ["status"]):
            counts.update(batch.column(0).to_pylist())
    if counts.total() != expected:
        raise RuntimeError(f"{folder} holds {counts.total()} rows for {expected} targets")
    return {status: n for status, n in sorted(counts.items()) if status != "ok"}


@contextlib.contextmanager
def _progress(run: str, total: int) -> Iterator[None]:
    """A line on the terminal that follows the rows of the shards that `run` has finished."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    rate = TextColumn("{task.fields[rate]:.0f} images/s")
    columns = (TextColumn("fetch"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    finished = threading.Event()
    with Progress(*columns, disable=not sys.stderr.isatty()) as line:
        task, started = line.add_task("fetch", total=total, rate=0.0), time.monotonic()

        def follow() -> None:
            while not finished.wait(1.0):
                rows = resume.rows(run)
                line.update(task, completed=rows, rate=rows / (time.monotonic() - started))

        follower = threading.Thread(target=follow, name="progress", daemon=True)
        follower.start()
        try:
            yield
        finally:
            finished.set()
            follower.join()


def write_fetched(
    targets: Dataset,
    folder: str,
    config: FetchConfig,
    engines: Engines,
    policy: AddressPolicy | None = None,
) -> Mapping[str, int]:
    """Fetch every target into shards of `fetched` in `folder`; returns the rows not ok by status.

    Goes on where a killed run on the same folder stopped. Raises RuntimeError if a row were lost.
    """
    resume.adopt(folder, ID)
    missing = targets.manifest.rows - len(resume.done_ids(folder, ID))
    if missing > 0:
        run = resume.new_run(folder)
        with ray_session(engines), _progress(run, missing):
            try:
                _run(targets, folder, run, config, policy)
            except OSError as error:
                raise OSError(error.errno, f"cannot write {folder}: {error}") from error
        resume.adopt(folder, ID)
    return _drops(folder, targets.manifest.rows)


def _run(
    targets: Dataset, folder: str, run: str, config: FetchConfig, policy: AddressPolicy | None
) -> None:
    """Read, fetch and write what is not done yet; the shards go to the folder `run`.

    All stages ask Ray for no CPU and are bounded by their numbers instead: the filter of Ray Data's
    checkpointing asks for a whole one and would wait for ever on a small machine.
    """
    import ray.data
    from ray.data.checkpoint import CheckpointConfig

    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    blocks = -(-targets.manifest.rows // config.batch_rows)
    ray.data.DataContext.get_current().use_datasource_v2 = False  # it starts five more processes
    rows = ray.data.read_parquet(
        targets.shards,
        num_cpus=0,
        concurrency=min(workers, len(targets.shards)),
        override_num_blocks=blocks,
    )
    rows.context.checkpoint_config = CheckpointConfig(
        id_column=ID,
        checkpoint_path=resume.write_checkpoint(folder, ID),
        delete_checkpoint_on_success=False,
    )
    rows.map_batches(
        Fetch,
        fn_constructor_args=(config, policy),
        batch_size=config.batch_rows,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(
            size=workers,
            max_concurrent_calls_per_actor=config.batches_at_once,
            enable_true_multi_threading=True,
        ),
        num_cpus=0,
    ).write_parquet(
        run,
        min_rows_per_file=config.shard_rows,
        ray_remote_args={"num_cpus": 0},
        concurrency=workers,
        **_PARQUET,
    )
