"""The same loop on Ray Train: one CPU worker with every core by default, one worker a GPU where
there are GPUs.

Ray Train starts the workers and their process group; `loop.train` finds the group, takes its slice
of each batch and wraps the model in DistributedDataParallel. Checkpoints are the loop's own, in the
run folder, so a worker that dies is started again and goes on from the latest one. The folder must
be on a disk that all nodes see.
"""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from models.tokenizers.clip import Tokenizer
from models.training.curve import Line, read_curve
from models.training.loop import Loading, TrainConfig, train
from models.weights import ModelConfig
from pipelines.storage import filesystem


@dataclass(frozen=True)
class Workers:
    """The processes of a run, on the Ray cluster that is joined."""

    gpu: bool | None = None  # one GPU a worker; None: if the cluster has any
    count: int = 0  # workers; 0: one a GPU, or a single one on CPU
    cpus: int = 0  # cores a worker; 0: all of a node's for one CPU worker, else 1
    restarts: int = 2  # times that a run with a dead worker goes on from its latest checkpoint


def resolve(workers: Workers, resources: dict[str, float]) -> Workers:
    """`workers` with its zeros filled in from the cluster's resources."""
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    gpu = gpus > 0 if workers.gpu is None else workers.gpu
    count = workers.count or (max(1, gpus) if gpu else 1)
    alone = count == 1 and not gpu
    return Workers(gpu, count, workers.cpus or (max(1, cpus) if alone else 1), workers.restarts)


def _worker(job: dict[str, Any]) -> None:
    """One rank."""
    import torch
    from ray.train.torch import get_device

    torch.set_num_threads(job["cpus"])
    train(**job["arguments"], device=get_device())


def _follow(folder: str, seen: int, stop: threading.Event, report: Callable[[Line], None]) -> None:
    """Reports each new line of rank 0's curve, until `stop` is set and all are reported."""
    last = seen
    while True:
        ending = stop.wait(0.5)
        for line in read_curve(folder):
            if line["step"] > last:
                last = int(line["step"])
                report(line)
        if ending:
            return


def train_on_ray(
    folder: str,
    model_config: ModelConfig,
    data: str,
    *,
    config: TrainConfig,
    loading: Loading,
    tokenizer: Tokenizer | None = None,
    start: str = "",
    beside: str = "",
    workers: Workers | None = None,
    report: Callable[[Line], None] | None = None,
) -> str:
    """`loop.train` on the workers of the joined Ray cluster; arguments and result as there.

    Raises Ray's TrainingFailedError, which carries the worker's own error.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    folder, data = _absolute(folder), _absolute(data)
    storage = posixpath.join(folder, ".ray")
    _remove(storage)  # notes of a run that was killed
    resolved = resolve(workers or Workers(), ray.cluster_resources())
    arguments = {
        "folder": folder,
        "model_config": model_config,
        "data": data,
        "config": config,
        "loading": loading,
        "tokenizer": tokenizer,
        "start": _absolute(start) if start else "",
        "beside": _absolute(beside) if beside else "",
    }
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"cpus": resolved.cpus, "arguments": arguments},
        scaling_config=ScalingConfig(
            num_workers=resolved.count,
            use_gpu=bool(resolved.gpu),
            resources_per_worker={"CPU": resolved.cpus, **({"GPU": 1} if resolved.gpu else {})},
        ),
        run_config=RunConfig(
            name="run",
            storage_path=storage,
            failure_config=FailureConfig(max_failures=resolved.restarts),
        ),
    )
    lines = read_curve(folder)
    seen = int(lines[-1]["step"]) if lines else 0
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(_follow, folder, seen, stop, report or (lambda line: None))
        try:
            trainer.fit()
        finally:
            stop.set()
        following.result()  # raises what `report` raised
    _remove(storage)
    return folder


def _remove(path: str) -> None:
    """Removes Ray's own notes on a run, if there are any."""
    fs, inner = filesystem(path)
    if fs.get_file_info(inner).type == pafs.FileType.Directory:
        fs.delete_dir(inner)


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)
