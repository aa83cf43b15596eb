"""Learned positions: tables added to the tokens before the first block, or to the logits of every
attention.

ViT (Dosovitskiy et al. 2021, appendix D.4) compares none, 1-D (a row a token), 2-D (half of the
width for the row on the grid, half for the column) and relative: 61.4, 64.2, 64.0 and 64.0 %
few-shot accuracy. A class token has a row of its own in the 1-D table, as in CLIP's weights, and no
place on the 2-D grid, where its own embedding does that work.

Relative positions are keys that belong to an offset and not to a token (Shaw et al. 2018): a query
q that looks at a patch (i, j) rows and columns away gets q r[i, j] / sqrt(K) added to its logit.
The offset is two-dimensional, each layer has a table of its own, which its heads share, and the
three cases with a class token (itself, from it, to it) have a vector each. `RelativeBias` is the
scalar kind (Swin, Liu et al. 2021): a number an offset and a head, whatever the query.

`resize_grid` gives every table the grid of another resolution, by bicubic interpolation as the ViT
paper does before it fine-tunes at 384 pixels. PyTorch has two such kernels: `antialias=True` is
timm's `resample_abs_pos_embed` (it differs even where the grid grows, as its cubic has another
slope), False is what transformers' `interpolate_pos_encoding` does.

Shapes: B batch, L tokens, D width, R rows and C columns of the patch grid, N = R C, H heads,
K width of a head, O offsets (2R-1)(2C-1), E rows of a relative table (O, and 3 with a class token).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PositionKind = Literal["none", "1d", "2d", "relative"]
Grid = tuple[int, int]


def resample(table_ND: Tensor, old: Grid, new: Grid, antialias: bool = True) -> Tensor:
    """A table (R C, D) of the `old` grid on the `new` one, row by row; computed in float32."""
    if old == new:
        return table_ND
    grid_1DRC = table_ND.float().view(1, *old, -1).permute(0, 3, 1, 2)
    out_1DRC = F.interpolate(
        grid_1DRC, size=new, mode="bicubic", align_corners=False, antialias=antialias
    )
    return out_1DRC.permute(0, 2, 3, 1).flatten(0, 2).to(table_ND.dtype)


class Positions1D(nn.Module):
    """One learned vector for each place: (B, L, D) to (B, L, D), for any L up to `length`."""

    def __init__(self, length: int, width: int, deviation: float) -> None:
        super().__init__()
        self.table_LD = nn.Parameter(deviation * torch.randn(length, width))

    def forward(self, x_BLD: Tensor, first: int = 0) -> Tensor:
        """Adds L rows of the table, from row `first` on (the tokens before are in a cache)."""
        length, most = first + x_BLD.shape[1], len(self.table_LD)
        if length > most:
            raise ValueError(f"{length} tokens, but the position table has {most} rows")
        return x_BLD + self.table_LD[first:length]

    @torch.no_grad()
    def resize_grid(self, old: Grid, new: Grid, antialias: bool = True) -> None:
        """Interpolates the patches' rows; rows before them, such as a class token's, stay."""
        prefix = len(self.table_LD) - old[0] * old[1]
        patches_ND = resample(self.table_LD[prefix:], old, new, antialias)
        self.table_LD = nn.Parameter(torch.cat([self.table_LD[:prefix], patches_ND]))


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
        return x_BLD + F.pad(grid_ND, (0, 0, self.prefix, 0))

    @torch.no_grad()
    def resize_grid(self, old: Grid, new: Grid, antialias: bool = True) -> None:
        """Interpolates both halves, each along its own axis; the same as over the whole grid."""
        rows_RD = resample(self.rows_RD, (old[0], 1), (new[0], 1), antialias)
        columns_CD = resample(self.columns_CD, (old[1], 1), (new[1], 1), antialias)
        self.rows_RD, self.columns_CD = nn.Parameter(rows_RD), nn.Parameter(columns_CD)


def offsets(grid: Grid) -> Grid:
    """Rows and columns of a table with an entry for each offset between two places of `grid`."""
    return 2 * grid[0] - 1, 2 * grid[1] - 1


def offset_index(grid: Grid, device: torch.device | None = None) -> Tensor:
    """(N, N) int64: for a query's place and a key's, row by row, the entry of their offset, query
    less key, in a table (O, ...) that begins at the most negative one.
    """
    (rows, columns), (_, across) = grid, offsets(grid)
    place_N = torch.arange(rows * columns, device=device)
    down_N, right_N = place_N // columns, place_N % columns
    down_NN = down_N[:, None] - down_N + rows - 1
    right_NN = right_N[:, None] - right_N + columns - 1
    return down_NN * across + right_NN


class RelativeKeys(nn.Module):
    """Logits (B, H, L, L) of queries (B, H, L, K) for the learned keys of offsets on a grid.

    Entries after the O offsets, where a class token leads: class to class, class to patch, patch to
    class.
    """

    def __init__(self, grid: Grid, head_width: int, class_token: bool, deviation: float) -> None:
        super().__init__()
        self.grid, self.class_token = grid, class_token
        rows, columns = offsets(grid)
        entries = rows * columns + (3 if class_token else 0)
        self.table_EK = nn.Parameter(deviation * torch.randn(entries, head_width))

    def index(self) -> Tensor:
        """(L, L) int64: the entry of each query and key."""
        index_LL = offset_index(self.grid, self.table_EK.device)
        if self.class_token:
            to_class = len(self.table_EK) - 1
            index_LL = F.pad(index_LL, (1, 0, 0, 0), value=to_class)
            first_1L = F.pad(torch.full_like(index_LL[:1, 1:], to_class - 1), (1, 0))
            first_1L[0, 0] = to_class - 2
            index_LL = torch.cat([first_1L, index_LL])
        return index_LL

    def forward(self, q_BHLK: Tensor) -> Tensor:
        """What `models.layers.attention.Attention` adds to its logits, divided by sqrt(K)."""
        keys_LLK = self.table_EK[self.index()]
        return torch.einsum("bhlk,lsk->bhls", q_BHLK * q_BHLK.shape[-1] ** -0.5, keys_LLK)

    @torch.no_grad()
    def resize_grid(self, old: Grid, new: Grid, antialias: bool = True) -> None:
        """Interpolates the table of offsets; the class token's entries stay."""
        self.grid, (rows, columns) = new, offsets(old)
        count = rows * columns
        table_OK = resample(self.table_EK[:count], (rows, columns), offsets(new), antialias)
        self.table_EK = nn.Parameter(torch.cat([table_OK, self.table_EK[count:]]))


