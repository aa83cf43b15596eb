"""Our own folder: what is saved comes back, and what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.classifier import Classifier, ClassifierConfig
from models.clip import CLIP, CLIP_B_32, CLIPConfig, TextConfig
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig
from models.weights import (
    WeightsError,
    build,
    content_hash,
    describe,
    load,
    load_tokenizer,
    parse_config,
    read_tensors,
    save,
    write_tensors,
)

VISION = ViTConfig((16, 24), patch_size=8, width=16, depth=1, heads=2, positions="2d")
SMALL = CLIPConfig(VISION, TextConfig(12, 600, 16, 1, 2), embedding=20)


@pytest.mark.parametrize("config", [SMALL, CLIP_B_32, ClassifierConfig(VISION, classes=7)])
def test_configs_survive_json(config: CLIPConfig | ClassifierConfig) -> None:
    assert parse_config(json.loads(json.dumps(describe(config)))) == config


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    model, tokenizer = CLIP(SMALL).eval(), Tokenizer.learn(["a cat on a mat"] * 3, 600)
    save(model, str(tmp_path), tokenizer)
    copy = load(str(tmp_path))
    assert isinstance(copy, CLIP) and copy.config == SMALL and not copy.training
    pixels = torch.randn(2, 3, 16, 24)
    assert torch.equal(copy.encode_image(pixels), model.encode_image(pixels))
    assert load_tokenizer(str(tmp_path)).merges == tokenizer.merges
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_content_hash_follows_weights_and_tokenizer(tmp_path: Path) -> None:
    model = Classifier(ClassifierConfig(VISION, classes=7))
    save(model, str(tmp_path))
    first = content_hash(str(tmp_path))
    save(model, str(tmp_path))
    assert content_hash(str(tmp_path)) == first
    with torch.no_grad():
        model.head.bias[0] += 1e-6
    save(model, str(tmp_path))
    second = content_hash(str(tmp_path))
    Tokenizer([]).save(str(tmp_path / "tokenizer.json"))
    assert len({first, second, content_hash(str(tmp_path))}) == 3


def test_a_foreign_state_dict_is_refused(tmp_path: Path) -> None:
    save(Classifier(ClassifierConfig(VISION, classes=7)), str(tmp_path))
    save(Classifier(ClassifierConfig(VISION, classes=8)), str(tmp_path / "other"))
    weights = (tmp_path / "other" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(WeightsError, match=r"head.bias is \(8,\), should be \(7,\)"):
        load(str(tmp_path))
    tensors = read_tensors(str(tmp_path / "model.safetensors"))
    del tensors["head.bias"]
    write_tensors(str(tmp_path / "model.safetensors"), tensors)
    with pytest.raises(WeightsError, match=r"missing head.bias"):
        load(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load(str(tmp_path))


def test_unknown_configs_are_named() -> None:
    with pytest.raises(ValueError, match=r"kind='gan' must be one of \['blip', "):
        parse_config({"kind": "gan"})
    values = describe(ClassifierConfig(replace(VISION, depth=2)))
    values["vision"]["colour"] = "blue"
    with pytest.raises(ValueError, match=r"ViTConfig has no \['colour'\]"):
        parse_config(values)
    with pytest.raises(TypeError, match="int configures no model"):
        build(3)  # type: ignore[arg-type]
