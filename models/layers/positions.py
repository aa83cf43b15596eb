"""Learned position tables, added to the tokens before the first block.

ViT (Dosovitskiy et al. 2021, appendix D.4) compares none, 1-D (a row a token) and 2-D (half of the
width for the row on the grid, half for the column): 61.4, 64.2 and 64.0 % few-shot accuracy. A
class token has a row of its own in the 1-D table, as in CLIP's weights, and no place on the 2-D
grid, where its own embedding does that work.

Shapes: B batch, L tokens, D width, R rows and C columns of the patch grid, N = R C.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

PositionKind = Literal["none", "1d", "2d"]


class Positions1D(nn.Module):
    """One learned vector for each place: (B, L, D) to (B, L, D), for any L up to `length`."""

    def __init__(self, length: int, width: int, deviation: float) -> None:
        super().__init__()
        self.table_LD = nn.Parameter(deviation * torch.randn(length, width))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Adds the first L rows of the table."""
        length, most = x_BLD.shape[1], len(self.table_LD)
        if length > most:
            raise ValueError(f"{length} tokens, but the position table has {most} rows")
        return x_BLD + self.table_LD[:length]


class Positions2D(nn.Module):
    """A learned half-width vector for each row and each column; `prefix` leading tokens get
    none.
    """

    def __init__(self, rows: int, columns: int, width: int, prefix: int, deviation: float) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"width={width} must be even for 2-D positions")
        self.prefix = prefix
        self.rows_RD = nn.Parameter(deviation * torch.randn(rows, width // 2))
        self.columns_CD = nn.Parameter(deviation * torch.randn(columns, width // 2))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Adds each patch's row and column."""
        rows, columns = len(self.rows_RD), len(self.columns_CD)
        y_RCD = self.rows_RD[:, None, :].expand(rows, columns, -1)
        x_RCD = self.columns_CD[None, :, :].expand(rows, columns, -1)
        grid_ND = torch.cat([y_RCD, x_RCD], dim=2).flatten(0, 1)
        return x_BLD + nn.functional.pad(grid_ND, (0, 0, self.prefix, 0))


def patch_positions(
    kind: PositionKind, grid: tuple[int, int], width: int, prefix: int, deviation: float
) -> nn.Module:
    """The table for a grid of patches after `prefix` tokens; `kind` is none, 1d or 2d."""
    rows, columns = grid
    if kind == "none":
        return nn.Identity()
    if kind == "1d":
        return Positions1D(prefix + rows * columns, width, deviation)
    if kind == "2d":
        return Positions2D(rows, columns, width, prefix, deviation)
    raise ValueError(f"positions={kind!r} must be one of none, 1d, 2d")
