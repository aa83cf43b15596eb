"""Quadrangle attention (Zhang et al. 2023, arXiv 2303.15105): attention in windows whose keys and
values come from a learned quadrangle of the map instead of from the window itself.

The map is cut into P x P windows, as in Swin. From the mean of a window's tokens a linear layer
tells, for each head, a projective transformation; the window's places, taken about its centre, are
moved by it, and keys and values are read there by bilinear interpolation, zero outside the map. The
queries stay. The layer starts at zero, so that training starts from window attention; there are no
shifted windows, as quadrangles reach into each other's windows by themselves. A map of one window
is plain attention.

The nine numbers, in order, with the released code's meaning and units: translation x and y (1 is
the map's half width divided by the number of windows across, about half a window), scale x and y
(less 1), shear x and y, projection x and y, rotation in radians. With places (x, y) in the map's
coordinates, -1 and 1 at the centres of the outermost tokens,

    A = [cos t, sin t; -sin t, cos t] [1, a; b, 1] [scale x, 0; 0, scale y]
    (u, v, w) = [A, translation; projection, 1] (x, y, 1),    place = centre + (u, v) / w.

Maps that P does not divide get zeros below and on the right, after the projection to queries, keys
and values; those zeros can be attended to, as in the released code.

Quadrangles that leave the map learn nothing from it, so a force pulls them back: `outside` sums by
how much each coordinate exceeds 1.001. It can be had in two ways with the same gradient, 10 `pull`
a coordinate. By default it is added in the backward pass alone, as the released code does: the loss
that one reads stays the task's, and gradients that come in parts (micro-batches, several ranks)
need no care. Or a model with pull=0 adds 10 `pull` `outside(places)` to its loss, with the places
from `recorded`. Either way it is a sum over the batch, so that it weighs more in larger ones.

The decomposed relative positions of the released code ("v2"), which its configurations do not use,
are left out; Swin's table is what they use.

Shapes: B batch, H heads, L tokens of the map row by row, D width, K width of a head, T windows row
by row, P side of a window, N = P^2 places in it, Y and X sides of the padded map, V width of
values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.attention import Attention
from models.layers.cache import KeyValues
from models.layers.positions import Grid, RelativeBias

NUMBERS = 9  # of a transformation
MARGIN = 1.001  # coordinates beyond it are outside
FORCE = 10.0  # gradient of a coordinate outside, times `pull`


def transformations(numbers_9: Tensor, windows: Grid) -> Tensor:
    """Projective matrices (..., 3, 3) of the nine numbers (..., 9); `windows` down and across."""
    x, y, wide, high, a, b, p_1, p_2, turn = numbers_9.unbind(-1)
    wide, high, cos, sin = wide + 1.0, high + 1.0, turn.cos(), turn.sin()
    rows = [
        [(cos + sin * b) * wide, (cos * a + sin) * high, x / windows[1]],
        [(cos * b - sin) * wide, (cos - sin * a) * high, y / windows[0]],
        [p_1, p_2, torch.ones_like(x)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _axis(side: int, window: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Along an axis of `side` places: each window's centre, and a window's places about it (P,)."""
    step = 2.0 / max(1, side - 1)
    local_P = (torch.arange(window, device=device) - (window - 1) / 2) * step
    first = torch.arange(0, side, window, device=device)
    return -1.0 + (first + (window - 1) / 2) * step, local_P


def quadrangles(matrix_BHT33: Tensor, padded: Grid, window: int) -> Tensor:
    """Where each place of each window goes, (B, H, T, N, 2), x before y, in [-1, 1] on the map."""
    device = matrix_BHT33.device
    (down_R, y_P), (across_C, x_P) = (_axis(side, window, device) for side in padded)
    y_N, x_N = y_P.repeat_interleave(window), x_P.repeat(window)
    rows = matrix_BHT33.unbind(-2)
    u, v, w = (m[..., 0, None] * x_N + m[..., 1, None] * y_N + m[..., 2, None] for m in rows)
    w = torch.where(w == 0, 1e-6, w)
    x_T, y_T = across_C.repeat(len(down_R)), down_R.repeat_interleave(len(across_C))
    return torch.stack([u / w + x_T[:, None], v / w + y_T[:, None]], dim=-1)


def outside(places: Iterable[Tensor]) -> Tensor:
    """By how much coordinates exceed `MARGIN`, summed over all of them."""
    return torch.stack([F.relu(part.abs() - MARGIN).sum() for part in places]).sum()


class PullInside(torch.autograd.Function):
    """The identity; on the way back, the gradient of `force` times `outside` is added."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, force: float) -> Tensor:
        """The places, as they are."""
        ctx.save_for_backward(places)
        ctx.force = force
        return places.view_as(places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """With the force's part."""
        (places,) = ctx.saved_tensors
        beyond = places.sign() * (places.abs() > MARGIN)
        return gradients[0] + ctx.force * beyond, None


def _sides(map_BDYX: Tensor) -> Grid:
    return map_BDYX.shape[2], map_BDYX.shape[3]


