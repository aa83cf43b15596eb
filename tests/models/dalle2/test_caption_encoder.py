"""GLIDE's caption encoder against torch's own transformer layers, and what dropping does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.dalle2.caption_encoder import CaptionConfig, CaptionEncoder
from tests.models.drawing import randomise


def draw(seed: int) -> CaptionConfig:
    g = torch.Generator().manual_seed(seed)

    def among(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (), generator=g))]

    heads = among(1, 2, 4)
    return CaptionConfig(among(3, 8, 11), among(9, 20), heads * among(4, 6), among(1, 2), heads)


def tokens(config: CaptionConfig, lengths: list[int], width: int) -> Tensor:
    """Random captions of these lengths, ends included; what follows is random, too."""
    out = torch.randint(0, config.vocab_size - 1, (len(lengths), width))
    for row, length in enumerate(lengths):
        out[row, length - 1] = config.vocab_size - 1
    return out


def plain(
    model: CaptionEncoder, ids: Tensor, lengths: list[int], torch_blocks: Callable[..., Tensor]
) -> Tensor:
    """torch's TransformerEncoderLayer on tokens, positions and padding put together by hand."""
    config = model.config
    x = model.padding_TX.expand(len(ids), -1, -1).clone()
    for row, length in enumerate(lengths):
        for place in range(min(length, config.context_length)):
            x[row, place] = model.embedding.weight[ids[row, place]]
            x[row, place] += model.positions.table_LD[place]
    return model.norm_after(torch_blocks(model.transformer, x))


@pytest.mark.parametrize("seed", range(4))
def test_features_are_those_of_torchs_layers(
    seed: int, torch_blocks: Callable[..., Tensor], every_weight_shows: Callable[..., None]
) -> None:
    """To 1e-4: captions shorter than the context, as long, and longer (cut)."""
    torch.manual_seed(seed)
    config = draw(seed)
    model = CaptionEncoder(config).eval()
    randomise(model)
    most = config.context_length
    lengths = [1, most, most + 2, 2][: 1 + seed]
    ids = tokens(config, lengths, most + 4)
    found = model(ids)
    assert found.shape == (len(lengths), most, config.width)
    wanted = plain(model, ids, lengths, torch_blocks)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    if min(lengths) < most:
        every_weight_shows(model, lambda: model(ids))


@torch.no_grad()
def test_a_dropped_caption_is_padding_throughout() -> None:
    torch.manual_seed(5)
    config = draw(5)
    model = CaptionEncoder(config).eval()
    randomise(model)
    ids = tokens(config, [2, 3, 1], 6)
    found = model(ids, torch.tensor([False, True, False]))
    torch.testing.assert_close(found[[0, 2]], model.empty(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], model(ids)[1], atol=1e-5, rtol=0)
    assert not torch.allclose(found[1], found[0], atol=1e-2)


@torch.no_grad()
def test_what_follows_the_end_changes_nothing() -> None:
    torch.manual_seed(6)
    config = draw(6)
    model = CaptionEncoder(config).eval()
    ids = tokens(config, [2, 3], 8)
    other = ids.clone()
    other[:, 4:] = 1
    torch.testing.assert_close(model(ids), model(other), atol=1e-6, rtol=0)
