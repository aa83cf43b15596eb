"""Quadrangle attention against a plain loop over windows and heads, and by transformations whose
effect is known.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.vision.quadrangle_attention import (
    MARGIN,
    QuadrangleAttention,
    Quadrangles,
    outside,
    quadrangles,
    recorded,
    transformations,
)


def randomise(model: nn.Module, deviation: float = 0.3) -> None:
    """Draws every parameter, the transformations' too."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=deviation)


def matrix(n: Tensor, windows: tuple[int, int]) -> Tensor:
    """The 3 x 3 of nine numbers, as the product that defines it."""
    x, y, wide, high, a, b, p_1, p_2, turn = n.tolist()
    cos, sin = math.cos(turn), math.sin(turn)
    affine = (
        torch.tensor([[cos, sin], [-sin, cos]])
        @ torch.tensor([[1, a], [b, 1]])
        @ torch.tensor([[wide + 1, 0], [0, high + 1]])
    )
    out = torch.eye(3)
    out[:2, :2], out[:2, 2] = affine, torch.tensor([x / windows[1], y / windows[0]])
    out[2, :2] = torch.tensor([p_1, p_2])
    return out


def plain(module: QuadrangleAttention, x: Tensor) -> Tensor:
    """One image, one head and one window at a time."""
    (rows, columns), P, H = module.grid, module.window, module.heads
    down, across = math.ceil(rows / P), math.ceil(columns / P)
    Y, X = down * P, across * P
    K = x.shape[2] // H
    out = torch.zeros_like(x)
    bias, regress = module.relative.table_OH, module.quadrangles.regress
    for b in range(len(x)):
        qkv, normed = torch.zeros(Y, X, 3 * x.shape[2]), torch.zeros(Y, X, x.shape[2])
        qkv[:rows, :columns] = module.qkv(x[b]).view(rows, columns, -1)
        normed[:rows, :columns] = x[b].view(rows, columns, -1)
        answers = torch.zeros(Y, X, x.shape[2])
        for r in range(down):
            for c in range(across):
                window = (slice(r * P, r * P + P), slice(c * P, c * P + P))
                mean = F.leaky_relu(normed[window].mean(dim=(0, 1)))
                numbers = (regress.weight[:, :, 0, 0] @ mean + regress.bias).view(H, 9)
                for h in range(H):
                    q, k, v = (
                        qkv[..., i * H * K + h * K : i * H * K + h * K + K] for i in range(3)
                    )
                    places = torch.zeros(P, P, 2)
                    M = matrix(numbers[h], (down, across))
                    for i in range(P):
                        for j in range(P):
                            dx = (j - (P - 1) / 2) * 2 / (X - 1)
                            dy = (i - (P - 1) / 2) * 2 / (Y - 1)
                            u, w, z = (M @ torch.tensor([dx, dy, 1.0])).tolist()
                            centre_x = -1 + (c * P + (P - 1) / 2) * 2 / (X - 1)
                            centre_y = -1 + (r * P + (P - 1) / 2) * 2 / (Y - 1)
                            places[i, j] = torch.tensor([u / z + centre_x, w / z + centre_y])
                    k, v = (
                        F.grid_sample(t.permute(2, 0, 1)[None], places[None], align_corners=True)
                        for t in (k, v)
                    )
                    k, v = k[0].flatten(1).T, v[0].flatten(1).T
                    logits = q[window].reshape(P * P, K) @ k.T / math.sqrt(K)
                    for i in range(P * P):
                        for j in range(P * P):
                            dy, dx = i // P - j // P + P - 1, i % P - j % P + P - 1
                            logits[i, j] += bias[dy * (2 * P - 1) + dx, h]
                    answers[(*window, slice(h * K, h * K + K))] = (logits.softmax(1) @ v).view(
                        P, P, K
                    )
        out[b] = answers[:rows, :columns].reshape(rows * columns, -1)
    return module.out(out)


def draw(seed: int) -> QuadrangleAttention:
    """A random small attention, mostly on maps that its windows do not divide."""
    torch.manual_seed(seed)
    random_ = random.Random(seed)
    heads, window = random_.choice([1, 2, 3]), random_.choice([2, 3])
    grid = (random_.randint(1, 7), random_.randint(window + 1, 7))
    return QuadrangleAttention(4 * heads, heads, grid, window).eval()


@pytest.mark.parametrize("seed", range(6))
def test_equals_a_plain_loop(seed: int, every_weight_shows: Callable[..., None]) -> None:
    module = draw(seed)
    randomise(module)
    x = torch.randn(2, module.grid[0] * module.grid[1], 4 * module.heads)
    with torch.no_grad():
        torch.testing.assert_close(module(x), plain(module, x), atol=1e-4, rtol=0)
    every_weight_shows(module, lambda: module(x))


