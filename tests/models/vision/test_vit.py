"""The ViT against timm's, transformers' and torchvision's: sizes drawn by seed, every weight anew;
positions, resolutions, patch dropout.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from transformers import ViTConfig as TheirConfig
from transformers import ViTModel

from models.classifier import Classifier, ClassifierConfig
from models.vision.vit import (
    VIT_B_16,
    VIT_B_32,
    VIT_H_14,
    VIT_L_14,
    VIT_L_16,
    Patches,
    ViT,
    ViTConfig,
    drop_patches,
)
from tests.models.drawing import randomise

SMALL = ViTConfig((24, 32), patch_size=8, width=24, depth=2, heads=3)


def to_timm(model: Classifier) -> dict[str, Tensor]:
    """timm's names for our weights."""
    out = {}
    for name, tensor in model.state_dict().items():
        key = name
        for ours, theirs in (
            ("encoder.patches.", "patch_embed.proj."),
            ("encoder.positions.table_LD", "pos_embed"),
            ("encoder.class_token_D", "cls_token"),
            ("encoder.transformer.blocks.", "blocks."),
            ("encoder.norm_after.", "fc_norm." if model.encoder.class_token_D is None else "norm."),
            (".norm_1.", ".norm1."),
            (".norm_2.", ".norm2."),
            (".attention.qkv.", ".attn.qkv."),
            (".attention.out.", ".attn.proj."),
            (".mlp.up.", ".mlp.fc1."),
            (".mlp.down.", ".mlp.fc2."),
        ):
            key = key.replace(ours, theirs)
        lead = {"pos_embed": 1, "cls_token": 2}.get(key, 0)
        out[key] = tensor[(None,) * lead] if lead else tensor
    return out


def draw(seed: int, square: bool = False, **more: Any) -> ViTConfig:
    """A random small configuration, mostly of images that are not square."""
    random_ = random.Random(seed)
    patch, heads = random_.choice([2, 4, 8]), random_.choice([1, 2, 3])
    rows = random_.randint(1, 4)
    columns = rows if square else random_.choice([n for n in range(1, 5) if n != rows])
    width = heads * random_.choice([4, 8])
    config = ViTConfig(
        image_size=(patch * rows, patch * columns),
        patch_size=patch,
        width=width,
        depth=random_.randint(1, 3),
        heads=heads,
        hidden=random_.choice([None, 20, 3 * width]),
    )
    return replace(config, **more)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_logits_are_those_of_timm(seed: int, pooling: str) -> None:
    torch.manual_seed(seed)
    config = draw(seed, pooling=pooling)
    ours = Classifier(ClassifierConfig(config, classes=7)).eval()
    randomise(ours)
    theirs = timm.models.VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.heads,
        mlp_ratio=(config.hidden or 4 * config.width) / config.width,
        num_classes=7,
        class_token=pooling == "cls",
        global_pool="token" if pooling == "cls" else "avg",
    ).eval()
    theirs.load_state_dict(to_timm(ours))
    x = torch.randn(2, 3, *config.image_size)
    torch.testing.assert_close(ours.logits(x), theirs(x), atol=1e-4, rtol=1e-5)
    if pooling == "cls":
        wanted = theirs.forward_features(x)
        torch.testing.assert_close(ours.encoder.sequence(x), wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_tokens_and_attention_are_those_of_transformers(
    seed: int, every_weight_shows: Callable[..., None]
) -> None:
    torch.manual_seed(seed)
    config = draw(seed, epsilon=1e-12)
    ours = ViT(config).eval()
    randomise(ours)
    theirs = ViTModel(their_config(config), add_pooling_layer=False).eval()
    theirs.load_state_dict(to_transformers(ours))
    x = torch.randn(1 + seed, 3, *config.image_size)
    wanted = theirs(x, output_attentions=True)
    torch.testing.assert_close(ours.sequence(x), wanted.last_hidden_state, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(ours(x), wanted.last_hidden_state[:, 0], atol=1e-4, rtol=1e-5)
    maps = ours.attention_maps(x)
    assert maps.shape[0] == len(wanted.attentions) == config.depth
    torch.testing.assert_close(maps, torch.stack(wanted.attentions), atol=1e-5, rtol=1e-5)
    every_weight_shows(ours, lambda: ours.sequence(x))


def their_config(config: ViTConfig) -> TheirConfig:
    """transformers' name for the same dimensions."""
    return TheirConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.hidden or 4 * config.width,
        image_size=config.image_size,
        patch_size=config.patch_size,
        layer_norm_eps=config.epsilon,
        attn_implementation="eager",
    )


@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_of_torchvision(seed: int) -> None:
    torch.manual_seed(seed)
    config = draw(seed, square=True)  # torchvision has no other
    ours = ViT(config).eval()
    randomise(ours)
    theirs = VisionTransformer(
        image_size=config.image_size[0],
        patch_size=config.patch_size,
        num_layers=config.depth,
        num_heads=config.heads,
        hidden_dim=config.width,
        mlp_dim=config.hidden or 4 * config.width,
        num_classes=5,
    ).eval()
    theirs.heads = nn.Identity()
    theirs.load_state_dict(to_torchvision(ours))
    x = torch.randn(2, 3, *config.image_size)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-5)


