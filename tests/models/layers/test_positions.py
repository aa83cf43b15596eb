"""Position tables: what each place gets."""

from __future__ import annotations

import pytest
import torch

from models.layers.positions import Positions1D, Positions2D, patch_positions


def test_one_dimension_takes_the_first_rows() -> None:
    table = Positions1D(5, 4, 1.0)
    out = table(torch.zeros(2, 3, 4))
    assert torch.equal(out[1], table.table_LD[:3])
    with pytest.raises(ValueError, match="6 tokens, but the position table has 5"):
        table(torch.zeros(1, 6, 4))


def test_two_dimensions_are_row_then_column() -> None:
    table = Positions2D(2, 3, 4, 1, 1.0)
    out = table(torch.zeros(1, 7, 4))[0]
    assert torch.equal(out[0], torch.zeros(4))  # the class token has no place
    for row in range(2):
        for column in range(3):
            wanted = torch.cat([table.rows_RD[row], table.columns_CD[column]])
            assert torch.equal(out[1 + row * 3 + column], wanted)


def test_kinds() -> None:
    x = torch.randn(1, 7, 4)
    assert torch.equal(patch_positions("none", (2, 3), 4, 1, 1.0)(x), x)
    assert sum(p.numel() for p in patch_positions("1d", (2, 3), 4, 1, 1.0).parameters()) == 28
    assert sum(p.numel() for p in patch_positions("2d", (2, 3), 4, 1, 1.0).parameters()) == 10
    with pytest.raises(ValueError, match="positions='3d' must be one of"):
        patch_positions("3d", (2, 3), 4, 1, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width=5 must be even"):
        Positions2D(2, 3, 5, 1, 1.0)
