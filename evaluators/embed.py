"""Evaluation images through a model: in this process, or over Ray Data with a pool of workers.

    read_parquet -> map_batches(Embed, an actor pool that holds the model) -> sorted by image_id

A float32 matrix product may round differently at another batch size, so that a score could hang on
where a block ended. Every batch that a model sees here therefore has one size: a short one is
filled up with its last image and the surplus is cut off again. So one worker or many give the same
bits, and no image counts twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.contenders import Classifier, Model
from evaluators.zero_shot import Vectors
from pipelines.datasets import Dataset

TEXT_COLUMNS = ["image_id", "class_name", "group"]
CORES_A_WORKER = 0.5
"""What Ray counts, not what the model uses: torch has its own threads."""
Batch = dict[str, npt.NDArray]


@dataclass(frozen=True)
class EmbedConfig:
    """Where images are embedded; only `batch_size` may touch the last bit of a score."""

    batch_size: int = 64
    """Images a forward pass, always exactly so many."""
    workers: int = 0
    """Most actors that hold the model; 0 embeds in this process, without Ray."""
    gpus: float = 0.0
    """GPUs a worker."""
    cache: str = ""
    """Folder in which embeddings are kept by content hash; empty: nowhere."""


@dataclass(frozen=True)
class Embedded:
    """Decodable images sorted by image_id, and what the model said of each: columns of length N."""

    image_id: npt.NDArray[np.str_]
    content: npt.NDArray[np.str_]
    """blake2b of the image's bytes."""
    class_name: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    vectors: Vectors
    """(N, D): embeddings, or logits of a classifier."""
    undecodable: Sequence[tuple[str, str, str]]
    """(image_id, class_name, group) of the other images: unanswered, not wrong."""

    def of(self, group: str) -> Embedded:
        """The images of one group; all of them if `group` is empty."""
        keep = np.full(len(self.group), not group) | (self.group == group)
        return self._only(keep, [row for row in self.undecodable if group in ("", row[2])])

    def within(self, classes: Sequence[str]) -> Embedded:
        """The images of some classes; all of them if there are none given."""
        if not classes:
            return self
        keep = np.isin(self.class_name, np.array(classes))
        return self._only(keep, [row for row in self.undecodable if row[1] in set(classes)])

    def _only(
        self, keep: npt.NDArray[np.bool_], undecodable: Sequence[tuple[str, str, str]]
    ) -> Embedded:
        return Embedded(
            image_id=self.image_id[keep],
            content=self.content[keep],
            class_name=self.class_name[keep],
            group=self.group[keep],
            vectors=self.vectors[keep],
            undecodable=undecodable,
        )


class Embed:
    """Batch callable: reads `image`, writes `vector` and `content`, keeps the text columns."""

    def __init__(self, load: Callable[[], Model], batch_size: int) -> None:
        self.model, self.batch_size = load(), batch_size

    def __call__(self, batch: Batch) -> Batch:
        """`vector` is the embedding or the logits, `content` the blake2b of the image's bytes."""
        images, size = [bytes(image) for image in batch["image"]], self.batch_size
        content = [hashlib.blake2b(image, digest_size=16).hexdigest() for image in images]
        vectors = [self._vectors(images[i : i + size]) for i in range(0, len(images), size)]
        return {
            **{name: batch[name] for name in TEXT_COLUMNS},
            "content": np.array(content, dtype=object),
            "vector": np.concatenate(vectors),
        }

    def _vectors(self, images: list[bytes]) -> Vectors:
        full = images + [images[-1]] * (self.batch_size - len(images))
        model = self.model
        asked = model.class_logits if isinstance(model, Classifier) else model.encode_image
        found = asked(full)
        return np.asarray(found[: len(images)], dtype=np.float32)


def embed(dataset: Dataset, load: Callable[[], Model], config: EmbedConfig) -> Embedded:
    """Every image of a `labelled` dataset through the model.

    Raises:
        ValueError: a set without any decodable image.
    """
    batches = list((_on_ray if config.workers else _here)(dataset, load, config))
    column = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    text = {name: column[name].astype(str) for name in (*TEXT_COLUMNS, "content")}
    seen = np.isfinite(column["vector"]).any(axis=1)  # -inf for a class is an answer, NaN is none
    if not seen.any():
        raise ValueError(f"{dataset.path}: none of {len(seen)} images can be decoded")
    order = np.argsort(text["image_id"], kind="stable")
    good, bad = order[seen[order]], order[~seen[order]]
    return Embedded(
        image_id=text["image_id"][good],
        content=text["content"][good],
        class_name=text["class_name"][good],
        group=text["group"][good],
        vectors=np.ascontiguousarray(column["vector"][good]),
        undecodable=list(zip(*(text[name][bad].tolist() for name in TEXT_COLUMNS), strict=True)),
    )


def _here(dataset: Dataset, load: Callable[[], Model], config: EmbedConfig) -> Iterator[Batch]:
    call, names = Embed(load, config.batch_size), [*TEXT_COLUMNS, "image"]
    for batch in dataset.batches(names, config.batch_size):
        yield call({name: np.array(batch.column(name).to_pylist(), dtype=object) for name in names})


def _on_ray(dataset: Dataset, load: Callable[[], Model], config: EmbedConfig) -> Iterator[Batch]:
    import ray.data

    # A pool that could hold every core would leave none to the reading that it waits for.
    blocks = max(len(dataset.shards), 2 * config.workers)
    rows = ray.data.read_parquet(
        dataset.shards, columns=[*TEXT_COLUMNS, "image"], override_num_blocks=blocks
    ).map_batches(
        Embed,
        fn_constructor_args=(load, config.batch_size),
        batch_size=config.batch_size,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=config.workers),
        num_cpus=CORES_A_WORKER,
        num_gpus=config.gpus or None,
    )
    yield from rows.iter_batches(batch_format="numpy")
