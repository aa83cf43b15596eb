"""CLIP's ResNet against open_clip's, batch norms' running statistics drawn anew as well."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import open_clip.modified_resnet
import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier, ClassifierConfig
from models.public.clip_resnet import RESNET
from models.vision.resnet import AttentionPool, Bottleneck, ResNet, ResNetConfig

SMALL = ResNetConfig((32, 64), (1, 1, 1, 1), width=4, head_width=16)


def randomise(model: nn.Module) -> None:
    """Draws every parameter and every running mean and variance; features stay of order 1."""
    for parameter in model.parameters():
        inputs = parameter[0].numel() if parameter.ndim > 1 else 10
        nn.init.normal_(parameter, std=inputs**-0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, mean=1.0, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


def draw(seed: int) -> ResNetConfig:
    """A random small configuration."""
    random_ = random.Random(seed)
    sides = (32 * random_.randint(1, 3), 32 * random_.randint(1, 3))
    layers = tuple(random_.randint(1, 2) for _ in range(4))
    return ResNetConfig(
        sides, layers, width=random_.choice([6, 8]), head_width=random_.choice([16, 32])
    )


def theirs_of(config: ResNetConfig, out: int) -> nn.Module:
    """open_clip's with the same dimensions; only its table of positions minds the shape."""
    made = open_clip.modified_resnet.ModifiedResNet(
        list(config.layers),
        out,
        config.features // config.head_width,
        config.image_size[0],
        config.width,
    )
    places = 1 + math.prod(side // 32 for side in config.image_size)
    made.attnpool.positional_embedding = nn.Parameter(torch.empty(places, config.features))
    return made


def state_of(theirs: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our encoder's state dict, and its projection's."""
    ours = RESNET.from_public({f"visual.{n}": t for n, t in theirs.state_dict().items()})
    parts = []
    for prefix in ("image_tower.", "image_projection."):
        own = {n.removeprefix(prefix): t for n, t in ours.items() if n.startswith(prefix)}
        parts.append(own)
    assert len(parts[0]) + len(parts[1]) == len(ours)
    return parts[0], parts[1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("training", [False, True])
def test_features_are_those_of_open_clip(
    seed: int, training: bool, every_weight_shows: Callable[..., None]
) -> None:
    torch.manual_seed(seed)
    config = draw(seed)
    theirs = theirs_of(config, 12)
    randomise(theirs)
    ours, projection = ResNet(config), nn.Linear(config.features, 12)
    tower, last = state_of(theirs)
    ours.load_state_dict(tower)
    projection.load_state_dict(last)
    ours.train(training)
    theirs.train(training)
    x = torch.randn(3 if training else 1 + seed, 3, *config.image_size)
    with torch.no_grad():
        torch.testing.assert_close(projection(ours(x)), theirs(x), atol=1e-4, rtol=0)
        after, _ = state_of(theirs)  # training moves the running statistics alike
        for name, tensor in ours.state_dict().items():
            torch.testing.assert_close(tensor, after[name], atol=1e-5, rtol=1e-5)
    if not training:
        every_weight_shows(ours, lambda: ours(x))


def test_it_starts_as_its_shortcuts() -> None:
    torch.manual_seed(0)
    block = Bottleneck(16, 4, 1)
    x = torch.randn(2, 16, 3, 5)
    assert isinstance(block.shortcut, nn.Identity)
    torch.testing.assert_close(block(x), x.relu())


def test_images_need_not_be_square() -> None:
    torch.manual_seed(1)
    model = ResNet(SMALL).eval()
    x = torch.randn(2, 3, 32, 64)
    assert model.map(x).shape == (2, 128, 1, 2) and model(x).shape == (2, 128)
    model.resize((96, 32))
    assert model.pool.positions.table_LD.shape == (4, 128)
    assert model(torch.randn(1, 3, 96, 32)).shape == (1, 128)


def test_the_pools_query_is_the_mean() -> None:
    """Without positions, the places of the map may be exchanged."""
    torch.manual_seed(2)
    pool = AttentionPool((2, 2), 8, 2)
    x = torch.randn(1, 8, 2, 2)
    swapped = x.flip(2)
    assert (pool(x) - pool(swapped)).abs().max() > 1e-4
    nn.init.zeros_(pool.positions.table_LD)
    torch.testing.assert_close(pool(x), pool(swapped), atol=1e-6, rtol=0)
    same = pool(torch.ones(1, 8, 2, 2))[0]  # of equal keys the answer is their value
    torch.testing.assert_close(same, pool.attention.qkv(torch.ones(8))[16:])


def test_it_learns_and_gradients_reach_all() -> None:
    torch.manual_seed(3)
    model = Classifier(ClassifierConfig(SMALL, classes=4))
    for name, parameter in model.named_parameters():
        if name.endswith("norm_3.weight") or name == "head.weight":  # they start at zero
            nn.init.normal_(parameter, std=0.3)
    batch = {"pixels": torch.randn(8, 3, 32, 64), "labels": torch.arange(8) % 4}
    model(batch)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_bfloat16_is_near() -> None:
    torch.manual_seed(4)
    model = ResNet(SMALL).eval()
    randomise(model)
    x = torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        wanted, near = model(x), model.bfloat16()(x.bfloat16())
    assert (near.float() - wanted).abs().mean() < 0.05 * wanted.abs().mean()


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match=r"image_size=\(32, 40\) must be multiples of 32"):
        ResNet(replace(SMALL, image_size=(32, 40)))
    with pytest.raises(ValueError, match="head_width=24 must divide the 128 features"):
        ResNet(replace(SMALL, head_width=24))
    with pytest.raises(ValueError, match=r"pixels are \(32, 32\), the encoder takes \(32, 64\)"):
        ResNet(SMALL)(torch.zeros(1, 3, 32, 32))