class RelativeBias(nn.Module):
    """Swin's bias (H, N, N) on the logits inside a window: a number an offset and a head."""

    def __init__(self, grid: Grid, heads: int) -> None:
        super().__init__()
        self.grid = grid
        rows, columns = offsets(grid)
        self.table_OH = nn.Parameter(torch.empty(rows * columns, heads))
        nn.init.trunc_normal_(self.table_OH, std=0.02)

    def forward(self, q_BHNK: Tensor) -> Tensor:
        """The same for every query (B, H, N, K), in its dtype."""
        bias_NNH = self.table_OH[offset_index(self.grid, q_BHNK.device)]
        return bias_NNH.permute(2, 0, 1).to(q_BHNK.dtype)


def patch_positions(
    kind: PositionKind, grid: Grid, width: int, prefix: int, deviation: float
) -> nn.Module:
    """What is added to a grid of patches after `prefix` tokens; `kind` is none, 1d, 2d or relative
    (nothing is added then: each attention has its `RelativeKeys`).
    """
    rows, columns = grid
    if kind in ("none", "relative"):
        return nn.Identity()
    if kind == "1d":
        return Positions1D(prefix + rows * columns, width, deviation)
    if kind == "2d":
        return Positions2D(rows, columns, width, prefix, deviation)
    raise ValueError(f"positions={kind!r} must be one of none, 1d, 2d, relative")