def test_swapping_two_numbers_of_the_transformation_shows() -> None:
    module = draw(0)
    randomise(module)
    x = torch.randn(1, module.grid[0] * module.grid[1], 4 * module.heads)
    with torch.no_grad():
        wanted = plain(module, x)
        for a, b in ((0, 1), (2, 3), (4, 5), (6, 7), (7, 8)):
            regress = module.quadrangles.regress
            before = {name: tensor.clone() for name, tensor in regress.state_dict().items()}
            for parameter in regress.parameters():
                parameter[[a, b]] = parameter[[b, a]]
            assert (module(x) - wanted).abs().max() > 1e-3, (a, b)
            regress.load_state_dict(before)


def test_matrices_are_the_product_of_their_parts() -> None:
    torch.manual_seed(0)
    numbers = torch.randn(2, 3, 4, 9)
    found = transformations(numbers, (2, 5))
    for place in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        torch.testing.assert_close(found[place], matrix(numbers[place], (2, 5)))


def places_of(numbers: list[float], padded: tuple[int, int], window: int) -> Tensor:
    """Of one image and one head with the same numbers in every window: (T, N, 2)."""
    windows = (padded[0] // window, padded[1] // window)
    nine = torch.tensor(numbers).expand(1, 1, windows[0] * windows[1], 9)
    return quadrangles(transformations(nine, windows), padded, window)[0, 0]


NOTHING = [0.0] * 9


def test_windows_start_where_they_are() -> None:
    places = places_of(NOTHING, (4, 6), 2).view(2, 3, 2, 2, 2)
    y, x = torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 6)
    for r in range(2):
        for c in range(3):
            for i in range(2):
                for j in range(2):
                    wanted = torch.stack([x[c * 2 + j], y[r * 2 + i]])
                    torch.testing.assert_close(places[r, c, i, j], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "numbers", "three"),
    [
        ("scale", [0, 0, 1.0, -0.5, 0, 0, 0, 0, 0], [[2, 0, 0], [0, 0.5, 0], [0, 0, 1]]),
        ("shear", [0, 0, 0, 0, 0.3, -0.2, 0, 0, 0], [[1, 0.3, 0], [-0.2, 1, 0], [0, 0, 1]]),
        ("quarter turn", [0] * 8 + [math.pi / 2], [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        ("projection", [0, 0, 0, 0, 0, 0, 0.5, -0.7, 0], [[1, 0, 0], [0, 1, 0], [0.5, -0.7, 1]]),
        ("translation", [0.6, -0.4] + [0] * 7, [[1, 0, 0.3], [0, 1, -0.1], [0, 0, 1]]),
    ],
)
def test_each_kind_moves_points_as_its_matrix_says(
    name: str, numbers: list[float], three: list[list[float]]
) -> None:
    padded, window = (12, 6), 3  # four windows down, two across
    moved, still = places_of(numbers, padded, window), places_of(NOTHING, padded, window)
    centre = still.mean(dim=1, keepdim=True)
    local = (
        torch.cat([still - centre, torch.ones(8, 9, 1)], dim=2)
        @ torch.tensor(three, dtype=torch.float32).T
    )
    wanted = local[..., :2] / local[..., 2:] + centre
    torch.testing.assert_close(moved, wanted, atol=1e-6, rtol=0)


def test_a_quarter_turn_of_a_square_window_permutes_its_places() -> None:
    still, turned = (
        places_of(numbers, (6, 6), 3) for numbers in (NOTHING, [0.0] * 8 + [math.pi / 2])
    )
    order = torch.arange(9).view(3, 3).rot90(-1).flatten()
    torch.testing.assert_close(turned, still[:, order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_offset_of_one_window_is_attention_to_the_next(axis: int) -> None:
    torch.manual_seed(0)
    module = QuadrangleAttention(8, 2, (6, 9), 3).eval()
    randomise(module)
    nn.init.zeros_(module.quadrangles.regress.weight)
    sides, numbers = (9, 6), [0.0] * 9  # x first
    pitch = 3 * 2 / (sides[axis] - 1)
    numbers[axis] = pitch * (sides[axis] // 3)  # the unit is a half map over the windows across
    x = torch.randn(2, 54, 8)
    with torch.no_grad():
        module.quadrangles.regress.bias.copy_(torch.tensor(numbers * 2))
        found = module(x).view(2, 6, 9, 8)
        q, k, v = module.project(x)
        shift = (0, -3) if axis == 0 else (-3, 0)
        k, v = (t.view(2, 2, 6, 9, 4).roll(shift, dims=(2, 3)).reshape(2, 2, 54, 4) for t in (k, v))
        mixed = module.mix(module.cut(q), module.cut(k), module.cut(v))
        wanted = module.merge(module.joined(mixed)).view(2, 6, 9, 8)
    inner = (slice(None), slice(None), slice(0, 6)) if axis == 0 else (slice(None), slice(0, 3))
    torch.testing.assert_close(found[inner], wanted[inner], atol=1e-4, rtol=0)
    beyond = found[:, :, 6:] if axis == 0 else found[:, 3:]
    # Outside the map there are zeros, which answer with zeros.
    assert (beyond - module.out.bias).abs().max() < 1e-5


def test_it_starts_as_window_attention() -> None:
    torch.manual_seed(1)
    module = QuadrangleAttention(12, 3, (4, 6), 2).eval()
    x = torch.randn(2, 24, 12)
    with torch.no_grad():
        cut = [module.cut(part) for part in module.project(x)]
        wanted = module.merge(module.joined(module.mix(*cut)))
        torch.testing.assert_close(module(x), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid", [(3, 3), (2, 3), (1, 1)])
def test_a_single_window_is_not_transformed(grid: tuple[int, int]) -> None:
    torch.manual_seed(2)
    module = QuadrangleAttention(8, 2, grid, 3)
    randomise(module)
    x = torch.randn(2, grid[0] * grid[1], 8)
    with recorded(module) as places:
        before = module(x)
    assert places == []
    nn.init.normal_(module.quadrangles.regress.weight)
    assert torch.equal(module(x), before)


def test_maps_times_values_are_the_answer() -> None:
    module = draw(3)
    randomise(module)
    x = torch.randn(2, module.grid[0] * module.grid[1], 4 * module.heads)
    with torch.no_grad():
        maps = module.maps(x)
        _, _, v = module.project(x)
        torch.testing.assert_close(module.merge(maps @ v), module(x), atol=1e-5, rtol=0)
        assert bool((maps.sum(dim=-1) < 1.0 + 1e-5).all())


def test_the_force_is_the_gradient_of_the_penalty() -> None:
    torch.manual_seed(4)
    x = torch.randn(2, 24, 8)
    gradients = []
    for pull in (0.2, 0.0):
        torch.manual_seed(5)
        module = QuadrangleAttention(8, 2, (4, 6), 2, pull).train()
        randomise(module)
        with recorded(module) as places:
            loss = module(x).square().mean()
        assert len(places) == 1 and places[0].shape == (2, 2, 6, 4, 2)
        assert float(outside(places).detach()) > 0
        if not pull:
            loss = loss + 10 * 0.2 * outside(places)
        loss.backward()
        gradients.append({name: p.grad for name, p in module.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-4)


def test_the_force_acts_outside_only_and_changes_no_value() -> None:
    torch.manual_seed(6)
    layer = Quadrangles(4, 1, 2, pull=1.0).train()
    x = torch.randn(1, 4, 4, 4)
    inside = layer(x)
    inside.sum().backward()
    quiet = layer.regress.bias.grad.clone()
    layer.regress.bias.grad = None
    layer.pull = 0.0
    layer(x).sum().backward()
    torch.testing.assert_close(layer.regress.bias.grad, quiet)  # all places were inside
    nn.init.constant_(layer.regress.bias, 2.0)
    layer.pull = 1.0
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert float(outside([torch.tensor([0.9, -1.0, MARGIN])])) == 0.0
    assert float(outside([torch.tensor([MARGIN + 1, -MARGIN - 2])])) == pytest.approx(3.0)


def test_the_force_pulls_quadrangles_back() -> None:
    torch.manual_seed(7)
    module = QuadrangleAttention(8, 2, (4, 6), 2, pull=0.5).train()
    nn.init.normal_(module.quadrangles.regress.bias, std=1.5)
    optimizer = torch.optim.SGD(module.quadrangles.parameters(), lr=1e-3)
    x = torch.randn(2, 24, 8)
    history = []
    for _ in range(40):
        with recorded(module) as places:
            out = module(x)
        history.append(float(outside(places).detach()))
        optimizer.zero_grad()
        (0.0 * out.sum()).backward()
        optimizer.step()
    assert history[-1] < 0.2 * history[0]


def test_every_parameter_learns() -> None:
    torch.manual_seed(8)
    module = QuadrangleAttention(8, 2, (4, 6), 2)
    module(torch.randn(2, 24, 8)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_bfloat16_is_near_and_keeps_exact_places() -> None:
    torch.manual_seed(9)
    module = QuadrangleAttention(16, 2, (8, 12), 4).eval()
    nn.init.normal_(module.quadrangles.regress.bias, std=0.3)
    x = torch.randn(1, 96, 16)
    with torch.no_grad(), recorded(module) as places:
        wanted = module(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = module(x)
        near = module.bfloat16()(x.bfloat16())
    assert [part.dtype for part in places] == [torch.float32] * 3
    assert near.dtype == torch.bfloat16
    for other in (mixed, near):
        assert (other.float() - wanted).abs().mean() < 0.05 * wanted.abs().mean()


def test_what_has_no_meaning_is_refused() -> None:
    module = QuadrangleAttention(8, 2, (2, 4), 2)
    with pytest.raises(ValueError, match="not causal, has no source, mask or cache"):
        module(torch.randn(1, 8, 8), causal=True)
    with pytest.raises(ValueError, match="not causal, has no source, mask or cache"):
        module(torch.randn(1, 8, 8), mask=torch.ones(8, 8))
