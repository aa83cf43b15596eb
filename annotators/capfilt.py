"""CapFilt (BLIP, Li et al. 2022, arXiv 2201.12086, section 3.3): captions that a model writes for
web images, and a filter that throws out web and written texts alike.

    samples -> prepare -> write captions -> judge every text -> captioned -> decide -> samples

The first half runs the models once, on Ray Data, and keeps each text's scores. `decide` is the
second half, a pure function of scores and a rule, so another threshold needs no second pass over
the images. The authors' rule is to drop any text, of the web or written, whose probability of
matching is under 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotators.captions import OK, Captioner, Judged, Matcher, Prepare, Written
from pipelines.datasets import Dataset
from pipelines.engines import Engines
from pipelines.records import CAPTIONED, SAMPLES, record_id
from pipelines.sorting import Shards, write_sorted
from pipelines.stages import Step, write_mapped

Kind = Literal["web", "synthetic"]
WEB: Kind = "web"
SYNTHETIC: Kind = "synthetic"
_PICTURE = [name for name in SAMPLES.names if name not in ("texts",)]


@dataclass(frozen=True)
class Workers:
    """How the models run."""

    captioners: int = 1  # actors that hold the captioner
    matchers: int = 1  # actors that hold the matcher
    gpus: float = 0.0  # of each of them, fractions allowed
    decoders: int = 0  # tasks that decode at a time; 0: one a core
    batch_rows: int = 64  # images that an actor takes at a time


@dataclass(frozen=True)
class Rule:
    """Which texts of a captioned dataset are kept."""

    kinds: tuple[Kind, ...] = (WEB, SYNTHETIC)  # whose texts
    filtered: bool = True  # whether the matcher decides; else every text that it could read stays
    by: Literal["probability", "similarity"] = "probability"  # of matching, or CLIP's cosine
    threshold: float = 0.5  # least value of that; the authors' rule is a probability of 0.5


class PrepareImages:
    """Adds `prepared_0`, `prepared_1`, ... as `prepares` make them, and `status`, `detail`."""

    def __init__(self, prepares: Sequence[Prepare]) -> None:
        self.prepares = prepares

    def __call__(self, table: pa.Table) -> pa.Table:
        """An image that cannot be decoded has status undecodable and nothing prepared."""
        made = [self._one(image) for image in table.column("image").to_pylist()]
        for number in range(len(self.prepares)):
            column = pa.array([row[number] for row in made], pa.large_binary())
            table = table.append_column(f"prepared_{number}", column)
        table = table.append_column("status", pa.array([row[-2] for row in made], pa.string()))
        return table.append_column("detail", pa.array([row[-1] for row in made], pa.string()))

    def _one(self, image: bytes) -> tuple[Any, ...]:
        try:
            return *(prepare(image) for prepare in self.prepares), OK, ""
        except Exception as error:  # whatever a decoder raises for what it cannot read
            reason = f"{type(error).__name__}: {error}"[:200]
            return *(None for _ in self.prepares), "undecodable", reason


class WriteCaptions:
    """Adds `written`, the captions of each image that was prepared."""

    def __init__(self, load: Callable[[], Captioner], column: str) -> None:
        self.captioner, self.column = load(), column

    def __call__(self, table: pa.Table) -> pa.Table:
        """What the captioner could not do becomes the row's status; its web texts stay."""
        good = np.flatnonzero(pc.equal(table.column("status"), OK).to_numpy(zero_copy_only=False))
        rows = table.take(good)
        found: list[Written] = []
        if len(good):
            ids = rows.column("image_id").to_pylist()
            found = self.captioner.captions(rows.column(self.column).to_pylist(), ids)
        every: list[Written] = [Written()] * len(table)
        for place, written in zip(good.tolist(), found, strict=True):
            every[place] = written
        texts = pa.array([list(written.texts) for written in every], pa.list_(pa.string()))
        for name in ("status", "detail"):
            before = table.column(name).to_pylist()
            after = [
                getattr(w, name) if w.status != OK else b
                for w, b in zip(every, before, strict=True)
            ]
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, pa.array(after, pa.string()))
        return table.append_column("written", texts)


class JudgeTexts:
    """Makes `texts` anew: web and written ones with their scores, an equal text once."""

    def __init__(self, load: Callable[[], Matcher], column: str) -> None:
        self.matcher, self.column = load(), column

    def __call__(self, table: pa.Table) -> pa.Table:
        """An image that was not prepared keeps its web texts, unjudged."""
        rows = table.select(["image_url", "texts", "written", self.column]).to_pylist()
        texts = [_all_texts(row) for row in rows]
        good = [place for place, row in enumerate(rows) if row[self.column] is not None]
        judged: list[Sequence[Judged]] = [[Judged(status="image")] * len(t) for t in texts]
        if good:
            images = [rows[place][self.column] for place in good]
            asked = [[text["text"] for text in texts[place]] for place in good]
            for place, answer in zip(good, self.matcher.judge(images, asked), strict=True):
                judged[place] = answer
        out = [
            [
                text
                | {"similarity": j.similarity, "probability": j.probability, "status": j.status}
                for text, j in zip(of_image, answers, strict=True)
            ]
            for of_image, answers in zip(texts, judged, strict=True)
        ]
        column = pa.array(out, CAPTIONED.field("texts").type)
        table = table.set_column(table.schema.get_field_index("texts"), "texts", column)
        return table.select(CAPTIONED.names).cast(CAPTIONED)


