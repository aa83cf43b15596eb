"""From fetched pictures to training samples: what was fetched, less duplicates, less test images.

The shards come out sorted by image_id, whatever order the pictures were fetched in
(`pipelines.sorting`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.datasets import Dataset
from pipelines.records import SAMPLES
from pipelines.sorting import Shards, write_sorted
from pipelines.web.dedup import FINGERPRINT, DedupConfig, duplicates, near_duplicates
from pipelines.web.images import fingerprint_of

_LOOKS = [*FINGERPRINT.names, "original_width", "original_height"]


@dataclass(frozen=True)
class SamplesConfig:
    """Which fetched pictures become samples."""

    dedup: DedupConfig = field(default_factory=DedupConfig)
    """When two fetched pictures are one, and when one is an evaluation image."""
    shards: Shards = field(default_factory=Shards)
    """How long the shards are."""


def write_samples(
    fetched: Dataset, folder: str, config: SamplesConfig, against: Sequence[Dataset] = ()
) -> Mapping[str, int]:
    """Write the shards of `samples`; returns the rows dropped, by reason.

    `against`: evaluation sets (`labelled`) that no sample may show. Reasons: each status of
    `fetched` other than ok; near_test_image; near_duplicate.
    """
    drops: Counter[str] = Counter()
    looks = _looks(fetched, drops)
    tests = [fingerprints(dataset) for dataset in against]
    shown = pa.concat_tables([FINGERPRINT.empty_table(), *tests])
    near = pc.unique(near_duplicates(looks, shown, config.dedup).column("image_id"))
    looks = _without(looks, near)
    twins = duplicates(looks, config.dedup).column("image_id")
    drops.update({"near_test_image": len(near), "near_duplicate": len(twins)})
    kept = np.sort(np.array(_without(looks, twins).column("image_id").to_pylist(), "S32"))
    write_sorted(fetched, kept, folder, config.shards, _sample)
    return {reason: count for reason, count in sorted(drops.items()) if count}


def fingerprints(labelled: Dataset) -> pa.Table:
    """FINGERPRINT's columns of every image of an evaluation set."""
    parts = [FINGERPRINT.empty_table()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in labelled.batches(["image_id", "image"]):
            ids, images = (column.to_pylist() for column in batch.columns)
            phash, thumbnail = zip(*pool.map(fingerprint_of, images), strict=True)
            parts.append(pa.table([ids, phash, thumbnail], schema=FINGERPRINT))
    return pa.concat_tables(parts)


def _looks(fetched: Dataset, drops: Counter[str]) -> pa.Table:
    """Fingerprints and sizes of the pictures; counts the other rows into `drops` by status."""
    parts = [SAMPLES.empty_table().select(_LOOKS)]
    for batch in fetched.batches([*_LOOKS, "status"]):
        ok = pc.equal(batch.column("status"), "ok")
        drops.update(batch.filter(pc.invert(ok)).column("status").to_pylist())
        parts.append(pa.table(batch.filter(ok).select(_LOOKS)).cast(parts[0].schema))
    return pa.concat_tables(parts)


def _without(looks: pa.Table, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    return looks.filter(pc.invert(pc.is_in(looks.column("image_id"), value_set=ids)))


def _sample(rows: pa.Table) -> pa.Table:
    return rows.select(SAMPLES.names).cast(SAMPLES)
