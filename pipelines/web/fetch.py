"""From image URLs to pictures, on Ray Data: fetch, decode, shrink, hash, write, resume.

`Fetch` is a plain batch callable: a table of targets in, a table of `fetched` out, a row for a row.
A URL that failed is a row with its reason as status, never a lost row. Inside, one thread runs the
network (asyncio) and decodes small bodies; large ones go to another thread, for OpenCV and
libjpeg-turbo let go of the interpreter lock.

`write_fetched` lifts it to Ray Data (`pipelines.stages`): no row is lost, none comes twice, and
after a kill no finished shard is made again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines import resume
from pipelines.datasets import Dataset, shard_batches
from pipelines.engines import Engines
from pipelines.records import FETCHED, TARGETS
from pipelines.stages import ID, Step, write_mapped
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
    batch_rows: int = 512
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
gains nothing. Row groups of 256 rows, pages of some 800 kB: the writer would copy more than that
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


def _drops(folder: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for path in resume.shards(folder):
        for batch in shard_batches(path, ["status"]):
            counts.update(batch.column(0).to_pylist())
    return {status: n for status, n in sorted(counts.items()) if status != "ok"}


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
    step = Step(
        Fetch,
        reads=["image_url"],
        writes=[name for name in FETCHED.names if name not in TARGETS.names],
        arguments=(config, policy),
        batch_rows=config.batch_rows,
        at_once=config.batches_at_once,
    )
    write_mapped(
        targets,
        folder,
        [step],
        FETCHED,
        engines,
        columns=TARGETS.names,
        label="fetch",
        shard_rows=config.shard_rows,
        parquet=_PARQUET,
    )
    return _drops(folder)
