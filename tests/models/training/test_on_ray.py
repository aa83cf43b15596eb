"""Ray Train gives the weights that the loop gives in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.clip import CLIPConfig, TextConfig
from models.tokenizers.clip import Tokenizer
from models.training.augment import NONE
from models.training.curve import Line
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig, train
from models.training.on_ray import Workers, resolve, train_on_ray
from models.vision.vit import ViTConfig

Maker = Callable[..., str]
TOKENIZER = Tokenizer([])
MODEL = CLIPConfig(
    ViTConfig((16, 16), patch_size=4, width=16, depth=1, heads=2),
    TextConfig(40, TOKENIZER.vocab_size, 16, 1, 2),
    embedding=12,
)
SETTINGS: dict[str, Any] = {
    "config": TrainConfig(steps=6, batch_size=8, log_every=1, checkpoint_every=2),
    "loading": LoaderConfig(augment=NONE, threads=1),
    "tokenizer": TOKENIZER,
}


@pytest.mark.usefixtures("ray_session")
def test_one_worker_gives_the_weights_of_this_process(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(20)
    lines: list[Line] = []
    folder = train_on_ray(
        str(tmp_path / "ray"), MODEL, data, workers=Workers(cpus=1), report=lines.append, **SETTINGS
    )
    train(str(tmp_path / "here"), MODEL, data, **SETTINGS)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert not (Path(folder) / ".ray").exists()
    mine = (Path(folder) / "model.safetensors").read_bytes()
    assert mine == (tmp_path / "here" / "model.safetensors").read_bytes()


def test_workers_follow_the_cluster() -> None:
    assert resolve(Workers(), {"CPU": 8.0}) == Workers(False, 1, 8)
    assert resolve(Workers(), {"CPU": 32.0, "GPU": 4.0}) == Workers(True, 4, 1)
    assert resolve(Workers(count=2), {"CPU": 8.0}) == Workers(False, 2, 1)
    assert resolve(Workers(gpu=False), {"CPU": 8.0, "GPU": 4.0}) == Workers(False, 1, 8)
    assert resolve(Workers(gpu=True, count=2, cpus=3), {"CPU": 8.0, "GPU": 4.0}) == Workers(
        True, 2, 3
    )
