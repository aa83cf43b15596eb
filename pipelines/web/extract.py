"""From WARC and WAT files to the candidates dataset, on Beam, in memory that does not grow.

A candidate pair may occur on a thousand pages, so equal pairs must meet. Beam's own grouping would
hold every pair in memory on the embedded runner (about five times the payload), hence an external
one, of which Beam sees the paths only:

    files ─▶ spill: candidates of a file, in runs of RUN_ROWS, cut into buckets by pair_id
          ─▶ merge: a bucket range of all runs, exact duplicates removed, one shard

A run is an Arrow file with a record batch a bucket, so that a merge reads nothing but its own
part. Shards are ranges of pair_id, sorted by it. Of equal pairs the best source stays (alt,
figcaption, title), then the least page URL: the rows are a function of the set of pages alone,
however these lie in files. The runs go to `_spill` in the dataset's folder, which must be shared
storage on a cluster. A rerun after a kill takes up finished runs and shards.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines import datasets, storage
from pipelines.engines import Engines, beam_pipeline
from pipelines.records import CANDIDATES
from pipelines.web.candidates import SOURCES, Candidate, candidates
from pipelines.web.filters import TextRules, text_reason
from pipelines.web.warc import WarcLimits, fingerprint, read_pages

if TYPE_CHECKING:
    import apache_beam as beam

RUN_ROWS = 100_000
"""Distinct pairs held in memory before a run is written, about 100 MB of Python objects."""
SPILL = "_spill"


@dataclass(frozen=True)
class ExtractConfig:
    """How candidates are taken from pages and laid out."""

    limits: WarcLimits = field(default_factory=WarcLimits)
    """Sizes beyond which records and pages are skipped."""
    judge_texts: bool = False
    """Drop texts that are no description, such as file names; CLIP's WIT keeps them."""
    text: TextRules = field(default_factory=TextRules)
    """Which texts those are."""
    rows_per_shard: int = 50_000
    """Rows that a shard should have; it has them within a factor of two while buckets suffice."""
    buckets: int = 256
    """Most shards that there can be; a power of two up to 4096."""

    def __post_init__(self) -> None:
        if self.buckets not in {1 << power for power in range(13)}:
            raise ValueError(f"buckets is {self.buckets}; legal: a power of two up to 4096")


@dataclass(frozen=True)
class Spilled:
    """What became of one WARC file: the runs that hold its candidates, their rows, what was
    dropped."""

    runs: list[str]
    rows: int
    dropped: dict[str, int]


def write_candidates(
    files: Sequence[str], folder: str, config: ExtractConfig, engines: Engines
) -> Mapping[str, int]:
    """Write the candidates of WARC and WAT `files` (paths or fsspec URLs) as shards into `folder`.

    Returns the drop counts by reason: those of `pipelines.web.warc` and `pipelines.web.candidates`,
    and duplicate.
    """
    import apache_beam as beam

    counts = posixpath.join(folder, SPILL, "dropped.json")
    with beam_pipeline(engines) as pipeline:
        dropped = extract(pipeline | beam.Create(sorted(set(files))), folder, config)
        totals = dropped | beam.CombinePerKey(sum) | beam.combiners.ToDict()
        _ = totals | beam.Map(lambda found: storage.write_json(counts, found))
    found: dict[str, int] = _read_json(counts)
    fs, inner = storage.filesystem(posixpath.join(folder, SPILL))
    fs.delete_dir(inner)
    return {reason: count for reason, count in found.items() if count}


def extract(files: beam.PCollection, folder: str, config: ExtractConfig) -> beam.PCollection:
    """WARC paths in, (drop reason, count) out; on the way the shards are written into `folder`."""
    import apache_beam as beam

    spilled = files | "EvenFiles" >> beam.Reshuffle() | beam.Map(spill_file, folder, config)
    duplicates = (
        files.pipeline
        | "Shards" >> beam.Create(range(config.buckets))
        | "EvenShards" >> beam.Reshuffle()
        | beam.Map(merge_shard, beam.pvalue.AsList(spilled), folder, config)
    )
    dropped = spilled | beam.FlatMap(lambda found: found.dropped.items())
    return (dropped, duplicates) | beam.Flatten()


def spill_file(path: str, folder: str, config: ExtractConfig) -> Spilled:
    """Write the candidates of one WARC or WAT file as runs; taken as it stands if it was done
    before.

    Runs are named by the file's own fingerprint: another file of the same name is another run.
    """
    stem = posixpath.join(folder, SPILL, fingerprint([path]))
    done = stem + ".json"
    if _exists(done):
        return Spilled(**_read_json(done))
    dropped: Counter[str] = Counter()
    runs: list[str] = []
    rows = 0
    for run in distinct_runs(_file_candidates(path, dropped, config), dropped):
        runs.append(f"{stem}-{len(runs):05d}.arrow")
        write_run(runs[-1], run, config.buckets)
        rows += len(run)
    spilled = Spilled(runs, rows, dict(dropped))
    storage.write_json(done, vars(spilled))
    return spilled


