"""Nearest neighbours against scikit-learn's classifier and by hand on tiny pictures."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from evaluators.nearest import NearestConfig, PixelNeighbours, neighbour_votes, pixels
from evaluators.zero_shot import normalise

rng = np.random.default_rng(6)


def png(colour, side=24, alpha=None) -> bytes:
    """A picture whose left half has `colour` and whose right half is grey."""
    array = np.full((side, side, 3), 128, np.uint8)
    array[:, : side // 2] = colour
    if alpha is not None:
        array = np.concatenate([array, np.full((side, side, 1), alpha, np.uint8)], axis=2)
    out = io.BytesIO()
    Image.fromarray(array).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize("k", [1, 7])
def test_votes_equal_sklearn(k):
    known, labels = rng.normal(size=(90, 6)).astype(np.float32), rng.integers(0, 5, 90)
    asked = rng.normal(size=(40, 6)).astype(np.float32)
    config = NearestConfig(neighbours=k)
    ours = neighbour_votes(asked, known, labels, 5, config)

    def weights(distances):  # of unit vectors: squared distance = 2 - 2 cosine
        return np.exp(-(distances**2) / 2 / config.temperature)

    theirs = KNeighborsClassifier(k, weights=weights).fit(normalise(known), labels)
    np.testing.assert_array_equal(ours.argmax(axis=1), theirs.predict(normalise(asked)))
    share = np.maximum(ours, 0) / np.maximum(ours, 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(share, theirs.predict_proba(normalise(asked)), atol=1e-4)


def test_classes_without_a_vote_follow_by_their_nearest_image():
    known = np.array([[1, 0], [0.9, 0.5], [0, 1]], np.float32)
    votes = neighbour_votes(
        np.array([[1, 0.01]], np.float32), known, np.array([2, 0, 1]), 4, NearestConfig()
    )
    assert np.argsort(-votes[0]).tolist() == [2, 0, 1, 3]


def test_blocks_give_what_one_block_gives(monkeypatch):
    known, labels = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(0, 3, 30)
    asked = rng.normal(size=(20, 4)).astype(np.float32)
    whole = neighbour_votes(asked, known, labels, 3, NearestConfig(3))
    monkeypatch.setattr("evaluators.nearest.IMAGES_A_BLOCK", 6)
    np.testing.assert_allclose(
        neighbour_votes(asked, known, labels, 3, NearestConfig(3)), whole, atol=1e-6
    )


def test_pixels_find_the_picture_of_the_same_colour():
    known = [png((255, 0, 0)), png((0, 0, 255))]
    model = PixelNeighbours(known, np.array([1, 0]), ["blue", "red"], NearestConfig())
    votes = model.class_logits([png((200, 40, 40), side=60), png((30, 30, 180)), b"no image"])
    assert votes[:2].argmax(axis=1).tolist() == [1, 0]
    assert np.isnan(votes[2]).all()


def test_transparent_is_white_and_one_colour_has_a_direction():
    clear, white = pixels([png((9, 9, 9), alpha=0)]), pixels([png((255, 255, 255))])
    assert np.isfinite(normalise(clear)).all()
    assert not np.allclose(clear, white)
    assert np.ptp(clear) < 1e-6


def test_more_neighbours_than_images_is_refused():
    with pytest.raises(ValueError, match="legal: 1 to 2"):
        neighbour_votes(
            np.ones((1, 2), np.float32),
            np.ones((2, 2), np.float32),
            np.array([0, 1]),
            2,
            NearestConfig(3),
        )
