"""Any image encoder in any model: configs through JSON, weights in a folder, other resolutions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.classifier import Classifier, ClassifierConfig
from models.clip import CLIP, CLIP_RN50, CLIPConfig, TextConfig
from models.training.accumulate import backward
from models.vision.encoder import VisionConfig, encoder, resize, sized
from models.vision.quadrangle import PlainQuadrangleConfig, QuadrangleConfig, QuadrangleTransformer
from models.vision.resnet import ResNet, ResNetConfig
from models.vision.vit import ViT, ViTConfig
from models.weights import describe, load, parse_config, save

TEXT = TextConfig(12, 40, 16, 1, 2)
ENCODERS: list[VisionConfig] = [
    ViTConfig((16, 24), 8, 16, 2, 2, positions="relative"),
    ViTConfig((16, 24), 8, 16, 2, 2, norm_before=True, patch_bias=False),
    ResNetConfig((32, 64), (1, 1, 1, 1), width=4, head_width=32),
    QuadrangleConfig((16, 24), 2, 8, (1, 1), (2, 2), window=2),
    PlainQuadrangleConfig(ViTConfig((16, 24), 4, 16, 2, 2, pooling="mean"), window=2),
]
KINDS = [ViT, ViT, ResNet, QuadrangleTransformer, ViT]


def clip(vision: VisionConfig) -> CLIPConfig:
    return CLIPConfig(vision, TEXT, embedding=20)


def texts() -> torch.Tensor:
    tokens = torch.randint(1, 38, (4, 12))
    tokens[:, 7] = 39
    return tokens


@pytest.mark.parametrize(("config", "kind"), list(zip(ENCODERS, KINDS, strict=True)))
def test_every_config_makes_its_encoder(config: VisionConfig, kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = encoder(config).eval()
    assert isinstance(model, kind)
    x = torch.randn(3, 3, *config.image_size)
    assert model(x).shape == (3, config.features)
    torch.testing.assert_close(model(x[:1]), model(x)[:1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [*ENCODERS, CLIP_RN50.vision])
def test_configs_survive_json(config: VisionConfig) -> None:
    for whole in (clip(config), ClassifierConfig(config, classes=7)):
        copy = parse_config(json.loads(json.dumps(describe(whole))))
        assert copy == whole and type(copy.vision) is type(config)


def test_a_config_from_before_a_field_was_added_still_reads() -> None:
    for config in ENCODERS:
        values = describe(clip(config))
        inner = values["vision"]["vit"] if "vit" in values["vision"] else values["vision"]
        inner.pop("drop_path", None)
        copy = parse_config(values)
        assert type(copy.vision) is type(config)


def test_an_unknown_field_is_named_with_the_nearest_kind() -> None:
    values = describe(clip(ENCODERS[2]))
    values["vision"]["depth"] = 3
    with pytest.raises(ValueError, match=r"ResNetConfig has no \['depth'\]"):
        parse_config(values)


@pytest.mark.parametrize("config", ENCODERS)
def test_a_saved_model_is_the_same(config: VisionConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = CLIP(clip(config)).train()
    model({"pixels": torch.randn(4, 3, *config.image_size), "tokens": texts()})  # moves statistics
    model.eval()
    save(model, str(tmp_path))
    copy = load(str(tmp_path))
    assert isinstance(copy, CLIP) and copy.config == model.config
    x = torch.randn(2, 3, *config.image_size)
    assert torch.equal(copy.encode_image(x), model.encode_image(x))


@pytest.mark.parametrize("config", ENCODERS)
def test_contrastive_gradients_in_micro_batches(config: VisionConfig) -> None:
    """In one piece or in two: the same, but for batch norms, which see another batch."""
    torch.manual_seed(2)
    if isinstance(config, (QuadrangleConfig, PlainQuadrangleConfig)):
        config = replace(config, pull=1.0)
    if isinstance(config, QuadrangleConfig):
        config = replace(config, drop_path=0.0)
    model = CLIP(clip(config)).train()
    for name, parameter in model.named_parameters():
        if ".regress." in name:
            nn.init.normal_(parameter, std=0.5)  # far enough for the force to act
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    batch = {"pixels": torch.randn(4, 3, *config.image_size), "tokens": texts()}
    found = []
    for parts in (1, 2):
        model.zero_grad()
        backward(model, batch, parts, lambda _: None, torch.enable_grad)
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == len(list(model.parameters()))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("config", ENCODERS)
@pytest.mark.parametrize("whole", [clip, ClassifierConfig])
def test_a_resized_model_is_one_of_the_new_size(config: VisionConfig, whole: type) -> None:
    torch.manual_seed(3)
    kind = CLIP if whole is clip else Classifier
    model = kind(whole(config)).eval()
    height, width = config.image_size
    size = (2 * height, 3 * width)
    resize(model, size)
    assert model.config == whole(sized(config, size)) and model.config.vision.image_size == size
    other = kind(model.config).eval()
    other.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, *size)
    ours, theirs = (
        m.encode_image(x) if isinstance(m, CLIP) else m.encoder(x) for m in (model, other)
    )
    assert torch.equal(ours, theirs)
