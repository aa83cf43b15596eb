"""QFormers: at the start, transformers' Swin without shifts, and a ViT that sees its window only;
sizes; training.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import SwinConfig, SwinModel
from transformers.models.swin.modeling_swin import SwinPatchMerging

from models.classifier import Classifier, ClassifierConfig
from models.vision.quadrangle import (
    QFORMER_B,
    QFORMER_S,
    QFORMER_T,
    Merging,
    PlainQuadrangleConfig,
    QuadrangleConfig,
    QuadrangleTransformer,
    plain_quadrangle,
)
from models.vision.quadrangle_attention import QuadrangleAttention
from models.vision.vit import VIT_B_16, ViT, ViTConfig
from tests.models.drawing import randomise

SMALL = QuadrangleConfig((24, 40), 2, 8, (1, 2), (2, 4), window=3, drop_path=0.0)
PLAIN = PlainQuadrangleConfig(ViTConfig((24, 32), 4, 24, 2, 3, pooling="mean"), window=3)


def randomise_rest(model: nn.Module) -> None:
    """All but the transformations and the convolutions beside them."""
    randomise(model, but=(".near.", ".regress."))


@pytest.mark.parametrize(
    ("config", "count"),
    [(QFORMER_T, 29_116_924), (QFORMER_S, 51_164_188), (QFORMER_B, 90_336_216)],
)
def test_parameter_counts_are_the_published_ones(config: QuadrangleConfig, count: int) -> None:
    with torch.device("meta"):
        model = Classifier(ClassifierConfig(config))
    assert sum(p.numel() for p in model.parameters()) == count


def test_plain_has_a_vits_parameters_and_the_attentions() -> None:
    config = PlainQuadrangleConfig(replace(VIT_B_16, pooling="mean"))
    with torch.device("meta"):
        plain, vit = Classifier(ClassifierConfig(config)), Classifier(ClassifierConfig(config.vit))
    more = 12 * (13 * 13 * 12 + 9 * 12 * (768 + 1))
    count = sum(p.numel() for p in plain.parameters())
    assert count == sum(p.numel() for p in vit.parameters()) + more


def to_swin(model: QuadrangleTransformer) -> dict[str, Tensor]:
    """transformers' names for our weights, without what Swin has not."""
    names = {
        "patches.": "embeddings.patch_embeddings.projection.",
        "norm_before.": "embeddings.norm.",
        "norm_after.": "layernorm.",
        ".block.norm_1.": ".layernorm_before.",
        ".block.norm_2.": ".layernorm_after.",
        ".block.attention.out.": ".attention.o_proj.",
        ".block.attention.relative.table_OH": (
            ".attention.relative_position_bias.relative_position_bias_table"
        ),
        ".block.mlp.up.": ".mlp.fc1.",
        ".block.mlp.down.": ".mlp.fc2.",
    }
    out = {}
    for name, tensor in model.state_dict().items():
        if ".near." in name or ".regress." in name:
            continue
        key = name
        if key.startswith("stages."):
            _, stage, place, rest = key.split(".", 3)
            if stage != "0" and place == "0":
                rest = rest.replace("reduce.", "reduction.")
                key = f"encoder.layers.{int(stage) - 1}.downsample.{rest}"
            else:
                place = str(int(place) - (stage != "0"))
                key = f"encoder.layers.{stage}.blocks.{place}.{rest}"
        for mine, other in names.items():
            key = key.replace(mine, other)
        if ".qkv." in key:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                out[key.replace(".block.attention.qkv.", f".attention.{letter}_proj.")] = part
        else:
            out[key] = tensor
    return out


def draw(seed: int) -> QuadrangleConfig:
    """A random small configuration whose maps its windows divide, as the two pad otherwise."""
    random_ = random.Random(seed)
    stages, window, patch = (
        random_.choice([1, 2, 3]),
        random_.choice([2, 3]),
        random_.choice([2, 3]),
    )
    side = patch * window * 2 ** (stages - 1)
    return QuadrangleConfig(
        image_size=(side * random_.randint(1, 2), side * random_.randint(1, 3)),
        patch_size=patch,
        width=8,
        depths=tuple(random_.randint(1, 2) for _ in range(stages)),
        heads=tuple(random_.choice([1, 2, 4]) for _ in range(stages)),
        window=window,
        drop_path=0.0,
    )