def _all_texts(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The web's texts, then the written ones that are not among them."""
    texts = [{**text, "kind": WEB} for text in row["texts"]]
    seen = {text["text"] for text in texts}
    for text in row["written"]:
        if text in seen:
            continue
        seen.add(text)
        made = {"pair_id": record_id(row["image_url"], text), "text": text, "source": "caption"}
        texts.append({**made, "page_url": "", "language": "en", "queries": [], "kind": SYNTHETIC})
    return texts


def write_captioned(
    samples: Dataset,
    folder: str,
    captioner: Callable[[], Captioner],
    matcher: Callable[[], Matcher],
    prepares: tuple[Prepare, Prepare],
    workers: Workers,
    engines: Engines,
) -> Mapping[str, int]:
    """Write the shards of `captioned`; returns how many rows have another status than ok.

    Args:
        captioner: makes it where it is to run; Ray pickles this: a class or functools.partial.
        prepares: of the captioner and of the matcher; made once where they are equal.
    """
    distinct = list(dict.fromkeys(prepares))
    columns = [f"prepared_{number}" for number in range(len(distinct))]
    names = [columns[distinct.index(prepare)] for prepare in prepares]
    steps = [
        Step(
            PrepareImages,
            reads=["image"],
            writes=[*columns, "status", "detail"],
            arguments=(distinct,),
            batch_rows=workers.batch_rows,
            workers=workers.decoders,
        ),
        Step(
            WriteCaptions,
            reads=["image_id", "status", names[0]],
            writes=["written"],
            arguments=(captioner, names[0]),
            batch_rows=workers.batch_rows,
            workers=workers.captioners,
            gpus=workers.gpus,
        ),
        Step(
            JudgeTexts,
            reads=["image_url", "texts", "written", names[1]],
            writes=["texts"],
            drops=[*columns, "written"],
            arguments=(matcher, names[1]),
            batch_rows=workers.batch_rows,
            workers=workers.matchers,
            gpus=workers.gpus,
        ),
    ]
    write_mapped(
        samples,
        folder,
        steps,
        CAPTIONED,
        engines,
        columns=SAMPLES.names,
        label="caption and filter",
    )
    return statuses(folder)


def statuses(folder: str) -> dict[str, int]:
    """Rows of finished shards in `folder` by status, ok left out."""
    from pipelines import resume
    from pipelines.datasets import shard_batches

    counts: Counter[str] = Counter()
    for path in resume.shards(folder):
        for batch in shard_batches(path, ["status"]):
            counts.update(batch.column(0).to_pylist())
    return {status: n for status, n in sorted(counts.items()) if status != OK}


def verdict(text: Mapping[str, Any], rule: Rule) -> str:
    """`kept`, or why the rule drops a text of `captioned`."""
    if text["kind"] not in rule.kinds:
        return f"{text['kind']}_left_out"
    if text["status"] not in (OK, "too_long"):
        return f"{text['kind']}_{text['status']}"
    if rule.filtered and not text[rule.by] >= rule.threshold:
        return f"{text['kind']}_unmatched"
    return "kept"


def write_decided(
    captioned: Dataset,
    folder: str,
    rule: Rule,
    shards: Shards,
    clean: Dataset | None = None,
) -> Mapping[str, int]:
    """Write the shards of the `samples` that `rule` keeps, and those of `clean` beside them.

    Returns drops by reason: each dropped text, and no_text_kept for an image that has none left.
    An image that is in `clean` is taken from there alone.
    """
    drops: Counter[str] = Counter()
    away = _ids(clean) if clean is not None else set()
    kept: list[str] = []
    for batch in captioned.batches(["image_id", "texts"]):
        for row in batch.to_pylist():
            if row["image_id"] in away:
                drops["in_clean_set"] += 1
                continue
            verdicts = Counter(verdict(text, rule) for text in row["texts"])
            if verdicts.pop("kept", 0):
                kept.append(row["image_id"])
            else:
                drops["no_text_kept"] += 1
            drops.update(verdicts)
    write_sorted(
        captioned, np.sort(np.array(kept, "S32")), folder, shards, partial(_decided, rule=rule)
    )
    if clean is not None:
        _copy(clean, folder)
    return dict(sorted(drops.items()))


def _ids(dataset: Dataset) -> set[str]:
    return set(dataset.table(["image_id"]).column(0).to_pylist())


def _decided(rows: pa.Table, rule: Rule) -> pa.Table:
    """Rows of `captioned` as rows of `samples` with the texts that `rule` keeps."""
    names = [field.name for field in SAMPLES.field("texts").type.value_type]
    kept = [
        [{name: text[name] for name in names} for text in texts if verdict(text, rule) == "kept"]
        for texts in rows.column("texts").to_pylist()
    ]
    columns = {name: rows.column(name) for name in _PICTURE}
    columns["texts"] = pa.array(kept, SAMPLES.field("texts").type)
    return pa.table({name: columns[name] for name in SAMPLES.names}).cast(SAMPLES)


def _copy(clean: Dataset, folder: str) -> None:
    from pipelines.datasets import write_shard

    for number, batch in enumerate(clean.batches()):
        rows = pa.table(batch).select(SAMPLES.names).cast(SAMPLES)
        write_shard(f"{folder}/clean-{number:05d}.parquet", rows)
