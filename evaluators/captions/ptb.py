"""Penn Treebank tokens of a caption, as the COCO caption evaluation makes them.

The COCO evaluation pipes its captions through the Java PTBTokenizer of Stanford CoreNLP 3.4.1,
lower-cased, and then removes a list of punctuation marks. That program is a scanner: of its rules
the one wins that reaches furthest, what it looks ahead at counted in, the first of equals. Here the
same is done in Python (rules: ptb_rules.py). Some of what comes out is odd, and kept so that scores
agree: brackets stay as "-lrb-" and "-rrb-", since the list of marks has them in capitals; "!!!"
stays where "!" goes; "1 1/2" is one token with a no-break space inside; what lies beyond U+FFFF,
most emoji, vanishes.

One thing differs: captions are read alone here, there all in one file, so that "plan B." loses its
dot there if the next caption begins with "The". And letters younger than Unicode 6.1 are letters.
"""

from __future__ import annotations

import functools

import regex

from evaluators.captions.ptb_rules import RULES

MARKS = frozenset(["", "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_PLAIN = regex.compile(r"[A-Za-z]+(?=[ \n])")
_BEYOND = regex.compile(r"[\U00010000-\U0010FFFF\uD800-\uDFFF]")


def tokenize(caption: str) -> str:
    """The caption's tokens in lower case, one space between two, without the marks."""
    text = caption.replace("\n", " ") + "\n"
    scanned = _BEYOND.sub("\0", text)
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == " ":
            at += 1
        elif plain := _PLAIN.match(text, at):
            found += _plain_word(plain[0])
            at = plain.end()
        else:
            token, at = _furthest(text, scanned, at)
            found.append(token)
    return " ".join(token for token in found if token not in MARKS)


@functools.lru_cache(maxsize=1 << 16)
def _plain_word(word: str) -> tuple[str, ...]:
    """Tokens of ASCII letters with a space on either side: what surrounds them has no say."""
    first, end = _furthest(word, word + " ", 0)
    return (first,) if end == len(word) else (first, *_plain_word(word[end:]))


def _furthest(text: str, scanned: str, at: int) -> tuple[str, int]:
    """The token at `at` in lower case, empty if there is none, and where to go on."""
    best, turn = None, None
    for rule in RULES:
        match = rule.pattern.match(scanned, at)
        if match and (best is None or match.end() > best.end()):
            best, turn = match, rule.turn
    if best is None or turn is None:
        return "", at + 1
    start, end = best.span("t" if "t" in best.re.groupindex else 0)
    return turn(text[start:end]).lower(), end