def _file_candidates(
    path: str, dropped: Counter[str], config: ExtractConfig
) -> Iterator[Candidate]:
    for page in read_pages(path, dropped, config.limits):
        for found in candidates(page, dropped):
            reason = text_reason(found.text, found.image_url, config.text)
            if reason and config.judge_texts:
                dropped[reason] += 1
            else:
                yield found


def distinct_runs(
    found: Iterable[Candidate], dropped: Counter[str], rows: int = RUN_ROWS
) -> Iterator[list[Candidate]]:
    """Candidates in runs of at most `rows`, distinct within each; the rest counts as duplicate."""
    best: dict[str, Candidate] = {}
    for candidate in found:
        known = best.get(candidate.pair_id)
        if known is not None:
            dropped["duplicate"] += 1
        if known is None or _preference(candidate) < _preference(known):
            best[candidate.pair_id] = candidate
        if len(best) == rows:
            yield list(best.values())
            best = {}
    if best:
        yield list(best.values())


def _preference(candidate: Candidate) -> tuple[int, str, str]:
    """Sorts equal pairs, the one to keep first."""
    return SOURCES.index(candidate.text_source), candidate.page_url, candidate.language


def write_run(path: str, run: list[Candidate], buckets: int) -> None:
    """Write candidates as an Arrow file of `buckets` record batches, by ranges of pair_id."""
    parts: list[list[Candidate]] = [[] for _ in range(buckets)]
    for candidate in run:
        parts[int(candidate.pair_id[:3], 16) * buckets >> 12].append(candidate)

    def write(sink: Any) -> None:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, CANDIDATES, options=options) as writer:
            for part in parts:
                columns = zip(*part, strict=True) if part else [()] * len(CANDIDATES)
                arrays = [pa.array(column, pa.string()) for column in columns]
                writer.write_batch(pa.record_batch(arrays, schema=CANDIDATES))

    storage.write_file(path, write)


def merge_shard(
    index: int, spilled: list[Spilled], folder: str, config: ExtractConfig
) -> tuple[str, int]:
    """Write shard `index` if there is to be one: its range of all runs, distinct and sorted by
    pair_id.

    Returns ("duplicate", rows dropped).
    """
    shards = shard_count(sum(found.rows for found in spilled), config)
    if index >= shards:
        return "duplicate", 0
    path = posixpath.join(folder, f"{index:05d}.parquet")
    if _exists(path):  # of the same plan: written before a kill
        return "duplicate", int(_parquet_metadata(path)[b"duplicates"])
    wide = config.buckets // shards
    runs = sorted(run for found in spilled for run in found.runs)
    parts = [_bucket_range(run, index * wide, (index + 1) * wide) for run in runs]
    merged = pa.concat_tables(parts) if parts else CANDIDATES.empty_table()
    table = distinct(merged)
    duplicates = merged.num_rows - table.num_rows
    datasets.write_shard(path, table.replace_schema_metadata({"duplicates": str(duplicates)}))
    return "duplicate", duplicates


def shard_count(rows: int, config: ExtractConfig) -> int:
    """Shards for `rows` rows: a power of two, at most `buckets`."""
    wanted = max(1, -(-rows // config.rows_per_shard))
    return min(config.buckets, 1 << (wanted - 1).bit_length())


def distinct(table: pa.Table) -> pa.Table:
    """One row a pair_id, sorted by it: the best source, then the least page URL and language."""
    if not table.num_rows:
        return table
    rank = pc.index_in(table["text_source"], pa.array(SOURCES))
    order = ["pair_id", "rank", "page_url", "language"]
    ranked = table.append_column("rank", rank).sort_by([(key, "ascending") for key in order])
    ids = ranked["pair_id"].combine_chunks()
    first = pa.concat_arrays([pa.array([True]), pc.not_equal(ids[1:], ids[:-1])])
    return ranked.filter(first).select(table.column_names)


def _bucket_range(run: str, start: int, stop: int) -> pa.Table:
    fs, inner = storage.filesystem(run)
    with fs.open_input_file(inner) as source, pa.ipc.open_file(source) as file:
        return pa.Table.from_batches(
            [file.get_batch(bucket) for bucket in range(start, stop)], CANDIDATES
        )


def _exists(path: str) -> bool:
    fs, inner = storage.filesystem(path)
    return bool(fs.get_file_info(inner).type == pafs.FileType.File)


def _read_json(path: str) -> Any:
    fs, inner = storage.filesystem(path)
    with fs.open_input_file(inner) as file:
        return json.loads(file.read())


def _parquet_metadata(path: str) -> Mapping[bytes, bytes]:
    fs, inner = storage.filesystem(path)
    with fs.open_input_file(inner) as file:
        metadata: Mapping[bytes, bytes] = pq.read_metadata(file).metadata
        return metadata
