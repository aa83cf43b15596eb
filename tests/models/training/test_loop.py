"""The loop: it learns, it repeats itself, and a killed run ends where an uninterrupted one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from models.classifier import ClassifierConfig
from models.clip import CLIPConfig, TextConfig
from models.tokenizers.clip import Tokenizer
from models.training import loop
from models.training.augment import NONE, AugmentConfig
from models.training.checkpoints import RunError, read_progress, steps_saved
from models.training.curve import Line, read_curve
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig, derive_seed, train
from models.training.optimizer import OptimizerConfig
from models.vision.encoder import VisionConfig
from models.vision.quadrangle import QuadrangleConfig
from models.vision.resnet import ResNetConfig
from models.vision.vit import ViTConfig
from models.weights import load, load_tokenizer, read_tensors

Maker = Callable[..., str]
TOKENIZER = Tokenizer([])
VISION = ViTConfig((16, 16), patch_size=4, width=16, depth=1, heads=2, patch_dropout=0.5)
MODEL = CLIPConfig(VISION, TextConfig(40, TOKENIZER.vocab_size, 16, 1, 2), embedding=12)
WHOLE = replace(MODEL, vision=replace(VISION, patch_dropout=0.0))
CONFIG = TrainConfig(
    steps=12,
    batch_size=8,
    optimizer=OptimizerConfig(rate=3e-3, warm_up=2),
    log_every=1,
    checkpoint_every=3,
)
LOADING = LoaderConfig(augment=AugmentConfig(rotation=10), threads=1)


class KilledError(Exception):
    pass


def run(folder: Path, data: str, **changes: Any) -> str:
    settings: dict[str, Any] = {"config": CONFIG, "loading": LOADING, "tokenizer": TOKENIZER}
    model = changes.pop("model", MODEL)
    return train(str(folder), model, data, **{**settings, **changes})


def kill_after(step: int) -> Callable[[Line], None]:
    def report(line: Line) -> None:
        if line["step"] == step:
            raise KilledError

    return report


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def curve(folder: Path) -> list[Line]:
    timed = ("seconds", "examples_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in read_curve(str(folder))]


@pytest.mark.parametrize("killed_at", [[2], [3], [5, 10], [11]])
def test_a_killed_run_ends_where_the_other_does(
    make_data: Maker, tmp_path: Path, killed_at: list[int]
) -> None:
    data = make_data(20)
    run(tmp_path / "whole", data)
    for step in killed_at:
        with pytest.raises(KilledError):
            run(tmp_path / "killed", data, report=kill_after(step))
        assert not (tmp_path / "killed" / "training.json").exists()
    run(tmp_path / "killed", data)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    assert [line["step"] for line in curve(tmp_path / "whole")] == list(range(1, 13))


@pytest.mark.parametrize(
    "vision",
    [
        ResNetConfig((32, 32), (1, 1, 1, 1), width=4, head_width=32),
        QuadrangleConfig((16, 16), 2, 8, (1, 1), (2, 2), window=2, drop_path=0.3),
    ],
)
def test_so_does_one_of_another_encoder(
    make_data: Maker, tmp_path: Path, vision: VisionConfig
) -> None:
    """Batch norms' statistics and skipped examples among what goes on as it was."""
    data, model = make_data(20), replace(MODEL, vision=vision)
    run(tmp_path / "whole", data, model=model)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", data, model=model, report=kill_after(5))
    run(tmp_path / "killed", data, model=model)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def test_a_resumed_run_does_not_start_over(make_data: Maker, tmp_path: Path) -> None:
    data, seen = make_data(20), []
    with pytest.raises(KilledError):
        run(tmp_path / "run", data, report=kill_after(8))
    assert steps_saved(str(tmp_path / "run")) == [6]
    run(tmp_path / "run", data, report=lambda line: seen.append(line["step"]))
    assert seen == list(range(7, 13))


