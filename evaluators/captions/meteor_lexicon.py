"""What METEOR knows of English: function words, synonyms, paraphrases, and how it splits a line.

The data come from inside the installed pycocoevalcap: the jar of METEOR 1.5 is a zip file with the
function words, WordNet's synonym sets and exceptions and the abbreviations; the paraphrase table
lies beside it (5,274,084 pairs of phrases of up to 7 words). Of the table only pairs of phrases
that the captions at hand contain are kept, which takes 5 to 10 s and little memory. Nothing of Java
runs. An empty Lexicon knows nothing: METEOR then matches equal words and equal stems alone.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import regex

LONGEST_PHRASE = 7
_JAR, _TABLE = "meteor/meteor-1.5.jar", "meteor/data/paraphrase-en.gz"
# WordNet's endings (morphy), in its order: the first that gives a word with a synonym set.
_ENDINGS = (
    *(("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh")),
    *(("men", "man"), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e")),
    *(("ing", ""), ("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
)


@dataclass(frozen=True)
class Lexicon:
    """METEOR's tables; the fields' keys are lower-case words or phrases with single spaces."""

    function_words: frozenset[str] = frozenset()
    synsets: dict[str, frozenset[str]] = field(default_factory=dict)
    bases: dict[str, list[str]] = field(default_factory=dict)
    """Base forms of irregular words: "geese" to "goose"."""
    paraphrases: dict[str, dict[str, int]] = field(default_factory=dict)
    """Phrase to its paraphrases, with their place in the table's order."""
    prefixes: dict[str, bool] = field(default_factory=dict)
    """Abbreviations that keep their dot; True if only before a number."""
    _senses: dict[str, frozenset[str]] = field(default_factory=dict)

    def senses(self, word: str) -> frozenset[str]:
        """Synonym sets of the word and of its base forms."""
        if word not in self._senses:
            own = self.synsets.get(word, frozenset())
            bases = (self.synsets.get(base, ()) for base in self._bases_of(word))
            self._senses[word] = own.union(*bases)
        return self._senses[word]

    def _bases_of(self, word: str) -> list[str]:
        if word in self.bases:
            return self.bases[word]
        if len(word) <= 2 or word.endswith("ss"):
            return [word]
        regular = (word[: -len(end)] + new for end, new in _ENDINGS if word.endswith(end))
        return [base for base in regular if base in self.synsets][:1]


def installed() -> Path | None:
    """The folder of pycocoevalcap with METEOR's data in it, or None."""
    spec = importlib.util.find_spec("pycocoevalcap")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / _JAR).exists() and (Path(folder) / _TABLE).exists():
            return Path(folder)
    return None


def load(captions: Iterable[str]) -> Lexicon:
    """The lexicon for these captions. Raises FileNotFoundError without pycocoevalcap."""
    folder = installed()
    if folder is None:
        raise FileNotFoundError(f"no pycocoevalcap with {_JAR} and {_TABLE} is installed")
    with zipfile.ZipFile(folder / _JAR) as jar:
        words = _lines(jar, "function/english.words")
        prefixes = {}
        for line in _lines(jar, "nonbreaking/english.prefixes"):
            if line.strip() and not line.startswith("#"):
                prefixes[line.split()[0]] = "#NUMERIC_ONLY#" in line
        synonyms = iter(_lines(jar, "synonym/english.synsets"))
        exceptions = iter(_lines(jar, "synonym/english.exceptions"))
    bases: dict[str, list[str]] = {}
    for base, forms in zip(exceptions, exceptions, strict=True):
        for form in forms.split():
            bases.setdefault(form, []).append(base)
    lexicon = Lexicon(
        frozenset(words),
        {word: frozenset(ids.split()) for word, ids in zip(synonyms, synonyms, strict=True)},
        bases,
        prefixes=prefixes,
    )
    phrases = {p for caption in set(captions) for _, _, p in ngrams(split(caption, lexicon))}
    lexicon.paraphrases.update(_paraphrases(folder / _TABLE, phrases))
    return lexicon


