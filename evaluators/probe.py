"""What an image encoder knows without its text tower: linear probe and k-shot, from embeddings.

Both answer on a set's split `test`. C is searched once a set, on `train` against `val` (at most
SEARCHED images of `train`, and with the C found the probe is fitted to all of both); k-shot fits
then use it too, so only the k images a class change. Which images those are is a function of
(seed, image_id).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluators.answers import Contest, Row, named
from evaluators.embed import Embedded
from evaluators.logistic import Labels, Linear, fit, search
from evaluators.suites.kinds import Probe
from evaluators.supervised import supervised_ranks
from evaluators.zero_shot import Vectors
from pipelines.records import uniform

PROBE = "probe"
SEARCHED = 10_000
"""Most images that each fit of the search sees."""


def task_of(shots: int, seed: int) -> str:
    """Name of the task in the predictions: probe, or probe_4_0 for 4 shots drawn by seed 0."""
    return f"{PROBE}_{shots}_{seed}" if shots else PROBE


def probed(suite: Probe, classes: Sequence[str], seen: Embedded) -> Iterator[Row]:
    """Rows of the whole probe, then of every k and seed, about the split `test`.

    k-shot runs only where every class has k images or more in `train`.

    Raises:
        ValueError: no train or no test images.
    """
    train, test = seen.of("train"), seen.of("test")
    if not len(train.image_id) or not len(test.image_id):
        raise ValueError("a probe needs the splits train and test; one of them is empty")
    place = {name: index for index, name in enumerate(classes)}
    fitted, held = _split(suite, train, seen.of("val"))
    whole = _join(fitted, held)
    at, labels = whole
    c = search(*_of(_some(fitted), place), *_of(_some(held), place), len(classes))
    y = np.array([place[name] for name in labels], dtype=np.int64)
    best = fit(at, y, len(classes), c)
    yield from _answers(best, classes, test, PROBE)
    ids, known = train.image_id, np.array([place[n] for n in train.class_name], dtype=np.int64)
    for shots in suite.shots:
        if np.bincount(known, minlength=len(classes)).min() < shots:
            break
        for seed in range(suite.seeds):
            some = drawn(ids, known, shots, seed)
            few = fit(train.vectors[some], known[some], len(classes), c)
            yield from _answers(few, classes, test, task_of(shots, seed))


def drawn(ids: npt.NDArray[np.str_], labels: Labels, shots: int, seed: int) -> Labels:
    """Places of `shots` images of each class, those with the least hash of (seed, id)."""
    order = np.argsort([uniform(seed, "shots", one) for one in ids.tolist()], kind="stable")
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.searchsorted(labels[by_class], np.arange(labels.max() + 1))
    rank = np.arange(len(by_class)) - starts[labels[by_class]]
    return np.asarray(np.sort(by_class[rank < shots]), dtype=np.int64)


Part = tuple[Vectors, npt.NDArray[np.str_]]
"""Vectors and class names of some images."""


def _some(part: Part) -> Part:
    """At most SEARCHED of them; rows are sorted by image_id, a hash, so the first are any."""
    return part[0][:SEARCHED], part[1][:SEARCHED]


def _split(suite: Probe, train: Embedded, val: Embedded) -> tuple[Part, Part]:
    """What C is searched with: train and val, or two shares of train by hash of the id."""
    if len(val.image_id):
        return (train.vectors, train.class_name), (val.vectors, val.class_name)
    draws = np.array([uniform(0, "validation", one) for one in train.image_id.tolist()])
    held = draws < suite.validation
    if held.all() or not held.any():  # so few images that a share is none or all
        held = np.arange(len(draws)) == draws.argmin()
    kept = ~held if len(draws) > 1 else held
    return (train.vectors[kept], train.class_name[kept]), (
        train.vectors[held],
        train.class_name[held],
    )


def _join(a: Part, b: Part) -> Part:
    return np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])


def _of(part: Part, place: dict[str, int]) -> tuple[Vectors, Labels]:
    return part[0], np.array([place[name] for name in part[1].tolist()], dtype=np.int64)


def _answers(model: Linear, classes: Sequence[str], test: Embedded, task: str) -> Iterator[Row]:
    own = list(classes)
    asked = Contest(
        own, model.logits, lambda v, labels: supervised_ranks(model.logits(v), own, own, labels)
    )
    for row in named(asked, test):
        yield {**row, "task": task}
