"""The recipe that trains any model: names take on the sizes of frozen parts, and the command line
runs one from its start.
"""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from models.blip2.blip2 import BLIP2Config
from models.blip2.language import BLIP2LanguageConfig
from models.clip import CLIP, CLIPConfig, TextConfig
from models.dalle2.dalle2 import DALLE2Config
from models.flamingo.flamingo import FlamingoConfig
from models.gpt import GPT, GPTConfig
from models.pic2word import Pic2WordConfig
from models.tokenizers.clip import Tokenizer
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.curve import read_curve
from models.training.starting import starting_tensors
from models.vision.vit import ViTConfig
from models.weights import build, describe, fit, load, load_tokenizer, read_tensors, save
from pipelines import datasets, storage
from pipelines.datasets import open_dataset
from pipelines.records import SCHEMAS, record_id
from workflows import cli
from workflows.fitted import MODELS, Name, fitted
from workflows.train_any import TrainRecipe, network

WORDS, BYTES = Tokenizer([]), ByteTokenizer([])
CLIP_TINY = CLIPConfig(
    ViTConfig((16, 16), patch_size=8, width=32, depth=1, heads=2),
    TextConfig(40, WORDS.vocab_size, 24, 1, 2),
    embedding=256,
)
GPT_TINY = GPTConfig(BYTES.vocab_size, 48, width=48, depth=4, heads=2)


def sample(number: int) -> dict[str, Any]:
    pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    image = io.BytesIO()
    Image.fromarray(pixels).save(image, "PNG")
    empty = {
        field.name: 0 if pa.types.is_integer(field.type) else "" for field in SCHEMAS["samples"]
    }
    text = {
        "pair_id": record_id(str(number), "0"),
        "text": f"picture {number}",
        "source": "alt",
        "page_url": "",
        "language": "en",
        "queries": [],
    }
    own = {"image_id": record_id(str(number)), "texts": [text], "image": image.getvalue()}
    return {**empty, **own, "thumbnail": b"\0" * 768}


@pytest.fixture
def data(tmp_path: Path) -> str:
    folder = tmp_path / "data"
    rows = [sample(number) for number in range(8)]
    datasets.write_shard(f"{folder}/part.parquet", pa.Table.from_pylist(rows, SCHEMAS["samples"]))
    shards = [datasets.Shard("part.parquet", 8, "")]
    manifest = datasets.Manifest("samples", [], 8, shards, "hash", {}, "", 0, "", [], {}, {})
    storage.write_json(f"{folder}/manifest.json", dataclasses.asdict(manifest))
    return str(folder)


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, str]:
    save(CLIP(CLIP_TINY), str(tmp_path / "clip"), WORDS)
    save(GPT(GPT_TINY), str(tmp_path / "gpt"), BYTES)
    return {name: str(tmp_path / name) for name in ("clip", "gpt")} | {"": ""}


@pytest.mark.parametrize(
    ("model", "start", "beside"),
    [
        ("clip-small", "", ""),
        ("blip-small", "", ""),
        ("blip2-small", "clip", ""),
        ("blip2-language-small", "clip", "gpt"),
        ("pic2word", "clip", ""),
        ("dalle2-small", "clip", ""),
        ("dalle2-small-codes", "clip", ""),
        ("flamingo-small", "gpt", "clip"),
    ],
)
def test_a_named_model_fits_around_its_frozen_parts(
    data: str, parts: dict[str, str], model: Name, start: str, beside: str
) -> None:
    recipe = TrainRecipe(data, "out", model, start=parts[start], beside=parts[beside])
    config, tokenizer = network(recipe, open_dataset(data))
    assert type(config) is type(MODELS[model]) and tokenizer is not None
    if start:
        built = build(config)
        fit(built, starting_tensors(built, parts[start]), start)
    if isinstance(config, FlamingoConfig):
        assert config.language == GPT_TINY and config.resampler.width == 32
        assert config.image not in tokenizer.encode("any text, \u00e9\u4e2d\U0001f600")
    if isinstance(config, Pic2WordConfig):
        words = [tokenizer.decode([i]).strip() for i in config.prompt[1:-1]]
        assert "".join(words) == "aphotoof*" and tokenizer.decode([config.star]) == "* "
    if isinstance(config, DALLE2Config):
        assert config.prior.text_width == 24
    if isinstance(config, BLIP2Config):
        assert config.former.decode == tokenizer.vocab_size == config.former.end + 1
    if isinstance(config, BLIP2LanguageConfig):
        assert (config.language, config.end) == (48, BYTES.end)


def test_names_are_the_models() -> None:
    assert set(get_args(Name)) == set(MODELS)


def test_what_is_missing_is_named(data: str, parts: dict[str, str]) -> None:
    def ask(model: Name, **more: str) -> None:
        network(TrainRecipe(data, "out", model, **more), open_dataset(data))

    with pytest.raises(ValueError, match=r"a BLIP-2 needs a start that brings .* an image encoder"):
        ask("blip2-small")
    with pytest.raises(ValueError, match=r"no tokenizer in 'a start'; name one by --tokenizer"):
        ask("pic2word")
    with pytest.raises(ValueError, match="start is a GPTConfig, a DALLE2Config needs a CLIPConfig"):
        ask("dalle2-small", start=parts["gpt"])
    with pytest.raises(ValueError, match="a Flamingo needs a vision encoder beside it, got none"):
        ask("flamingo-small", start=parts["gpt"])
    with pytest.raises(ValueError, match="a CLIP takes no model beside it, got GPTConfig"):
        ask("clip-small", beside=parts["gpt"])


def test_a_first_stage_brings_the_second_its_sizes() -> None:
    first = fitted(MODELS["blip2-small"], WORDS, CLIP_TINY)
    second = fitted(MODELS["blip2-language"], BYTES, first, GPT_TINY)
    assert isinstance(first, BLIP2Config) and isinstance(second, BLIP2LanguageConfig)
    assert second.vision == first.vision == CLIP_TINY.vision
    assert second.former == dataclasses.replace(first.former, text=False)


def test_the_command_line_trains_from_a_file_and_a_start(
    data: str, parts: dict[str, str], tmp_path: Path, ray_session: None
) -> None:
    config = Pic2WordConfig(
        CLIP_TINY, WORDS.encode("*")[0], (WORDS.start, *WORDS.encode("a *"), WORDS.end), hidden=16
    )
    file, out = tmp_path / "pic2word.json", str(tmp_path / "run" / "pic2word")
    file.write_text(json.dumps(describe(config)))
    arguments = ["--data", data, "--out", out, "--model-file", str(file), "--start", parts["clip"]]
    schedule = ["--schedule.train.steps", "3", "--schedule.train.batch-size", "4"]
    schedule += ["--schedule.train.log-every", "1", "--schedule.train.average", "0.9"]
    schedule += ["--schedule.workers.cpus", "1"]
    assert cli.run("sightmill train", TrainRecipe, [*arguments, *schedule]) == 0
    assert [line["step"] for line in read_curve(out)] == [1, 2, 3]
    assert load(out).config == config and load_tokenizer(out).vocab_size == WORDS.vocab_size
    clip = read_tensors(f"{parts['clip']}/model.safetensors")
    trained = read_tensors(f"{out}/model.safetensors")
    assert all(torch.equal(trained[f"clip.{name}"], tensor) for name, tensor in clip.items())
    manifest = open_dataset(out).manifest
    assert len(manifest.config["checkpoint 0"]) == 32
    assert cli.run("sightmill train", TrainRecipe, [*arguments, *schedule]) == 0
    assert open_dataset(out).manifest == manifest
