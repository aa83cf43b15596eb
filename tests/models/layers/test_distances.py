"""T5's buckets and bias against transformers', for every pair; cached steps; legal sizes."""

from __future__ import annotations

import pytest
import torch
from transformers import T5Config as TheirConfig
from transformers.models.t5.modeling_t5 import T5Attention

from models.layers.distances import Distances, bucket_of


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(("count", "furthest"), [(32, 128), (8, 20), (16, 300), (4, 3)])
def test_buckets_are_those_of_transformers(count: int, furthest: int, both: bool) -> None:
    distance = torch.arange(-500, 501)
    wanted = T5Attention._relative_position_bucket(distance, both, count, furthest)
    assert torch.equal(bucket_of(distance, count, furthest, both), wanted)
    assert int(wanted.max()) == count - 1


@pytest.mark.parametrize("both", [True, False])
def test_bias_is_that_of_transformers(both: bool) -> None:
    torch.manual_seed(0)
    theirs = T5Attention(
        TheirConfig(num_heads=3, is_decoder=not both), has_relative_attention_bias=True, layer_idx=0
    )
    ours = Distances(3, 32, 128, both=both, deviation=1.0)
    theirs.relative_attention_bias.weight.data.copy_(ours.table_NH)
    for length, keys in ((1, 1), (7, 7), (200, 200), (1, 150), (3, 40)):
        wanted = theirs.compute_bias(length, keys, past_seen_tokens=keys - length)
        assert torch.equal(ours(length, keys), wanted)


def test_gradients_reach_the_table() -> None:
    ours = Distances(2, 8, 20, both=True, deviation=1.0)
    ours(6).sum().backward()
    assert ours.table_NH.grad is not None
    assert float(ours.table_NH.grad.sum()) == 6 * 6 * 2


def test_sizes_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="count=2 must be at least 4"):
        Distances(2, 2, 20, both=True, deviation=1.0)
    with pytest.raises(ValueError, match="furthest=8 over 8"):
        Distances(2, 32, 8, both=True, deviation=1.0)
