from __future__ import annotations

import numpy as np
import pytest

from annotators.screen.tiles import tiles


@pytest.mark.parametrize("shape", [(800, 1280), (2400, 1080), (16, 40), (300, 600)])
def test_a_usual_screen_is_one_tile(shape: tuple[int, int]) -> None:
    screen = np.zeros((*shape, 3), np.uint8)
    (tile,) = tiles(screen)
    assert tile.pixels is screen
    assert tile.owns(0, shape[1], 0, shape[0])


@pytest.mark.parametrize("shape", [(300, 8000), (8000, 300), (12000, 1280), (17, 5000)])
def test_every_place_of_a_long_screen_has_one_owner_that_sees_it(shape: tuple[int, int]) -> None:
    screen = np.arange(shape[0] * shape[1] * 3, dtype=np.uint32).astype(np.uint8)
    screen = screen.reshape(*shape, 3)
    found = list(tiles(screen))
    assert len(found) > 1
    across = shape[1] > shape[0]
    longer = max(shape)
    for middle in range(0, longer, 37):
        edges = (middle, middle, 5, 5) if across else (5, 5, middle, middle)
        (owner,) = [tile for tile in found if tile.owns(*edges)]
        start = owner.left if across else owner.top
        extent = owner.pixels.shape[1 if across else 0]
        assert start <= middle < start + extent
    for tile in found:
        high, wide = tile.pixels.shape[:2]
        part = screen[tile.top : tile.top + high, tile.left : tile.left + wide]
        assert np.array_equal(tile.pixels, part)
        assert max(high, wide) <= max(2.6 * min(shape), 640 * 1.6)
