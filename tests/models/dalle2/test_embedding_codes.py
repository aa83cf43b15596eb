"""The codes of embeddings: the axes against scikit-learn's PCA, the error of a round trip."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from models.dalle2.embedding_codes import EmbeddingCodes, cosine


def corpus(seed: int, count: int, width: int) -> Tensor:
    """Embeddings whose variance falls off along mixed axes, around a mean."""
    torch.manual_seed(seed)
    scales = 0.7 ** torch.arange(width)
    return torch.randn(count, width) * scales @ torch.randn(width, width) + torch.randn(width)


@pytest.mark.parametrize("seed", range(4))
def test_axes_are_those_of_scikit_learn(seed: int) -> None:
    """Axes, coordinates, reconstruction and share of the variance, to 1e-4."""
    width, kept = 9 + 3 * seed, 3 + seed
    x = corpus(seed, 200, width)
    codes = EmbeddingCodes(width, kept, 8, 4)
    share = codes.fit(x, torch.randn_like(x))
    theirs = PCA(kept, svd_solver="full").fit(x.double().numpy())
    wanted = torch.from_numpy(theirs.components_).float()
    torch.testing.assert_close(codes.axes_KE, wanted, atol=1e-4, rtol=0)
    assert share == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-6)
    place = codes.coordinates(x)
    theirs_place = torch.from_numpy(theirs.transform(x.double().numpy())).float()
    torch.testing.assert_close(place, theirs_place, atol=1e-4, rtol=1e-4)
    back = torch.from_numpy(theirs.inverse_transform(theirs_place.double().numpy())).float()
    torch.testing.assert_close(codes.mean_E + place @ codes.axes_KE, back, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("buckets", [1, 2, 7, 1024])
def test_a_round_trip_is_off_by_half_a_bucket_at_most(buckets: int) -> None:
    x = corpus(5, 300, 12)
    codes = EmbeddingCodes(12, 6, buckets, 4)
    codes.fit(x, x)
    found = codes.encode(x)
    assert int(found.min()) >= 0 and int(found.max()) < buckets
    bucket = (codes.high_K - codes.low_K) / buckets
    off = (codes.coordinates(codes.decode(found)) - codes.coordinates(x)).abs()
    assert bool((off <= bucket / 2 * (1 + 1e-3) + 1e-4).all())
    assert float((off / bucket).max()) > 0.4  # no bucket is wasted
    assert torch.equal(codes.encode(codes.decode(found)), found)
    far = codes.encode(100 * x)
    assert int(far.min()) >= 0 and int(far.max()) < buckets


def test_with_all_axes_the_quantisation_is_the_only_loss() -> None:
    x = corpus(6, 100, 5)
    codes = EmbeddingCodes(5, 5, 4096, 4)
    assert codes.fit(x, x) == pytest.approx(1.0)
    assert float((codes.decode(codes.encode(x)) - x).abs().max()) < 0.01


def test_autocast_changes_no_code() -> None:
    x = corpus(8, 200, 10)
    codes = EmbeddingCodes(10, 6, 1024, 4)
    codes.fit(x, x)
    wanted = codes.encode(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(codes.encode(x), wanted)
        assert torch.equal(codes.encode(codes.decode(wanted)), wanted)


def test_dot_product_buckets_hold_as_many_pairs_each() -> None:
    torch.manual_seed(7)
    image = torch.randn(4000, 8)
    text = image + torch.randn(4000, 8) * torch.rand(4000, 1) * 3
    codes = EmbeddingCodes(8, 4, 16, 10)
    codes.fit(image, text)
    found = codes.dot_code(image, text)
    counts = torch.bincount(found, minlength=10)
    assert counts.shape == (10,) and int(counts.min()) > 390 and int(counts.max()) < 410
    dots = cosine(image, text)
    upper = dots[found >= 5]
    assert float(upper.min()) >= float(dots.median()) - 1e-6


def test_what_cannot_be_fitted_is_named() -> None:
    with pytest.raises(ValueError, match="codes=9 must be at most embedding=8"):
        EmbeddingCodes(8, 9, 4, 4)
    with pytest.raises(ValueError, match="3 embeddings cannot give 4 axes"):
        EmbeddingCodes(8, 4, 4, 4).fit(torch.randn(3, 8), torch.randn(3, 8))
