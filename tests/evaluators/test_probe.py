"""Which images k shots are drawn, and that the draw is a function of seed and id."""

import numpy as np
import pytest

from evaluators.embed import Embedded
from evaluators.probe import drawn, probed, task_of
from evaluators.suites.kinds import Probe


def seen(n: int, seed: int = 0) -> Embedded:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    group = np.where(np.arange(n) % 4 == 3, "test", "train")
    vectors = np.eye(3)[labels] + 0.3 * rng.normal(size=(n, 3))
    ids = np.array([f"{i:032x}" for i in range(n)])
    names = np.array(["a", "b", "c"])[labels]
    return Embedded(ids, ids, names, group, vectors.astype(np.float32), [])


def test_k_images_of_each_class_whatever_the_order():
    ids = np.array([f"id{i}" for i in range(60)])
    labels = np.arange(60) % 5
    some = drawn(ids, labels, 4, seed=1)
    assert np.bincount(labels[some]).tolist() == [4] * 5
    shuffled = np.random.default_rng(0).permutation(60)
    again = drawn(ids[shuffled], labels[shuffled], 4, seed=1)
    assert set(ids[shuffled][again]) == set(ids[some])
    assert set(ids[drawn(ids, labels, 4, seed=2)]) != set(ids[some])
    more = drawn(ids, labels, 8, seed=1)
    assert set(some) < set(more)  # 8 shots hold the 4


def test_tasks_of_a_probe_and_where_k_stops():
    suite = Probe("probe", {}, shots=(1, 4, 100), seeds=2)
    rows = list(probed(suite, ["a", "b", "c"], seen(120)))
    assert list(dict.fromkeys(row["task"] for row in rows)) == [
        "probe",
        *(task_of(k, seed) for k in (1, 4) for seed in (0, 1)),
    ]
    whole = [row["rank"] == 0 for row in rows if row["task"] == "probe"]
    assert len(whole) == 30 and np.mean(whole) > 0.8


def test_without_a_split_there_is_no_probe():
    with pytest.raises(ValueError, match="train and test"):
        list(probed(Probe("probe", {}), ["a", "b", "c"], seen(120).of("train")))
