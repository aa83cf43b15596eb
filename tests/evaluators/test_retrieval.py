"""Retrieval against a plain loop over the full similarity matrix."""

import numpy as np
import pytest

from evaluators import retrieval

rng = np.random.default_rng(1)


def plain_recall(queries, gallery, pairs, k):
    """R@k as it is spoken: sort the gallery for every query, look for a partner in the first k."""
    hits = 0
    for q, query in enumerate(queries):
        cosines = [float(query @ g / np.linalg.norm(query) / np.linalg.norm(g)) for g in gallery]
        best = sorted(range(len(gallery)), key=lambda g: -cosines[g])[:k]
        partners = {g for p, g in pairs.tolist() if p == q}
        hits += bool(partners & set(best))
    return hits / len(queries)


def five_texts_an_image(n_images=40, texts=5, width=16, noise=1.5):
    images = rng.normal(size=(n_images, width)).astype(np.float32)
    captions = np.repeat(images, texts, axis=0) + noise * rng.normal(size=(n_images * texts, width))
    pairs = np.stack([np.repeat(np.arange(n_images), texts), np.arange(n_images * texts)], axis=1)
    return images, captions.astype(np.float32), pairs


@pytest.mark.parametrize("block", [7, 1024])
def test_recall_both_ways_equals_the_plain_loop(monkeypatch, block):
    monkeypatch.setattr(retrieval, "QUERIES_A_BLOCK", block)
    images, texts, pairs = five_texts_an_image()
    for queries, gallery, p in ((images, texts, pairs), (texts, images, pairs[:, ::-1])):
        found = retrieval.recalls(retrieval.retrieve(queries, gallery, p).ranks)
        for k, rate in found.items():
            assert rate.value == pytest.approx(plain_recall(queries, gallery, p, k)), k
            assert rate.n == len(queries)
        assert 0 < found[1].value < found[10].value


def test_any_of_several_texts_counts():
    images = np.eye(2, 3, dtype=np.float32)
    texts = np.array([[0, 0, 1], [1, 0.1, 0], [0, 1, 0.2]], dtype=np.float32)
    pairs = np.array([[0, 0], [0, 1], [1, 2]])  # the image's first text is far off, its second near
    assert retrieval.retrieve(images, texts, pairs).ranks.tolist() == [0, 0]


def test_pairs_in_any_order_give_the_same():
    images, texts, pairs = five_texts_an_image(n_images=12)
    shuffled = pairs[rng.permutation(len(pairs))]
    one, other = (retrieval.retrieve(images, texts, p) for p in (pairs, shuffled))
    np.testing.assert_array_equal(one.ranks, other.ranks)
    np.testing.assert_array_equal(one.nearest, other.nearest)


def test_ties_go_to_the_lower_index():
    queries = np.ones((1, 2), np.float32)
    gallery = np.ones((4, 2), np.float32)
    found = retrieval.retrieve(queries, gallery, np.array([[0, 3], [0, 2]]))
    assert found.ranks.tolist() == [2]
    assert found.nearest.tolist() == [[0, 1, 2, 3]]


def test_rank_agrees_with_the_nearest_items():
    images, texts, pairs = five_texts_an_image(n_images=15)
    found = retrieval.retrieve(images, texts, pairs, top=75)
    owner = pairs[:, 0]
    for i in range(15):
        first = next(place for place, text in enumerate(found.nearest[i]) if owner[text] == i)
        assert first == found.ranks[i]


def test_query_without_partner_is_named():
    x = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="query 1"):
        retrieval.retrieve(x, x, np.array([[0, 0]]))


def test_index_outside_is_refused():
    x = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="legal: below"):
        retrieval.retrieve(x, x, np.array([[0, 0], [1, 2]]))


def test_a_query_does_not_search_the_picture_that_it_is_made_of():
    images, texts, pairs = five_texts_an_image(n_images=6)
    own = np.array([0, -1, 7, 29, -1, 2])
    found = retrieval.retrieve(images, texts, pairs, top=30, excluded_Q=own)
    for query, hidden in enumerate(own):
        kept = [i for i in range(30) if i != hidden]
        scores = retrieval.normalise(images)[query] @ retrieval.normalise(texts)[kept].T
        order = [kept[i] for i in np.argsort(-scores, kind="stable")]
        partners = set(pairs[pairs[:, 0] == query, 1].tolist()) - {hidden}
        assert found.ranks[query] == min(order.index(p) for p in partners)
        assert found.nearest[query, : len(order)].tolist() == order
