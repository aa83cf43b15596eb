"""A BLIP through the loop: pre-training, its halves fine-tuned from it, killed and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.blip.blip import BLIP, BLIPConfig
from models.blip.halves import half, part_config
from models.blip.med import MEDConfig, with_words
from models.tokenizers.clip import Tokenizer
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig, train
from models.training.optimizer import OptimizerConfig
from models.training.starting import starting_tensors
from models.vision.vit import ViTConfig
from models.weights import WeightsError, content_hash, read_tensors

Maker = Callable[..., str]
TOKENIZER = Tokenizer([])
WHOLE = BLIPConfig(
    ViTConfig((16, 16), patch_size=8, width=16, depth=1, heads=2),
    with_words(MEDConfig(40, 24, 16, 2, 2), TOKENIZER.vocab_size),
    embedding=12,
    queue=16,
    ramp=10,
)
CONFIG = TrainConfig(
    steps=8,
    batch_size=6,
    optimizer=OptimizerConfig(rate=3e-3, warm_up=2),
    log_every=1,
    checkpoint_every=3,
)


def run(folder: Path, model: BLIPConfig, data: str, start: str = "", **more: object) -> str:
    settings = {"config": CONFIG, "loading": LoaderConfig(threads=1), "tokenizer": TOKENIZER}
    return train(str(folder), model, data, start=start, **{**settings, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["captioner", "matcher"])
def test_a_half_goes_on_from_the_whole(make_data: Maker, tmp_path: Path, part: str) -> None:
    data = make_data(14)
    whole = run(tmp_path / "whole", WHOLE, data)
    config = part_config(WHOLE, part)  # type: ignore[arg-type]
    tensors = starting_tensors(BLIP(config), whole)
    wanted = half(WHOLE, read_tensors(f"{whole}/model.safetensors"), part)  # type: ignore[arg-type]
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)
    still = TrainConfig(steps=1, batch_size=6, optimizer=OptimizerConfig(rate=0.0, warm_up=0))
    after = read_tensors(
        f"{run(tmp_path / 'still', config, data, whole, config=still)}/model.safetensors"
    )
    same = [name for name in wanted if not name.startswith("momentum.")]
    assert all(torch.equal(after[name], wanted[name]) for name in same)
    assert run(tmp_path / "moved", config, data, whole)
    drawn = run(tmp_path / "drawn", config, data)
    assert content_hash(str(tmp_path / "moved")) != content_hash(drawn)


def test_a_killed_pretraining_ends_with_the_same_weights_queues_and_copies(
    make_data: Maker, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(line: dict[str, float]) -> None:
        if line["step"] == 5:
            raise KilledError

    data = make_data(14)
    run(tmp_path / "a", WHOLE, data)
    with pytest.raises(KilledError):
        run(tmp_path / "b", WHOLE, data, report=kill)
    run(tmp_path / "b", WHOLE, data)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "b" / "model.safetensors"
    ).read_bytes()


def test_a_start_that_does_not_fit_is_named(make_data: Maker, tmp_path: Path) -> None:
    data = make_data(14)
    whole = run(tmp_path / "whole", WHOLE, data)
    wider = replace(WHOLE, embedding=20)
    with pytest.raises(WeightsError, match=r"image_projection.weight is \(12, 16\)"):
        run(tmp_path / "wider", wider, data, whole)


@pytest.mark.parametrize("queue", [0, 16])
def test_the_whole_goes_on_from_its_encoders(make_data: Maker, tmp_path: Path, queue: int) -> None:
    data, whole = make_data(14), replace(WHOLE, queue=queue)
    encoders = run(tmp_path / "encoders", part_config(whole, "encoders"), data)
    trained = read_tensors(f"{encoders}/model.safetensors")
    model = BLIP(whole)
    drawn, begun = model.state_dict(), starting_tensors(model, encoders)
    assert begun.keys() == drawn.keys()
    assert all(torch.equal(begun[name], tensor) for name, tensor in trained.items())
    own, decoder = (f"text_tower.blocks.1.{n}attention.qkv.weight" for n in ("", "decoder_"))
    assert torch.equal(begun[decoder], trained[own])
    assert torch.equal(begun["word_head.layer.weight"], drawn["word_head.layer.weight"])
    assert run(tmp_path / "whole", whole, data, encoders)


def test_encoders_have_contrast_alone(make_data: Maker, tmp_path: Path) -> None:
    config = part_config(replace(WHOLE, queue=0), "encoders")
    folder = run(tmp_path / "encoders", config, make_data(14))
    line = json.loads(Path(folder, "metrics.jsonl").read_text().splitlines()[-1])
    assert line["contrast"] == line["loss"]
    assert not {"matching", "words"} & line.keys()
    assert not any("cross" in name for name in read_tensors(f"{folder}/model.safetensors"))