@pytest.mark.parametrize("seed", range(4))
def test_at_the_start_it_is_swin_without_shifts(
    seed: int, every_weight_shows: Callable[..., None]
) -> None:
    torch.manual_seed(seed)
    config = draw(seed)
    ours = QuadrangleTransformer(config).eval()
    randomise_rest(ours)
    for name, parameter in ours.named_parameters():
        if ".near." in name:
            nn.init.zeros_(parameter)
    theirs = SwinModel(
        SwinConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.width,
            depths=list(config.depths),
            num_heads=list(config.heads),
            window_size=config.window,
        )
    ).eval()
    for layer in theirs.encoder.layers:
        for block in layer.blocks:
            block.shift_size = 0
    theirs.load_state_dict(to_swin(ours))
    x = torch.randn(2, 3, *config.image_size)
    with torch.no_grad():
        wanted = theirs(x)
        tokens = wanted.last_hidden_state
        torch.testing.assert_close(ours.sequence(x), tokens, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(ours(x), wanted.pooler_output, atol=1e-4, rtol=1e-5)
    every_weight_shows(ours, lambda: ours(x), unread=(".near.", ".quadrangles."))


@pytest.mark.parametrize("grid", [(4, 6), (3, 6), (5, 3)])
def test_merging_is_swins(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = Merging(6, grid, 1e-5), SwinPatchMerging(6)
    randomise_rest(ours)
    state = {name.replace("reduce", "reduction"): t for name, t in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x = torch.randn(2, grid[0] * grid[1], 6)
    torch.testing.assert_close(ours(x), theirs(x, grid), atol=1e-5, rtol=0)


def windows_only(grid: tuple[int, int], window: int) -> Tensor:
    """(L, L): true for two patches in the same window."""
    row, column = (torch.arange(side) // window for side in grid)
    number = (row[:, None] * 100 + column).flatten()
    return number[:, None] == number


def test_plain_at_the_start_is_a_vit_that_sees_its_window() -> None:
    torch.manual_seed(1)
    config = replace(PLAIN, vit=replace(PLAIN.vit, image_size=(24, 36)))
    ours, vit = plain_quadrangle(config).eval(), ViT(config.vit).eval()
    randomise_rest(ours)
    state = ours.state_dict()
    for name, tensor in state.items():
        if "table_OH" in name:
            tensor.zero_()
    vit.load_state_dict({name: state[name] for name in vit.state_dict()})
    x = torch.randn(2, 3, 24, 36)
    with torch.no_grad():
        y = vit.tokens(x)
        for block in vit.transformer.blocks:
            y = block(y, mask=windows_only((6, 9), 3))
        torch.testing.assert_close(ours.sequence(x), vit.norm_after(y), atol=1e-4, rtol=1e-5)
        assert (ours.sequence(x) - vit.sequence(x)).abs().max() > 1e-2


@pytest.mark.parametrize("config", [SMALL, PLAIN])
def test_every_parameter_learns_and_the_transformations_start_at_zero(config: Any) -> None:
    torch.manual_seed(2)
    model = Classifier(ClassifierConfig(config, classes=5))
    nn.init.normal_(model.head.weight)  # starts at zero, which lets nothing through
    regress = [p for name, p in model.named_parameters() if ".regress." in name]
    assert regress and all(bool((p == 0).all()) for p in regress)
    batch = {"pixels": torch.randn(4, 3, *config.image_size), "labels": torch.arange(4)}
    model(batch)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("config", [SMALL, PLAIN])
def test_it_fits_a_batch_and_its_quadrangles_move(config: Any) -> None:
    torch.manual_seed(3)
    model = Classifier(ClassifierConfig(config, classes=4))
    labels = torch.arange(8) % 4
    pixels = torch.randn(4, 3, 1, 1)[labels] + 0.5 * torch.randn(8, 3, *config.image_size)
    batch = {"pixels": pixels, "labels": labels}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(25):
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
    assert float(model.eval()(batch)["accuracy"]) == 1.0
    moved = [p.abs().max() for name, p in model.named_parameters() if ".regress." in name]
    assert min(float(change.detach()) for change in moved) > 1e-3


def test_stochastic_depth_rises_over_all_stages() -> None:
    model = QuadrangleTransformer(replace(SMALL, drop_path=0.4))
    shares = [
        module.config.drop_path
        for module in model.modules()
        if isinstance(getattr(module, "attention", None), QuadrangleAttention)
    ]
    assert shares == pytest.approx([0.0, 0.2, 0.4])
    x = torch.randn(6, 3, 24, 40)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize("config", [SMALL, PLAIN])
def test_another_resolution_needs_no_new_weights(config: Any) -> None:
    torch.manual_seed(4)
    is_plain = isinstance(config, PlainQuadrangleConfig)
    model = (plain_quadrangle(config) if is_plain else QuadrangleTransformer(config)).eval()
    randomise_rest(model)
    size = (16, 56)
    model.resize(size)
    if is_plain:
        other = plain_quadrangle(replace(config, vit=replace(config.vit, image_size=size))).eval()
    else:
        other = QuadrangleTransformer(replace(config, image_size=size)).eval()
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, *size)
    assert torch.equal(model(x), other(x))


def test_attention_maps_of_the_plain_one() -> None:
    torch.manual_seed(5)
    model = plain_quadrangle(replace(PLAIN, vit=replace(PLAIN.vit, image_size=(24, 36)))).eval()
    maps = model.attention_maps(torch.randn(1, 3, 24, 36))
    assert maps.shape == (2, 1, 3, 54, 54)
    away = ~windows_only((6, 9), 3)
    assert float(maps[..., away].detach().abs().max()) < 1e-5
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 1, 3, 54), atol=1e-5, rtol=0)


def test_bfloat16_is_near() -> None:
    torch.manual_seed(6)
    model = QuadrangleTransformer(SMALL).eval()
    x = torch.randn(1, 3, 24, 40)
    with torch.no_grad():
        wanted, near = model(x), model.bfloat16()(x.bfloat16())
    assert near.dtype == torch.bfloat16
    assert (near.float() - wanted).abs().mean() < 0.05 * wanted.abs().mean()


def test_wrong_configurations_are_named() -> None:
    for wrong in ({"pooling": "cls"}, {"positions": "relative"}, {"patch_dropout": 0.5}):
        with pytest.raises(ValueError, match="quadrangles need the whole map"):
            plain_quadrangle(replace(PLAIN, vit=replace(PLAIN.vit, **wrong)))
    with pytest.raises(ValueError, match=r"patch_size=2 must divide image_size=\(25, 40\)"):
        QuadrangleTransformer(replace(SMALL, image_size=(25, 40)))
    with pytest.raises(ValueError, match=r"heads=\(2,\) must be as many as depths=\(1, 2\)"):
        QuadrangleTransformer(replace(SMALL, heads=(2,)))
    with pytest.raises(ValueError, match=r"pixels are \(24, 24\), the encoder takes \(24, 40\)"):
        QuadrangleTransformer(SMALL)(torch.zeros(1, 3, 24, 24))
