"""What a trained ViT has learnt, in the three figures of its paper (Dosovitskiy et al. 2021, figure
7): how far each head looks, which places the position table takes for alike, and what the patches
are projected on.

Attention distance is the paper's "averaging the distance between the query pixel and all other
pixels, weighted by the attention weight": for every patch as a query the mean distance to the
patches, centre to centre, weighted by its attention; then the mean over queries and images. A class
token has no place: its row and column are left out, and the weights that remain to a query are
divided by their sum, so that they are weights of a mean. (Without that, a head would seem to look
the less far the more of its attention the class token gets.) Two heads are known in advance: one
that looks at itself alone has distance 0, one that looks at all patches alike `uniform_distance`.

Shapes: B images, H heads, L tokens, N patches (R rows, S columns), P side of a patch, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.layers.positions import Positions1D, Positions2D
from models.vision.vit import ViT


def patch_distances(grid: tuple[int, int], patch_size: int) -> Tensor:
    """(N, N): from each patch's centre to each, in pixels."""
    rows, columns = grid
    place_N = torch.arange(rows * columns)
    place_N2 = patch_size * torch.stack([place_N // columns, place_N % columns], dim=1).float()
    return torch.cdist(place_N2, place_N2, compute_mode="donot_use_mm_for_euclid_dist")


def uniform_distance(grid: tuple[int, int], patch_size: int) -> float:
    """The attention distance, in pixels, of a head that looks at all patches alike."""
    return float(patch_distances(grid, patch_size).mean())


def attention_distance(maps: Tensor, distance_NN: Tensor) -> Tensor:
    """Mean distance (..., H) of attention weights (..., B, H, L, L); tokens before the last N are
    left out. A query that looks at no patch at all counts as one that looks at itself.
    """
    patches = len(distance_NN)
    weights = maps[..., -patches:, -patches:].float()
    total = weights.sum(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
    return ((weights * distance_NN.to(maps.device)).sum(dim=-1) / total).mean(dim=(-3, -1))


@torch.no_grad()
def attention_distances(model: ViT, pixels_BCHW: Tensor, batch_size: int = 8) -> Tensor:
    """(layers, H), in pixels, over the images, `batch_size` at a time."""
    distance_NN = patch_distances(model.config.grid, model.config.patch_size)
    total = torch.zeros(model.config.depth, model.config.heads)
    for start in range(0, len(pixels_BCHW), batch_size):
        part = pixels_BCHW[start : start + batch_size]
        total += len(part) * attention_distance(model.attention_maps(part), distance_NN).cpu()
    return total / len(pixels_BCHW)


@torch.no_grad()
def position_similarity(model: ViT) -> Tensor:
    """(N, N): the cosine of each patch's position vector and each other's.

    Raises ValueError for a model that adds none.
    """
    positions, (rows, columns) = model.positions, model.config.grid
    if not isinstance(positions, (Positions1D, Positions2D)):
        raise ValueError(f"positions={model.config.positions!r} adds no vectors; legal: 1d, 2d")
    prefix = 0 if model.class_token_D is None else 1
    nothing_1LD = torch.zeros(1, prefix + rows * columns, model.config.width)
    table_ND = positions(nothing_1LD.to(model.patches.weight))[0, prefix:].float()
    unit_ND = torch.nn.functional.normalize(table_ND, dim=1)
    return unit_ND @ unit_ND.T


@torch.no_grad()
def filter_components(model: ViT, count: int = 28) -> tuple[Tensor, Tensor]:
    """The first principal components (count, 3, P, P) of the D filters that patches are projected
    on, and the share of their variance (count,) that each explains.

    Fewer where there are fewer. The sign of a component has no meaning: here its greatest value is
    positive.
    """
    filters_DX = model.patches.weight.flatten(1).float()
    centred_DX = filters_DX - filters_DX.mean(dim=0)
    _, value, components = torch.linalg.svd(centred_DX, full_matrices=False)
    count = min(count, len(filters_DX) - 1)  # about their mean they span one dimension less
    components, share = components[:count], value.square() / value.square().sum()
    greatest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    shaped = (components * greatest.sign()).view(-1, *model.patches.weight.shape[1:])
    return shaped, share[:count]