class Quadrangles(nn.Module):
    """From the map (B, D, Y, X) to the places (B, H, T, N, 2) that each window of each head reads.

    Coordinates are float32 whatever the map is: bfloat16 has steps of a tenth of a token on a map
    of 56.
    """

    def __init__(self, width: int, heads: int, window: int, pull: float) -> None:
        super().__init__()
        self.heads, self.window, self.pull = heads, window, pull
        self.regress = nn.Conv2d(width, heads * NUMBERS, 1)
        for parameter in self.regress.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x_BDYX: Tensor) -> Tensor:
        """The places of this map's quadrangles."""
        mean_BDRC = F.leaky_relu(F.avg_pool2d(x_BDYX, self.window))
        windows, padded = _sides(mean_BDRC), _sides(x_BDYX)
        numbers_BH9T = self.regress(mean_BDRC).view(x_BDYX.shape[0], self.heads, NUMBERS, -1)
        numbers_BHT9 = numbers_BH9T.transpose(2, 3).float()
        places = quadrangles(transformations(numbers_BHT9, windows), padded, self.window)
        if self.pull and self.training:
            pulled: Tensor = PullInside.apply(places, FORCE * self.pull)
            return pulled
        return places


@contextlib.contextmanager
def recorded(model: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, a list that grows by each attention's places as they are computed."""
    found: list[Tensor] = []
    layers = [module for module in model.modules() if isinstance(module, Quadrangles)]
    hooks = [layer.register_forward_hook(lambda *call: found.append(call[2])) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class QuadrangleAttention(Attention):
    """Attention of a map's tokens (B, L, D), row by row on `grid`, to quadrangles of it."""

    def __init__(self, width: int, heads: int, grid: Grid, window: int, pull: float = 0.0) -> None:
        super().__init__(width, heads, relative=RelativeBias((window, window), heads))
        self.grid, self.window = grid, window
        self.quadrangles = Quadrangles(width, heads, window, pull)

    def forward(
        self,
        x_BLD: Tensor,
        source_BSC: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: KeyValues | None = None,
    ) -> Tensor:
        """Every token's answer, (B, L, D); masks, sources and caches have no meaning here."""
        if causal or source_BSC is not None or mask is not None or cache is not None:
            raise ValueError("quadrangle attention is not causal, has no source, mask or cache")
        return self.merge(self.attend(x_BLD))

    def maps(self, x_BLD: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """By how much each token's answer depends on each token's value, (B, H, L, L): attention
        times the interpolation. A row's sum is below 1 by what the token reads outside the map.
        """
        one_LL = torch.eye(x_BLD.shape[1], dtype=x_BLD.dtype, device=x_BLD.device)
        return self.attend(x_BLD, one_LL)

    def attend(self, x_BLD: Tensor, v_BHLV: Tensor | None = None) -> Tensor:
        """The answers (B, H, L, V), of values of one's own if none are given."""
        q_BHLK, k_BHLK, own_BHLK = self.project(x_BLD)
        v_BHLV = own_BHLK if v_BHLV is None else v_BHLV.expand(*k_BHLK.shape[:2], -1, -1)
        if max(self.grid) <= self.window:
            k_ZHNK, v_ZHNV = self.cut(k_BHLK), self.cut(v_BHLV)
        else:
            places = self.quadrangles(self.padded(x_BLD.transpose(1, 2)))
            both_ZHNX = self.read(torch.cat([k_BHLK, v_BHLV], dim=3), places)
            K = k_BHLK.shape[3]
            k_ZHNK, v_ZHNV = both_ZHNX[..., :K], both_ZHNX[..., K:]
        return self.joined(self.mix(self.cut(q_BHLK), k_ZHNK, v_ZHNV))

    def padded(self, x_BXL: Tensor) -> Tensor:
        """Tokens (..., L) as a map (..., Y, X) with zeros below and on the right."""
        below, right = (-side % self.window for side in self.grid)
        return F.pad(x_BXL.reshape(*x_BXL.shape[:-1], *self.grid), (0, right, 0, below))

    def cut(self, x_BHLK: Tensor) -> Tensor:
        """The windows of a padded map, (B T, H, N, K)."""
        x_BHKYX = self.padded(x_BHLK.transpose(2, 3))
        (B, H, K, Y, X), P = x_BHKYX.shape, self.window
        x_BHKRPCP = x_BHKYX.view(B, H, K, Y // P, P, X // P, P)
        return x_BHKRPCP.permute(0, 3, 5, 1, 4, 6, 2).reshape(-1, H, P * P, K)

    def joined(self, x_ZHNV: Tensor) -> Tensor:
        """The inverse of `cut`: (B T, H, N, V) to (B, H, L, V)."""
        (_, H, _, V), P, (rows, columns) = x_ZHNV.shape, self.window, self.grid
        down, across = -(-rows // P), -(-columns // P)
        x_BRCHPPV = x_ZHNV.view(-1, down, across, H, P, P, V)
        x_BHYXV = x_BRCHPPV.permute(0, 3, 1, 4, 2, 5, 6).reshape(-1, H, down * P, across * P, V)
        return x_BHYXV[:, :, :rows, :columns].flatten(2, 3)

    def read(self, x_BHLX: Tensor, places_BHTN2: Tensor) -> Tensor:
        """What stands at the places, (B T, H, N, X), interpolated in float32."""
        B, H, T, N, _ = places_BHTN2.shape
        map_ZXYX = self.padded(x_BHLX.transpose(2, 3)).flatten(0, 1).float()
        read_ZXTN = F.grid_sample(map_ZXYX, places_BHTN2.flatten(0, 1), align_corners=True)
        read_BTHNX = read_ZXTN.view(B, H, -1, T, N).permute(0, 3, 1, 4, 2)
        return read_BTHNX.to(x_BHLX.dtype).flatten(0, 1)

    def resize_grid(self, old: Grid, new: Grid, antialias: bool = True) -> None:
        """The map's sides change, the window's do not: nothing is interpolated."""
        self.grid = new