def _lines(jar: zipfile.ZipFile, name: str) -> list[str]:
    return jar.read(name).decode().splitlines()


def _paraphrases(table: Path, wanted: set[str]) -> dict[str, dict[str, int]]:
    """Pairs within `wanted`. The table has three lines a pair: a weight, a phrase, its like."""
    found: dict[str, dict[str, int]] = {}
    with gzip.open(table, "rb") as packed:
        lines = io.TextIOWrapper(io.BufferedReader(packed, 1 << 20), "utf-8", newline="\n")
        for place, (_, phrase, like) in enumerate(zip(lines, lines, lines, strict=True)):
            if phrase[:-1] in wanted and like[:-1] in wanted:
                found.setdefault(phrase[:-1], {})[like[:-1]] = place
    return found


def ngrams(words: list[str]) -> Iterator[tuple[int, int, str]]:
    """(start, length, phrase) of all phrases of 1 to 7 words, by start, then length."""
    for start in range(len(words)):
        for length in range(1, min(LONGEST_PHRASE, len(words) - start) + 1):
            yield start, length, " ".join(words[start : start + length])


_LETTER = "A-Za-zŠŽšžŸÀ-ÖØ-öø-žЀ-ӿԀ-ԧꙀ-ꙮ꙾-ꚗᴀ-ᵿ"
_BLANKS = regex.compile(r"[ \t\n\r\f]+")
_DOT = "\ue000"  # one dot of several, which stay together
_STEPS = [
    (regex.compile(pattern, regex.ASCII), new)
    for pattern, new in (
        (rf"([^0-9{_LETTER}\s.'`,\-‘’])", r" \1 "),
        (r"\.\.+", lambda dots: f" {_DOT * len(dots[0])} "),
        (r"([^0-9]),([^0-9])", r"\1 , \2"),
        (r"([0-9]),([^0-9])", r"\1 , \2"),
        (r"([^0-9]),([0-9])", r"\1 , \2"),
        (r"[`‘’]", "'"),
        (r"[“”]|''", ' " '),
        (r"–|--", "-"),
        (rf"([0-9{_LETTER}.])-([0-9{_LETTER}])", r"\1 \2"),
        (rf"([^{_LETTER}])'([^{_LETTER}])", r"\1 ' \2"),
        (rf"([^{_LETTER}0-9])'([{_LETTER}])", r"\1 ' \2"),
        (rf"([{_LETTER}])'([^{_LETTER}])", r"\1 ' \2"),
        (rf"([{_LETTER}])'([{_LETTER}])", r"\1 '\2"),
        (r"([0-9])'(s)", r"\1 '\2"),
    )
]


def split(caption: str, lexicon: Lexicon) -> list[str]:
    """METEOR's words of a caption, lower case: its "-norm", after the tokenizer of Moses."""
    line = f" {caption} "
    for pattern, new in _STEPS:
        line = pattern.sub(new, line)
    words = _BLANKS.split(line.strip(" \t\n\r\f"))
    parted = (
        part for pair in zip(words, [*words[1:], ""], strict=True) for part in _dots(*pair, lexicon)
    )
    return [word.replace(_DOT, ".").lower() for word in parted if word and not word.isspace()]


def _dots(word: str, following: str, lexicon: Lexicon) -> tuple[str, ...]:
    """A last dot is parted, unless it ends an abbreviation; those within "U.S." go."""
    stem = word[:-1]
    if not word.endswith(".") or not stem:
        return (word,)
    if "." in stem and regex.search(f"[{_LETTER}]", stem):
        return (word.replace(".", ""),)
    before_number = lexicon.prefixes.get(stem)
    kept = before_number is False or regex.match("[a-z]", following)
    if kept or (before_number and regex.match("[0-9]", following)):
        return (word,)
    return (stem, ".")
