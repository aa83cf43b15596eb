"""Tokens against those of the Java tokenizer: measured ones, and its own where Java is present."""

import random
import shutil

import pytest

from evaluators.captions.ptb import MARKS, tokenize


def test_tokens_are_those_measured(coco_evaluation):
    assert len(coco_evaluation["tokens"]) > 70
    for caption, tokens in coco_evaluation["tokens"]:
        assert tokenize(caption) == tokens, caption


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("", ""),
        ("  \t ", ""),
        ("...!", ""),
        ("A man\nriding.", "a man riding"),
        ("They're can't cannot", "they 're ca n't can not"),
        ("a (brown) dog!!!", "a -lrb- brown -rrb- dog !!!"),
        ("1 1/2 cups", "1\u00a01/2 cups"),
        ("a 😀 cat", "a cat"),
        ("日本語 の テキスト。", "日本語 の テキスト 。"),
        ("ÉCOLE Straße", "école straße"),
    ],
)
def test_some_by_name(caption, tokens):
    assert tokenize(caption) == tokens


def test_tokens_never_hold_a_mark_or_a_plain_space():
    rng = random.Random(3)
    pieces = [
        "A",
        "dog's",
        "--",
        "''",
        "``",
        ".",
        "...",
        ",",
        "(",
        "x.y",
        "&amp;",
        "\u00a0",
        "u.s.",
    ]
    for _ in range(300):
        caption = "".join(rng.choice(pieces) + rng.choice(["", " "]) for _ in range(8))
        tokens = tokenize(caption).split(" ") if tokenize(caption) else []
        assert not MARKS & set(tokens), caption


def java_tokens(captions: list[str]) -> list[str]:
    """The original's, with a line between so that no caption hangs on the next."""
    tokenizer = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    lines = [line for caption in captions for line in (caption, "x")]
    found = tokenizer.tokenize({i: [{"caption": line}] for i, line in enumerate(lines)})
    return [found[2 * i][0] for i in range(len(captions))]


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_java_says_the_same_of_random_text(coco_evaluation, seed):
    rng = random.Random(seed)
    pieces = [piece for caption, _ in coco_evaluation["tokens"] for piece in caption.split()]
    captions = [
        "".join(
            rng.choice(pieces) + rng.choice(["", " ", " ", " "]) for _ in range(rng.randint(1, 8))
        )
        for _ in range(1500)
    ]
    captions += [caption for caption, _ in coco_evaluation["tokens"]]
    ours = [tokenize(caption) for caption in captions]
    theirs = java_tokens(captions)
    differing = [
        (caption, our, their)
        for caption, our, their in zip(captions, ours, theirs, strict=True)
        if our != their
    ]
    assert len(differing) <= 1, differing  # a joined-up oddity in 1,500 is let pass