def to_torchvision(model: ViT) -> dict[str, Tensor]:
    """torchvision's names for our weights."""
    names = {
        "patches.": "conv_proj.",
        "positions.table_LD": "encoder.pos_embedding",
        "class_token_D": "class_token",
        "transformer.blocks.": "encoder.layers.encoder_layer_",
        "norm_after.": "encoder.ln.",
        ".norm_1.": ".ln_1.",
        ".norm_2.": ".ln_2.",
        ".attention.qkv.": ".self_attention.in_proj_",
        ".attention.out.": ".self_attention.out_proj.",
        ".mlp.up.": ".mlp.0.",
        ".mlp.down.": ".mlp.3.",
    }
    out = {}
    for name, tensor in model.state_dict().items():
        key = name
        for mine, other in names.items():
            key = key.replace(mine, other)
        lead = {"encoder.pos_embedding": 1, "class_token": 2}.get(key, 0)
        out[key] = tensor[(None,) * lead] if lead else tensor
    return out


def to_transformers(model: ViT) -> dict[str, Tensor]:
    """transformers' names for our weights."""
    names = {
        "patches.": "embeddings.patch_embeddings.projection.",
        "positions.table_LD": "embeddings.position_embeddings",
        "class_token_D": "embeddings.cls_token",
        "transformer.blocks.": "layers.",
        "norm_after.": "layernorm.",
        ".norm_1.": ".layernorm_before.",
        ".norm_2.": ".layernorm_after.",
        ".attention.out.": ".attention.o_proj.",
        ".mlp.up.": ".mlp.fc1.",
        ".mlp.down.": ".mlp.fc2.",
    }
    out = {}
    for name, tensor in model.state_dict().items():
        key = name
        for mine, other in names.items():
            key = key.replace(mine, other)
        if ".qkv." in key:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                out[key.replace(".qkv.", f".{letter}_proj.")] = part
        else:
            lead = {"embeddings.position_embeddings": 1, "embeddings.cls_token": 2}.get(key, 0)
            out[key] = tensor[(None,) * lead] if lead else tensor
    return out


