"""BLEU, ROUGE-L and CIDEr against pycocoevalcap's own, which need no Java: to 1e-9."""

import contextlib
import io
import random

import numpy as np
import pytest

from evaluators.captions.bleu import bleu
from evaluators.captions.cider import cider
from evaluators.captions.ngrams import count_ngrams, look_up
from evaluators.captions.rouge import lcs_length, plain_lcs_length, rouge_l

TOLERANCE = 1e-9
SETS = [
    {"seed": 0, "images": 60},
    {"seed": 1, "images": 40, "most": 1, "words": 200},
    {"seed": 2, "images": 25, "most": 12, "words": 3},
    {"seed": 3, "images": 1},
    {"seed": 4, "images": 30, "empty": 0.6},
]


def theirs(metric, candidates, references):
    given = dict(enumerate(references)), {i: [c] for i, c in enumerate(candidates)}
    with contextlib.redirect_stdout(io.StringIO()):
        return metric.compute_score(*given)


def assert_same(scored, corpus, per_image):
    assert scored.value == pytest.approx(corpus, abs=TOLERANCE)
    np.testing.assert_allclose(scored.per_image, per_image, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("drawn", SETS)
def test_bleu_equals_the_original(draw_captions, drawn):
    original = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu()
    candidates, references = draw_captions(**drawn)
    corpus, per_image = theirs(original, candidates, references)
    ours = bleu(candidates, references)
    for n in range(4):
        assert_same(ours[f"BLEU-{n + 1}"], corpus[n], per_image[n])


@pytest.mark.parametrize("drawn", SETS)
def test_rouge_equals_the_original(draw_captions, drawn):
    original = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    candidates, references = draw_captions(**drawn)
    assert_same(rouge_l(candidates, references), *theirs(original, candidates, references))


@pytest.mark.parametrize("drawn", SETS)
def test_cider_equals_the_original(draw_captions, drawn):
    original = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    candidates, references = draw_captions(**drawn)
    assert_same(cider(candidates, references), *theirs(original, candidates, references))


def test_counts_of_ngrams_equal_plain_ones(draw_captions):
    captions, _ = draw_captions(seed=9, images=50)
    for n, grams in enumerate(count_ngrams(captions, 5), start=1):
        wanted: dict[tuple[int, tuple[str, ...]], int] = {}
        for i, caption in enumerate(captions):
            words = caption.split()
            for start in range(len(words) - n + 1):
                key = i, tuple(words[start : start + n])
                wanted[key] = wanted.get(key, 0) + 1
        assert len(grams.count) == len(wanted)
        assert sorted(grams.count.tolist()) == sorted(wanted.values())
        assert grams.kinds == max(len({words for _, words in wanted}), 1)
        by_caption = np.bincount(grams.caption, weights=grams.count, minlength=50)
        np.testing.assert_array_equal(
            by_caption, [max(len(c.split()) - n + 1, 0) for c in captions]
        )


def test_look_up_finds_or_says_nought():
    keys, values = np.array([2, 5, 9]), np.array([20.0, 50.0, 90.0])
    assert look_up(keys, values, np.array([5, 0, 9, 99, 3])).tolist() == [50, 0, 90, 0, 0]
    assert look_up(keys[:0], values[:0], np.array([5])).tolist() == [0]


@pytest.mark.parametrize("seed", range(4))
def test_bits_count_the_common_subsequence(seed):
    rng = random.Random(seed)
    for _ in range(100):
        a, b = (rng.choices("abcd"[: rng.randint(1, 4)], k=rng.randint(0, 70)) for _ in range(2))
        assert lcs_length(a, b) == plain_lcs_length(a, b)


def test_identical_captions_score_the_most():
    captions = ["a man rides a wave", "two dogs run over grass", "a red bus on the street"]
    references = [[c, "something else of the kind"] for c in captions]
    assert bleu(captions, references)["BLEU-4"].value == pytest.approx(1, abs=1e-6)
    assert rouge_l(captions, references).value == pytest.approx(1)
    alone = [[c] for c in captions]
    np.testing.assert_allclose(cider(captions, alone).per_image, 10)


def test_one_image_alone_has_no_cider():
    assert cider(["a dog"], [["a dog"]]).value == 0


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider])
def test_wrong_pairing_is_refused(metric):
    with pytest.raises(ValueError, match="2 candidates, 1 lists"):
        metric(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="image 1"):
        metric(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="image 0 are 'a dog'"):
        metric(["a"], ["a dog"])
