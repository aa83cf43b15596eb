"""Embedding: the same bits in this process and over Ray, by one worker or two."""

import functools

import numpy as np
import pytest
import torch

from evaluators.embed import EmbedConfig, embed
from evaluators.suites import labelled
from evaluators.suites.labelled import Picture


class NoisyNetwork:
    """A real (tiny) torch network whose float32 sums round differently at other batch sizes."""

    def __init__(self, width):
        generator = torch.Generator().manual_seed(0)
        self.weights = [torch.randn(width, width, generator=generator) for _ in range(4)]
        self.width, self.sizes = width, []
        self.logit_scale = 1.0

    def encode_image(self, images):
        self.sizes.append(len(images))
        seeds = [int.from_bytes(image[:4], "big") for image in images]
        rows = [np.random.default_rng(s).normal(size=self.width) for s in seeds]
        x = torch.from_numpy(np.array(rows, np.float32))
        for weight in self.weights:
            x = torch.tanh(x @ weight)
        x[[image.endswith(b"broken") for image in images]] = float("nan")
        return x.numpy()

    def encode_text(self, texts):
        return np.ones((len(texts), self.width), np.float32)


def pictures(n):
    return [
        Picture(f"{i}", i.to_bytes(4, "big") + (b"broken" if i % 11 == 5 else b""), "x", "g")
        for i in range(n)
    ]


@pytest.fixture
def odd_shards(make_labelled, monkeypatch):
    monkeypatch.setattr(labelled, "ROWS_A_SHARD", 13)
    return make_labelled("odd", pictures(60))


def test_every_batch_has_one_size_and_no_image_counts_twice(odd_shards):
    model = NoisyNetwork(8)
    found = embed(odd_shards, lambda: model, EmbedConfig(batch_size=16))
    assert set(model.sizes) == {16}
    assert len(set(found.image_id)) == len(found.image_id) == 60 - len(found.undecodable)
    assert found.image_id.tolist() == sorted(found.image_id)
    assert len(found.undecodable) == sum(i % 11 == 5 for i in range(60))


def test_vectors_stand_beside_their_images(odd_shards):
    found = embed(odd_shards, lambda: NoisyNetwork(8), EmbedConfig(batch_size=16))
    image_of = dict(
        zip(*(odd_shards.table()[c].to_pylist() for c in ("image_id", "image")), strict=True)
    )
    alone = NoisyNetwork(8).encode_image([image_of[i] for i in found.image_id])
    np.testing.assert_allclose(found.vectors, alone, atol=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_the_same_bits(ray_session, odd_shards, workers):
    load = functools.partial(NoisyNetwork, 64)
    here = embed(odd_shards, load, EmbedConfig(batch_size=16))
    there = embed(odd_shards, load, EmbedConfig(batch_size=16, workers=workers))
    assert here.image_id.tolist() == there.image_id.tolist()
    assert here.content.tolist() == there.content.tolist()
    assert here.undecodable == there.undecodable
    assert here.vectors.tobytes() == there.vectors.tobytes()


def test_a_set_without_any_image_is_named(make_labelled):
    dataset = make_labelled("bad", [Picture("0", b"\0\0\0\0broken", "x", "g")])
    with pytest.raises(ValueError, match="none of 1 images"):
        embed(dataset, lambda: NoisyNetwork(8), EmbedConfig())