def test_patches_are_a_strided_convolution() -> None:
    patches = Patches(4, 6, bias=True)
    x = torch.randn(2, 3, 8, 12)
    wanted = nn.functional.conv2d(x, patches.weight, patches.bias, stride=4)
    torch.testing.assert_close(patches(x), wanted.flatten(2).transpose(1, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (VIT_B_16, 86_567_656),
        (VIT_B_32, 88_224_232),
        (VIT_L_16, 304_326_632),
        (VIT_L_14, 304_203_752),
        (VIT_H_14, 632_045_800),
    ],
)
def test_parameter_counts_are_the_papers(config: ViTConfig, count: int) -> None:
    with torch.device("meta"):
        model = Classifier(ClassifierConfig(config))
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("positions", ["none", "1d", "2d", "relative"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_positions_decide_whether_patches_may_be_swapped(positions: str, pooling: str) -> None:
    torch.manual_seed(2)
    model = ViT(replace(SMALL, positions=positions, pooling=pooling)).eval()
    randomise(model)
    x = torch.randn(1, 3, 24, 32)
    swapped = x.clone()
    swapped[..., :8, :8], swapped[..., 8:16, 16:24] = x[..., 8:16, 16:24], x[..., :8, :8]
    same = torch.allclose(model(x), model(swapped), atol=1e-4)
    assert same == (positions == "none")


def test_relative_positions_are_each_layers_own() -> None:
    torch.manual_seed(3)
    model = ViT(replace(SMALL, positions="relative"))
    tables = [name for name, _ in model.named_parameters() if name.endswith("table_EK")]
    assert tables == [f"transformer.blocks.{i}.attention.relative.table_EK" for i in (0, 1)]
    model(torch.randn(2, 3, 24, 32)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_relative_parameter_count() -> None:
    with torch.device("meta"):
        model = Classifier(ClassifierConfig(replace(VIT_B_16, positions="relative")))
    count = sum(p.numel() for p in model.parameters())
    assert count == 86_567_656 - 197 * 768 + 12 * (27 * 27 + 3) * 64


@pytest.mark.parametrize("positions", ["1d", "2d", "relative", "none"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_sequence_and_maps_fit_the_features(positions: str, pooling: str) -> None:
    torch.manual_seed(5)
    model = ViT(replace(SMALL, positions=positions, pooling=pooling)).eval()
    randomise(model)
    x = torch.randn(2, 3, 24, 32)
    tokens, maps = model.sequence(x), model.attention_maps(x)
    length = 13 if pooling == "cls" else 12
    assert tokens.shape == (2, length, 24) and maps.shape == (2, 2, 3, length, length)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 2, 3, length))
    if pooling == "cls":
        torch.testing.assert_close(tokens[:, 0], model(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_a_resized_model_is_transformers_interpolating(seed: int) -> None:
    """transformers interpolates at each call, without antialiasing."""
    torch.manual_seed(seed)
    config = draw(seed, square=True, epsilon=1e-12)
    ours = ViT(config).eval()
    randomise(ours)
    theirs = ViTModel(their_config(config), add_pooling_layer=False).eval()
    theirs.load_state_dict(to_transformers(ours))
    size = (config.patch_size * 5, config.patch_size * 3)
    ours.resize(size, antialias=False)
    assert ours.config == replace(config, image_size=size)
    x = torch.randn(2, 3, *size)
    wanted = theirs(x, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(ours.sequence(x), wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("positions", ["2d", "relative"])
def test_other_tables_resize_and_fit_a_new_model(positions: str) -> None:
    torch.manual_seed(6)
    model = ViT(replace(SMALL, positions=positions)).eval()
    randomise(model)
    model.resize((40, 16))
    x = torch.randn(1, 3, 40, 16)
    other = ViT(replace(SMALL, positions=positions, image_size=(40, 16))).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


def test_one_patch_and_one_image() -> None:
    torch.manual_seed(7)
    model = ViT(ViTConfig((8, 8), 8, width=8, depth=1, heads=2, pooling="mean")).eval()
    assert model(torch.randn(1, 3, 8, 8)).shape == (1, 8)
    assert torch.equal(model.attention_maps(torch.randn(1, 3, 8, 8)), torch.ones(1, 1, 2, 1, 1))


@pytest.mark.parametrize("positions", ["1d", "relative"])
def test_bfloat16_is_near(positions: str) -> None:
    torch.manual_seed(8)
    model = ViT(replace(SMALL, positions=positions)).eval()
    x = torch.randn(2, 3, 24, 32)
    with torch.no_grad():
        wanted, near = model(x), model.bfloat16()(x.bfloat16())
    assert near.dtype == torch.bfloat16
    assert (near.float() - wanted).abs().mean() < 0.03 * wanted.abs().mean()


def test_stochastic_depth_runs_in_training_only() -> None:
    torch.manual_seed(9)
    model = ViT(replace(SMALL, drop_path=0.9))
    x = torch.randn(8, 3, 24, 32)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


def test_patch_dropout_keeps_whole_patches_and_only_in_training() -> None:
    torch.manual_seed(3)
    model = ViT(replace(SMALL, patch_dropout=0.5, pooling="mean", positions="none"))
    x = torch.randn(4, 3, 24, 32)
    assert model.train().tokens(x).shape == (4, 6, 24)
    whole = model.eval().tokens(x)
    assert whole.shape == (4, 12, 24)
    torch.manual_seed(4)
    kept = drop_patches(whole, 0.5)
    for row in range(4):
        places = [int((whole[row] == token).all(dim=1).nonzero()) for token in kept[row]]
        assert len(set(places)) == 6
    torch.manual_seed(4)
    assert torch.equal(drop_patches(whole, 0.5), kept)
    assert drop_patches(whole, 0.99).shape == (4, 1, 24)


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match=r"patch_size=16 must divide image_size=\(24, 32\)"):
        ViT(replace(SMALL, patch_size=16))
    with pytest.raises(ValueError, match=r"patch_dropout=1.0 must be in \[0, 1\)"):
        ViT(replace(SMALL, patch_dropout=1.0))
    with pytest.raises(ValueError, match=r"patch_dropout=0.5 must be 0 with positions='relative'"):
        ViT(replace(SMALL, positions="relative", patch_dropout=0.5))
    with pytest.raises(ValueError, match=r"patch_size=8 must divide image_size=\(20, 32\)"):
        ViT(SMALL).resize((20, 32))
    with pytest.raises(ValueError, match=r"pixels are \(32, 32\), the encoder takes \(24, 32\)"):
        ViT(SMALL)(torch.zeros(1, 3, 32, 32))
