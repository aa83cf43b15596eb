"""The three figures' numbers against plain loops, scikit-learn, and what is known in advance."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from models.vision.analysis import (
    attention_distance,
    attention_distances,
    filter_components,
    patch_distances,
    position_similarity,
    uniform_distance,
)
from models.vision.quadrangle import PlainQuadrangleConfig, plain_quadrangle
from models.vision.vit import ViT, ViTConfig
from tests.models.drawing import randomise

SMALL = ViTConfig((24, 32), patch_size=8, width=24, depth=2, heads=3)


def plain_distance(
    maps: torch.Tensor, grid: tuple[int, int], patch: int, prefix: int
) -> list[float]:
    """Of one layer (B, H, L, L), a head at a time."""
    (rows, columns), found = grid, []
    for head in range(maps.shape[1]):
        means = []
        for image in range(maps.shape[0]):
            for query in range(rows * columns):
                row = maps[image, head, prefix + query, prefix:].tolist()
                far = 0.0
                for key, weight in enumerate(row):
                    down = query // columns - key // columns
                    right = query % columns - key % columns
                    far += weight * patch * math.sqrt(down**2 + right**2)
                means.append(far / sum(row))
        found.append(sum(means) / len(means))
    return found


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_a_plain_loop(pooling: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = ViT(replace(SMALL, pooling=pooling)).eval()
    randomise(model)
    x = torch.randn(5, 3, 24, 32)
    found = attention_distances(model, x, batch_size=2)
    maps = model.attention_maps(x).detach()
    for layer in range(2):
        wanted = plain_distance(maps[layer], (3, 4), 8, pooling == "cls")
        assert found[layer].tolist() == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (4, 4)])
def test_known_heads(grid: tuple[int, int], prefix: int) -> None:
    length = prefix + grid[0] * grid[1]
    distance = patch_distances(grid, 16)
    alike = torch.full((2, 3, length, length), 1 / length)
    pairs = [
        16 * math.hypot(a // grid[1] - b // grid[1], a % grid[1] - b % grid[1])
        for a in range(grid[0] * grid[1])
        for b in range(grid[0] * grid[1])
    ]
    uniform = sum(pairs) / len(pairs)
    assert uniform_distance(grid, 16) == pytest.approx(uniform, abs=1e-4)
    assert attention_distance(alike, distance).tolist() == pytest.approx([uniform] * 3, abs=1e-4)
    itself = torch.eye(length).expand(2, 3, -1, -1)
    assert attention_distance(itself, distance).tolist() == [0.0] * 3


def test_the_class_token_takes_nothing_away() -> None:
    """A head that gives it nine tenths looks as far as one that gives it none."""
    distance = patch_distances((1, 2), 10)
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.05, 0.05], [0.0, 0.5, 0.5]])
    assert attention_distance(rows[None, None], distance).tolist() == [5.0]
    only_class = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    assert attention_distance(only_class[None, None], distance).tolist() == [0.0]


def test_window_attention_stays_in_its_window() -> None:
    torch.manual_seed(0)
    config = ViTConfig((32, 48), 8, 16, 1, 2, pooling="mean")
    model = plain_quadrangle(PlainQuadrangleConfig(config, window=2)).eval()
    for name, parameter in model.named_parameters():
        if ".regress." not in name:
            nn.init.zeros_(parameter)  # then attention in a window is even
    found = attention_distances(model, torch.randn(2, 3, 32, 48))
    assert found[0].tolist() == pytest.approx([uniform_distance((2, 2), 8)] * 2, abs=1e-4)


@pytest.mark.parametrize("positions", ["1d", "2d"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_similarity_equals_a_plain_loop(positions: str, pooling: str) -> None:
    torch.manual_seed(1)
    model = ViT(replace(SMALL, positions=positions, pooling=pooling))
    found = position_similarity(model)
    for a in range(12):
        for b in range(12):
            u, v = (vector_of(model, place) for place in (a, b))
            wanted = float(u @ v / (u.norm() * v.norm()))
            assert float(found[a, b]) == pytest.approx(wanted, abs=1e-5)
    torch.testing.assert_close(found.diagonal(), torch.ones(12))


def vector_of(model: ViT, place: int) -> torch.Tensor:
    """A patch's position vector, out of its table."""
    table = model.positions
    if model.config.positions == "1d":
        return table.table_LD[place + (model.config.pooling == "cls")].detach()
    return torch.cat([table.rows_RD[place // 4], table.columns_CD[place % 4]]).detach()


@pytest.mark.parametrize("positions", ["none", "relative"])
def test_a_model_without_a_table_has_no_similarity(positions: str) -> None:
    with pytest.raises(ValueError, match=f"positions='{positions}' adds no vectors"):
        position_similarity(ViT(replace(SMALL, positions=positions)))


@pytest.mark.parametrize(("width", "patch"), [(24, 4), (60, 4), (24, 2)])
def test_components_are_those_of_scikit_learn(width: int, patch: int) -> None:
    torch.manual_seed(2)
    model = ViT(ViTConfig((8, 8), patch, width, 1, 2))
    randomise(model)
    count = min(10, width - 1, 3 * patch**2)
    found, share = filter_components(model, count)
    theirs = PCA(count, svd_solver="full").fit(model.patches.weight.detach().flatten(1).numpy())
    assert found.shape == (count, 3, patch, patch)
    assert share.tolist() == pytest.approx(theirs.explained_variance_ratio_, abs=1e-5)
    for ours, other in zip(found.flatten(1), torch.tensor(theirs.components_), strict=True):
        sign = torch.sign(ours @ other)
        torch.testing.assert_close(ours, sign * other, atol=1e-4, rtol=0)
        assert ours[ours.abs().argmax()] > 0


def test_fewer_filters_than_components() -> None:
    found, share = filter_components(ViT(ViTConfig((8, 8), 2, 4, 1, 2)), 28)
    assert found.shape == (3, 3, 2, 2) and share.shape == (3,)
    assert float(share.sum()) == pytest.approx(1.0)
