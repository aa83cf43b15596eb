"""The ViT against timm's and transformers', with every weight drawn anew; sizes; patch dropout."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import ViTConfig as TheirConfig
from transformers import ViTModel

from models.classifier import Classifier, ClassifierConfig
from models.vit import VIT_B_16, VIT_H_14, VIT_L_16, Patches, ViT, ViTConfig, drop_patches

SMALL = ViTConfig((24, 32), patch_size=8, width=24, depth=2, heads=3)


def randomise(model: nn.Module) -> None:
    """Draws every parameter, gains and biases too, so that none is at a value that hides it."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)


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


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_logits_are_those_of_timm(pooling: str) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, pooling=pooling)
    ours = Classifier(ClassifierConfig(config, classes=7)).eval()
    randomise(ours)
    theirs = timm.models.VisionTransformer(
        img_size=(24, 32),
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=3,
        num_classes=7,
        class_token=pooling == "cls",
        global_pool="token" if pooling == "cls" else "avg",
    ).eval()
    theirs.load_state_dict(to_timm(ours))
    x = torch.randn(2, 3, 24, 32)
    torch.testing.assert_close(ours.logits(x), theirs(x), atol=1e-4, rtol=1e-5)


def test_features_are_those_of_transformers() -> None:
    torch.manual_seed(1)
    ours = ViT(replace(SMALL, image_size=(24, 24), epsilon=1e-12)).eval()
    randomise(ours)
    config = TheirConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        image_size=24,
        patch_size=8,
    )
    theirs = ViTModel(config, add_pooling_layer=False).eval()
    theirs.load_state_dict(to_transformers(ours))
    x = torch.randn(2, 3, 24, 24)
    wanted = theirs(x).last_hidden_state[:, 0]
    torch.testing.assert_close(ours(x), wanted, atol=1e-4, rtol=1e-5)


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
    [(VIT_B_16, 86_567_656), (VIT_L_16, 304_326_632), (VIT_H_14, 632_045_800)],
)
def test_parameter_counts_are_the_papers(config: ViTConfig, count: int) -> None:
    with torch.device("meta"):
        model = Classifier(ClassifierConfig(config))
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("positions", ["none", "1d", "2d"])
def test_positions_decide_whether_patches_may_be_swapped(positions: str) -> None:
    torch.manual_seed(2)
    model = ViT(replace(SMALL, positions=positions)).eval()
    randomise(model)
    x = torch.randn(1, 3, 24, 32)
    swapped = x.clone()
    swapped[..., :8, :8], swapped[..., 8:16, 16:24] = x[..., 8:16, 16:24], x[..., :8, :8]
    same = torch.allclose(model(x), model(swapped), atol=1e-4)
    assert same == (positions == "none")


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
    with pytest.raises(ValueError, match=r"pixels are \(32, 32\), the encoder takes \(24, 32\)"):
        ViT(SMALL)(torch.zeros(1, 3, 32, 32))