def test_a_torn_checkpoint_is_passed_over(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    config = replace(CONFIG, checkpoints_kept=2)
    run(tmp_path / "whole", data)
    with pytest.raises(KilledError):
        run(tmp_path / "run", data, config=config, report=kill_after(8))
    torn = tmp_path / "run" / "steps" / "00000006"
    (torn / "training.json").unlink()
    (torn / "model.safetensors").write_bytes(b"half")
    seen: list[float] = []
    run(tmp_path / "run", data, report=lambda line: seen.append(line["step"]))
    assert seen[0] == 4
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_same_seed_same_weights(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    run(tmp_path / "a", data)
    torch.manual_seed(99)
    run(tmp_path / "b", data, config=replace(CONFIG, log_every=5, checkpoint_every=100))
    run(tmp_path / "c", data, config=replace(CONFIG, seed=1))
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_training_leaves_torchs_generator_alone(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path / "run", data)
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_a_finished_run_holds(make_data: Maker, tmp_path: Path) -> None:
    folder, data = tmp_path / "run", make_data(20)
    assert run(folder, data) == str(folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "tensorboard",
        "tokenizer.json",
        "training.json",
    ]
    training = json.loads((folder / "training.json").read_text())
    assert training["step"] == 12 and training["plan"]["training"]["seed"] == 0
    assert training["plan"]["data"] == "hash of 20 samples"
    assert load(str(folder)).config == MODEL
    assert load_tokenizer(str(folder)).vocab_size == TOKENIZER.vocab_size
    line = read_curve(str(folder))[-1]
    assert {"loss", "accuracy", "logit_scale", "rate", "gradient_norm", "seconds"} <= set(line)
    assert list((folder / "tensorboard").iterdir())
    before = weights(folder)
    run(folder, data, report=kill_after(1))  # finished: not trained again
    assert weights(folder) == before


def test_another_plan_is_refused(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    with pytest.raises(KilledError):
        run(tmp_path / "run", data, report=kill_after(4))
    other = replace(CONFIG, optimizer=replace(CONFIG.optimizer, rate=0.1))
    with pytest.raises(RunError, match=r"training.optimizer.rate: 0.1 here, 0.003 there"):
        run(tmp_path / "run", data, config=other)
    run(tmp_path / "run", data)
    with pytest.raises(RunError, match=r"data: 'hash of 24 samples' here, 'hash of 20"):
        run(tmp_path / "run", make_data(24))


def test_clip_learns_its_pairs(make_data: Maker, tmp_path: Path) -> None:
    config = replace(
        CONFIG, steps=150, log_every=10, optimizer=OptimizerConfig(rate=5e-3, warm_up=10)
    )
    loading = LoaderConfig(augment=NONE, threads=1)
    folder = str(tmp_path / "run")
    train(folder, WHOLE, make_data(8), config=config, loading=loading, tokenizer=TOKENIZER)
    lines = read_curve(folder)
    assert lines[-1]["accuracy"] == 1.0 and lines[-1]["loss"] < 0.2 < lines[0]["loss"]


def test_classifier_learns_its_labels(make_data: Maker, tmp_path: Path) -> None:
    config = replace(
        CONFIG, steps=80, batch_size=10, log_every=10, optimizer=OptimizerConfig(rate=5e-3)
    )
    vision = replace(VISION, patch_dropout=0.0)
    data, folder = make_data(10, "labelled"), str(tmp_path / "run")
    loading = LoaderConfig(augment=NONE, threads=1)
    train(folder, ClassifierConfig(vision, classes=5), data, config=config, loading=loading)
    assert read_curve(folder)[-1]["accuracy"] == 1.0


def test_micro_batches_give_the_same_first_steps(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    losses = {}
    for parts in (1, 4):
        folder = str(tmp_path / str(parts))
        config = replace(CONFIG, micro_batches=parts)
        train(folder, WHOLE, data, config=config, loading=LOADING, tokenizer=TOKENIZER)
        losses[parts] = [line["loss"] for line in read_curve(folder)]
    assert losses[1] == pytest.approx(losses[4], abs=1e-3)


def _rank(rank: int, folder: str, data: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}.store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    run(Path(folder), data, tokenizer=TOKENIZER, model=WHOLE)
    dist.destroy_process_group()


def test_two_ranks_train_on_the_batch_of_one(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    run(tmp_path / "one", data, model=WHOLE)
    mp.start_processes(_rank, (str(tmp_path / "two"), data), nprocs=2, start_method="fork")
    two, one = (read_tensors(str(tmp_path / n / "model.safetensors")) for n in ("two", "one"))
    for name, tensor in one.items():
        assert (two[name] - tensor).abs().max() < 1e-3 * tensor.abs().max(), name
    losses = [[line["loss"] for line in curve(tmp_path / n)] for n in ("two", "one")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run(
    make_data: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "rate_factor", lambda *_: float("nan"))
    with pytest.raises(FloatingPointError, match=r"loss is nan after step 2: lower optimizer.rate"):
        run(tmp_path / "run", make_data(20))
    assert read_progress(str(tmp_path / "run")) is None


def test_what_cannot_be_trained_is_named(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    with pytest.raises(ValueError, match="a CLIP needs a tokenizer"):
        run(tmp_path / "run", data, tokenizer=None)
    with pytest.raises(ValueError, match=r"text.vocab_size=514, the tokenizer has 515 ids"):
        run(tmp_path / "run", data, tokenizer=Tokenizer([(0, 1)]))


def test_seeds_are_hashes() -> None:
    seeds = {
        derive_seed(s, "step", t, r, p)
        for s in (0, 1)
        for t in range(9)
        for r in (0, 1)
        for p in (0, 1)
    }
    assert len(seeds) == 72 and all(0 <= seed < 1 << 63 for seed in seeds)
    assert derive_seed(0, "weights") == derive_seed(0, "weights")
