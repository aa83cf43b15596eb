"""Captions in, all scores out; intervals, worst examples, what is left out."""

import numpy as np
import pytest

from evaluators.captions import meteor_lexicon, spice
from evaluators.captions.bleu import bleu
from evaluators.captions.cider import cider
from evaluators.captions.diversity import diversity
from evaluators.captions.score import score_captions
from evaluators.captions.scored import mean_scored


def test_whole_evaluation_equals_the_original(coco_evaluation, monkeypatch):
    monkeypatch.setattr(meteor_lexicon, "installed", lambda: None)  # test_meteor has METEOR
    found = score_captions(coco_evaluation["candidates"], coco_evaluation["references"])
    for name, theirs in coco_evaluation["scores"].items():
        if name == "METEOR":
            continue
        assert found.scores[name].value == pytest.approx(theirs["corpus"], abs=1e-9), name
        np.testing.assert_allclose(
            found.scores[name].per_image, theirs["per_image"], rtol=0, atol=1e-9, err_msg=name
        )
    assert "METEOR" not in found.scores and "pycocoevalcap" in found.left_out["METEOR"]
    assert 0 < found.scores["METEOR (exact, stem)"].value < 1


def test_bootstrap_of_a_corpus_score_draws_images(draw_captions):
    candidates, references = draw_captions(seed=3, images=80)
    scored = bleu(candidates, references)["BLEU-2"]
    found = scored.interval(resamples=300, seed=5)
    rng = np.random.default_rng(5)
    weights = rng.multinomial(80, np.full(80, 1 / 80), size=300)
    drawn = np.repeat(np.arange(80), weights[7])
    again = bleu([candidates[i] for i in drawn], [references[i] for i in drawn])["BLEU-2"]
    assert float(scored.corpus(weights[7] @ scored.counts_NS)) == pytest.approx(again.value)
    assert found.low < scored.value == found.value < found.high
    assert scored.interval(300, seed=5) == found != scored.interval(300, seed=6)


def test_bootstrap_of_a_mean_has_the_known_error(draw_captions):
    scored = cider(*draw_captions(seed=4, images=200))
    error = scored.per_image.std(ddof=1) / np.sqrt(200)
    assert scored.interval(2000).standard_error == pytest.approx(error, rel=0.1)


def test_worst_are_the_lowest_first():
    assert mean_scored(np.array([0.5, 0.1, 0.9, 0.1])).worst(3).tolist() == [1, 3, 0]


def test_spice_is_left_out_with_a_reason(monkeypatch):
    monkeypatch.setattr(spice, "missing", lambda: "there is no java on the path")
    monkeypatch.setattr(meteor_lexicon, "installed", lambda: None)
    found = score_captions(["a dog"], [["a dog"]])
    assert found.left_out["SPICE"] == "there is no java on the path"
    with pytest.raises(RuntimeError, match="no java"):
        spice.spice(["a dog"], [["a dog"]])


def test_what_spice_misses_is_named(monkeypatch):
    monkeypatch.setattr(spice.importlib.util, "find_spec", lambda _: None)
    assert spice.missing() == "pycocoevalcap is not installed"
    monkeypatch.undo()
    monkeypatch.setattr(spice.shutil, "which", lambda _: None)
    assert spice.missing() in ("there is no java on the path", "pycocoevalcap is not installed")


def test_spice_is_called_with_keys_in_order(monkeypatch):
    module = pytest.importorskip("pycocoevalcap.spice.spice")

    class Stub:
        def compute_score(self, references, candidates):
            assert list(references) == sorted(references) == list(candidates)
            assert references["000000011"] == ["r11", "s"] and candidates["000000011"] == ["c11"]
            return 0.0, [{"All": {"f": i / 20}} for i in range(len(references))]

    monkeypatch.setattr(module, "Spice", Stub)
    monkeypatch.setattr(spice, "missing", lambda: None)
    found = spice.spice([f"c{i}" for i in range(12)], [(f"r{i}", "s") for i in range(12)])
    assert found.per_image[11] == pytest.approx(11 / 20)


def test_no_images_have_no_score(monkeypatch):
    monkeypatch.setattr(meteor_lexicon, "installed", lambda: None)
    for name, scored in score_captions([], []).scores.items():
        assert np.isnan([scored.value, scored.interval().low]).all(), name


def test_diversity_by_hand():
    found = diversity(["a dog runs", "a dog", "a dog", ""], longest=3)
    assert found.n == 4
    assert found.distinct == pytest.approx((3 / 7, 2 / 4, 1 / 1))
    assert (found.vocabulary, found.mean_length, found.unique) == (3, 7 / 4, 3 / 4)


def test_diversity_of_nothing():
    found = diversity([])
    assert (found.n, found.vocabulary) == (0, 0)
    assert np.isnan([*found.distinct, found.mean_length, found.unique]).all()
    assert np.isnan(diversity(["a"]).distinct[1])


def test_diversity_equals_a_plain_count(draw_captions):
    captions, _ = draw_captions(seed=2, images=70)
    for n, found in enumerate(diversity(captions, longest=4).distinct, start=1):
        words = [caption.split() for caption in captions]
        grams = [tuple(w[i : i + n]) for w in words for i in range(len(w) - n + 1)]
        assert found == pytest.approx(len(set(grams)) / len(grams))
