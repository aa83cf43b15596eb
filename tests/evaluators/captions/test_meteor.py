"""METEOR against scores that were measured with the jar; benchmarks/captions.py runs the jar."""

import numpy as np
import pytest

from evaluators.captions import meteor_lexicon
from evaluators.captions.meteor import meteor, meteor_exact_stem
from evaluators.captions.meteor_align import EXACT, PARAPHRASE, STEM, SYNONYM, Line, align, stem
from evaluators.captions.meteor_lexicon import Lexicon, split
from evaluators.captions.ptb import tokenize

TOLERANCE = 1e-9
needs_tables = pytest.mark.skipif(
    meteor_lexicon.installed() is None, reason="needs pycocoevalcap's tables"
)
SMALL = Lexicon(
    function_words=frozenset(["the", "a"]),
    synsets={"car": frozenset(["1"]), "auto": frozenset(["1", "2"]), "goose": frozenset(["3"])},
    bases={"geese": ["goose"]},
    paraphrases={"next to": {"beside": 0}, "beside": {"next to": 1}},
    prefixes={"mr": False, "no": True},
)


def kinds(own, reference, lexicon=SMALL):
    found = align(Line(own.split(), lexicon), Line(reference.split(), lexicon))
    return [(m.kind, m.start, m.length, m.own, m.own_length) for m in found]


def test_each_kind_of_match():
    assert kinds("a car", "a car") == [(EXACT, 0, 1, 0, 1), (EXACT, 1, 1, 1, 1)]
    assert kinds("dogs run", "dog ran") == [(STEM, 0, 1, 0, 1)]
    assert kinds("cars", "auto") == [(SYNONYM, 0, 1, 0, 1)]
    assert kinds("goose", "geese") == [(SYNONYM, 0, 1, 0, 1)]
    assert kinds("x beside y", "next to z") == [(PARAPHRASE, 0, 2, 1, 1)]
    assert kinds("x", "y") == []
    assert kinds("", "y") == kinds("y", "") == []


def test_of_equal_words_those_in_one_piece_are_aligned():
    found = kinds("the cat the dog", "the dog")
    assert found == [(EXACT, 0, 1, 2, 1), (EXACT, 1, 1, 3, 1)]


def test_no_word_is_matched_twice(draw_captions):
    candidates, references = draw_captions(seed=5, images=60, words=6)
    for candidate, refs in zip(candidates, references, strict=True):
        own, reference = (Line(split(line, SMALL), SMALL) for line in (candidate, refs[0]))
        found = align(own, reference)
        covered = [m.start + i for m in found for i in range(m.length)]
        own_covered = [m.own + i for m in found for i in range(m.own_length)]
        assert len(set(covered)) == len(covered) and len(set(own_covered)) == len(own_covered)
        assert covered == sorted(covered)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Mr. Smith's no. 5 dog .", "mr . smith 's no. 5 dog ."),
        ("mr. smith 's", "mr. smith ' s"),  # a clitic that is already apart loses its apostrophe
        ("the u.s. flag", "the us flag"),
        ("a well-known co-op", "a well known co op"),
        ("so ... what ?", "so ... what ?"),
        ("1,000 dogs,cats", "1,000 dogs , cats"),
        ("it’s “here”", 'it \'s " here "'),
        ("x\u00a0y", "x y"),
        ("", ""),
    ],
)
def test_lines_are_split_as_by_norm(line, words):
    assert " ".join(split(line, SMALL)) == words


@pytest.mark.parametrize(
    ("word", "base"), [("riding", "ride"), ("ponies", "poni"), ("added", "ad"), ("", "")]
)
def test_stems_are_the_old_ones(word, base):
    assert stem(word) == base


def test_score_by_hand():
    # "dogs" and "dog", "run" and "run": P = R = (0.6 + 1) / 3 words, in 1 chunk of 2 matches
    found = meteor_exact_stem(["x dogs run"], [["y dog run"]])
    assert found.value == pytest.approx(1.6 / 3 * (1 - 0.6 * (1 / 2) ** 0.2))
    # a stem apart from the rest would cost a chunk and weighs nothing to the search: left alone
    assert meteor_exact_stem(["dog x dogs"], [["dog y dog"]]).value == pytest.approx(0.4 / 3)
    assert meteor_exact_stem(["a b c"], [["x", "a b c"]]).value == pytest.approx(1)
    assert meteor_exact_stem(["", "a", ""], [["a"], [""], [""]]).per_image.tolist() == [0, 0, 0]


@needs_tables
def test_meteor_equals_what_the_jar_was_measured_to_say(coco_evaluation):
    own = [tokenize(c) for c in coco_evaluation["candidates"]]
    refs = [[tokenize(c) for c in of_one] for of_one in coco_evaluation["references"]]
    ours, theirs = meteor(own, refs), coco_evaluation["scores"]["METEOR"]
    assert ours.value == pytest.approx(theirs["corpus"], abs=TOLERANCE)
    np.testing.assert_allclose(ours.per_image, theirs["per_image"], rtol=0, atol=TOLERANCE)
    simple = meteor_exact_stem(own, refs)
    assert np.abs(simple.per_image - ours.per_image).max() > 0.05  # the tables do matter
