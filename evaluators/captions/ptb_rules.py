"""The rules of the Penn Treebank scanner: what a token may look like, and what it turns into.

A rule is a pattern, often with a group "t" for the token and then something that must follow but is
not taken. The scanner (ptb.py) takes the rule that reaches furthest, the first of equals, so the
order here matters between rules that reach equally far. What they accept was measured on CoreNLP
3.4.1: character by character over the Basic Multilingual Plane, word by word for the abbreviations.
The flex file of its PTBLexer describes them.

Letters are case-blind within (?i:) and nowhere else. {NAME} stands for the pattern of that name. A
caption ends in a line feed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import regex

# Signs that belong to words though Unicode does not call them letters. The ones that are not here
# part words, so that Kannada, Khmer or Burmese fall to pieces: there as here.
_SIGNS = (
    r"\u00AD\u02C2-\u02C5\u02D2-\u02DF\u02E5-\u02EB\u02ED\u02EF-\u036F\u0375\u0384\u0385\u03F6"
    r"\u0483-\u0487\u055A-\u055F\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7\u0615-\u061A"
    r"\u064B-\u065E\u0670\u06D6-\u06EF\u06FD\u06FE\u070F\u0711\u0730-\u074C\u07A6-\u07B0"
    r"\u07EB-\u07F3\u0900-\u0903\u093C\u093E-\u094E\u0951-\u0955\u0962\u0963\u0981-\u0983\u09BC"
    r"\u09BE-\u09C4\u09C7\u09C8\u09CB-\u09CD\u09D7\u09E2\u09E3\u0A01-\u0A03\u0A3C\u0A3E-\u0A4F"
    r"\u0A81-\u0A83\u0ABC\u0ABE-\u0ACF\u0B82\u0BBE-\u0BC2\u0BC6-\u0BC8\u0BCA-\u0BCD\u0C01-\u0C03"
    r"\u0C3E-\u0C56\u0D3E-\u0D44\u0D46-\u0D48\u0E31\u0E34-\u0E3A\u0E47-\u0E4E\u0EB1\u0EB4-\u0EBC"
    r"\u0EC8-\u0ECD"
)
# Characters that are a token of their own.
_SYMBOLS = (
    r"+%&~^|\\=/\u00A1\u00A5-\u00A9\u00AC\u00AE-\u00B1\u00B4\u00B6-\u00B8\u00BF\u00D7\u00F7\u037E"
    r"\u0387\u0589\u05BE\u05C0\u05C3\u05C6\u05F3\u05F4\u0600-\u0603\u0606-\u060C\u0614\u061B\u061E"
    r"\u061F\u066A\u066D\u06D4\u0700-\u070D\u07F6-\u07F8\u0964\u0965\u0E3F\u0E4F\u1FBD\u2016\u2017"
    r"\u201A\u201E-\u2023\u2030-\u2038\u203B\u203E-\u2042\u2044\u207A-\u207E\u208A-\u208E\u20A4"
    r"\u2100-\u214F\u2190-\u2BFF\u3001\u3002\u3012\u30FB\uFF01-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40"
    r"\uFF5B-\uFF65\uFFE0\uFFE1\uFFE5\uFFE6"
)
# Months, days, states, companies: they keep their dot and end a word, "Ltd.x" being two.
_DOTTED = """al ala apr ariz assn aug bancorp bhd bldg blvd bros calif co colo conn corp cos ct dak
dec esq est etc ext feb fla fri ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo
mon mont neb nev nov oct okla penn plc ppte ppty pptys pte ptes pty ptys rd rt sep sept seq sq sr
sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo"""
_DOTTED_NAMES = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"  # "ill." ends a sentence
# Titles and others that keep their dot.
_TITLES = """adj adm adv alex asst atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr
drs elec ens ft gen gov govs hon insp invt jos lieut lt maj messrs mfg mlle mme mr mrs ms msgr mt
mtg natl pfc ph pres prof profs pvt rep reps rev sen sens sfc sgt spc st ste supt supts treas
vs wm"""
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
_FILES = """bat bmp bz2 c class cgi cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3
pdf php pl png ppt ps py sql tar txt wav x xml zip"""
# After "plan B." these begin a sentence, and the dot is no part of "B" then.
_STARTS = """About According Additionally After An A As At But Earlier He Her Here However If In It
Last Many More Mr\\. Ms\\. Now Once One Other Our She Since So Some Such That The Their Then There
These They This We When While What Yet You {TAG}"""


def _one_of(words: str) -> str:
    return "(?:" + "|".join(words.split()) + ")"


_NAMES = {
    "S": r"[ \t\u00A0\u2000-\u200A\u3000]",
    "END": r"[ \t\u00A0\u2000-\u200A\u3000\n]",
    "D": r"\p{Nd}",
    "A": r"[\p{Letter}\p{Nd}]",
    "L": rf"(?:[\p{{Letter}}{_SIGNS}]|(?i:&[aeiou](?:acute|grave|uml);))",
    "WORD": r"(?:{L}(?:{L}|{D})*(?:[.!?]{L}(?:{L}|{D})*)*)",
    "APOS": r"(?:['\u0092\u2019]|(?i:&apos;))",
    "ANYAPOS": r"(?:{APOS}|[`\u0091\u2018\u201B])",
    "PAUSE": r"[,;:\u3001]",
    "NUM": r"(?:{D}*(?:[.:,\u00AD\u066B\u066C]{D}+)+|{D}+)",
    "CLITIC": r"(?:{APOS}(?i:[msd]|re|ve|ll))",
    "NOT": r"(?i:n{ANYAPOS}t)",
    "THING": r"(?:{PART}(?:[-_\u058A\u2010\u2011]{PART})*)",
    "PART": r"(?:[dDoOlL]{ANYAPOS}{A})?{A}+",
    "COMPOUND": r"(?:[A-Za-z0-9][A-Za-z0-9.,\u00AD]*(?:-(?:{INITIALS}\.|[A-Za-z0-9\u00AD]+))+)",
    "INITIALS": r"(?:[A-Za-z](?:\.[A-Za-z])+|(?i:canada|sino|korean|eu|japan|non)-(?i:u\.s))",
    "FIRM": r"(?:[A-Z]+(?:(?:[+&]|(?i:&amp;))[A-Z]+)+)",
    "SLASHED": r"(?:[A-Za-z0-9]+(?:-[A-Za-z]+){0,2})",
    "PATH": r"[^ \t\n\f\r\"<>|()]+[^ \t\n\f\r\"<>|.!?(){},-]",
    "HOST": r"(?:[^ \t\n\f\r\"<>|.!?(){},]+\.)",
    "SITE": r"(?:[^ \t\n\f\r\"`'<>|.!?(){},-_$]+\.)",  # ",-_" is a range: no capital, no digit
    "MAIL": r"[^ \t\n\f\r\"<>|(){}.\u00A0]+",
    "LESS": r"(?:<|(?i:&lt;))",
    "MORE": r"(?:>|(?i:&gt;))",
    "EYE": r"[-^x=~<>']",
    "TAG": r"(?:<(?:[!?][A-Za-z-][^>\r\n]*|{TAGNAME}(?:{ATTRIBUTE})* */?|/{TAGNAME}) *>)",
    "TAGNAME": r"[A-Za-z][A-Za-z0-9_:.-]*",
    "ATTRIBUTE": r" +{TAGNAME}(?: *= *(?:'[^']*'|\"[^\"]*\"))?",
    "GAP": r"[- \u00A0]",
    "STARTS": _one_of(_STARTS),
    "DOTTED": rf"(?:(?i:{_one_of(_DOTTED)}|(?:ed|ph)\.d)\.|{_one_of(_DOTTED_NAMES)}\.)",
    "TITLE": rf"(?i:{_one_of(_TITLES)})",
    "NUMBERED": rf"(?i:{_one_of(_BEFORE_NUMBERS)})",
    "FILE": rf"{{A}}+(?:\.{{A}}+)*\.(?i:{_one_of(_FILES)})",
}


def _pattern(text: str) -> regex.Pattern[str]:
    while (spelt_out := regex.sub(r"\{([A-Z]+)\}", lambda m: _NAMES[m[1]], text)) != text:
        text = spelt_out
    return regex.compile(text)


def _same(token: str) -> str:
    return token


def _nothing(_: str) -> str:
    return ""


def _whole(token: str) -> str:
    return token.replace("\u00ad", "") or "-"  # soft hyphens out


def _unbracketed(token: str) -> str:
    return token.replace("(", "-LRB-").replace(")", "-RRB-")


def _spaceless(token: str) -> str:
    return token.replace(" ", "\u00a0")


def _ampersand(token: str) -> str:
    return str(regex.sub("(?i)&amp;", "&", token))


def _quotes(token: str) -> str:
    for characters, latex in _LATEX_QUOTES.items():
        token = regex.sub(characters, latex, token)
    return token


def _named(token: str) -> str:
    return _SPOKEN.get(token.lower(), token)


_LATEX_QUOTES = {
    r"(?i)&apos;|[\u0092\u2019\u203A]": "'",
    r"[\u0091\u2018\u201B\u2039]": "`",
    r"[\u0093\u201C\u00AB]": "``",
    r"[\u0094\u201D\u00BB]": "''",
}
_SPOKEN = {
    **{"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"},
    **{"&lt;": "<", "&gt;": ">"},
    **{"¢": "cents", "£": "#", "\u0080": "$", "\u00a4": "$", "\u20a0": "$", "€": "$"},
    **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"},
}


class Rule(NamedTuple):
    """A pattern, and what its token turns into (nothing: an empty string), not yet lower case."""

    pattern: regex.Pattern[str]
    turn: Callable[[str], str]


RULES = tuple(
    Rule(_pattern(pattern), turn)
    for pattern, turn in (
        (r"(?i:c\+\+|[cf]#)", _same),
        (r"(?<t>(?i:can))(?i:not)|(?<t>(?i:'t))(?i:was|is)", _same),
        (r"(?<t>(?i:gon|wan))(?i:na)|(?<t>(?i:got))(?i:ta)|(?<t>(?i:lem|gim))(?i:me)", _same),
        # tags and entities
        (r"{TAG}", _spaceless),
        (r"(?i:&(?:md|mdash|ndash);)|[\u0096\u0097\u2013-\u2015]|(?i:&nbsp;)", _nothing),
        (r"(?i:&amp;)", _ampersand),
        (r"(?i:&(?:ht|tl|ur|lr|qc|ql|qr|odq|cdq|#[0-9]+);)", _same),
        # words: they | 're, do | n't, o'clock
        (r"(?<t>{WORD}){CLITIC}", _whole),
        (r"(?<t>[A-Za-z\u00AD]*[A-MO-Za-mo-z]\u00AD*){NOT}", _whole),
        (r"{WORD}", _whole),
        (r"(?i:{APOS}(?:n{APOS}?|em|till?|cause|[2-9]0s))", _same),
        (r"(?i:(?:dunkin|somethin|ol|[ldj]){APOS})", _same),
        (r"(?i:cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l|o{ANYAPOS}o)", _same),
        (r"[A-HJ-XZn]{ANYAPOS}\p{Letter}{2,}", _same),
        (r"\p{Letter}+[aeiouyAEIOUY]{ANYAPOS}[aeiouA-Z]\p{Letter}*", _same),
        (r"(?<t>(?i:y){APOS})\p{Letter}", _same),
        # addresses
        (r"(?i:https?)://{PATH}", _same),
        (r"(?i:www)\.{HOST}+[a-zA-Z]{2,4}(?:/{PATH})?", _same),
        (r"{SITE}+(?i:com|net|org|edu)(?:/{PATH})?", _same),
        (r"{LESS}?[a-zA-Z0-9][^ \t\n\f\r\"<>|(){}\u00A0]*@(?:{MAIL}\.)*{MAIL}{MORE}?", _same),
        (r"@[a-zA-Z_][a-zA-Z_0-9]*|#{L}+", _same),
        (r"(?<t>{CLITIC}|{NOT})[^A-Za-z]", _quotes),
        # numbers
        (r"[0-9]{1,2}[-/][0-9]{1,2}[-/][0-9]{2,4}", _same),
        (r"[-+]?{NUM}", _whole),
        (r"[\u207A\u207B\u208A\u208B]?(?:[\u2070¹²³\u2074-\u2079]+|[\u2080-\u2089]+)", _same),
        (r"(?:{D}{1,4}{GAP})?{D}{1,4}(?:\\?/|\u2044){D}{1,4}", _spaceless),
        (r"[\u00BC-\u00BE\u2153-\u215E]", _named),
        (r"-(?i:[RL][RCS]B)-|(?i:c\.d\.s|pro-|anti-|cap{APOS}n|c{APOS}est)", _same),
        (r"(?i:s(?:&|&amp;)(?:p-500|ls))", _ampersand),
        (r"{SLASHED}(?:\\?/{SLASHED}){1,2}", _same),
        (r"[A-Z]*\$|#", _same),
        (r"[\u00A2-\u00A5\u0080\u20A0\u20A4\u20AC\u060B\u0E3F\uFFE0\uFFE1\uFFE5\uFFE6]", _named),
        # abbreviations
        (r"(?<t>[A-Za-z])\.{S}+{STARTS}(?:{END}|[?!])", _same),
        (r"(?<t>{NUMBERED}\.){S}?{D}", _same),
        (r"(?<t>{DOTTED})(?s:..?)", _same),
        (r"(?:{TITLE}|[A-Za-z])\.", _same),
        (r"{INITIALS}\.", _same),
        (r"(?<t>{INITIALS}){END}", _same),
        (r"(?<t>{APOS}[0-9][0-9]){END}", _same),
        (r"(?<t>{FILE})(?:{END}|[.,!?])", _same),
        (r"(?<t>{WORD}\.){PAUSE}", _whole),
        # telephones
        (
            r"(?:\([0-9]{2,3}\)[ \u00A0]?|(?:\+\+?)?(?:[0-9]{2,4}{GAP})?[0-9]{2,4}{GAP})"
            r"[0-9]{3,4}{GAP}?[0-9]{3,5}",
            lambda token: _spaceless(_unbracketed(token)),
        ),
        (r"(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}", _same),
        # marks
        (r"\"|(?i:&quot;)|''", _nothing),
        (r"{LESS}|{MORE}|[(){}\[\]]", _named),
        (r"(?<t>[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])[^A-Za-z0-9]", _unbracketed),
        (r"{EYE}_{EYE}|\({EYE}[_.]?{EYE}\)|\([\^x=~<>']-[\^x=~<>'`]\)", _unbracketed),
        (r"-{1,4}|\.{3,5}|\.|[\u0085\u2026]|(?:\.[ \u00A0]){2,4}\.", _nothing),
        (r"-{5,}|@+|#+|_+|\*+|(?:\\\*){1,3}|{PAUSE}|[?!]+", _same),
        (r"(?<t>{COMPOUND}\.){PAUSE}", _whole),
        (r"{COMPOUND}", _whole),
        (r"(?<t>{THING}\.){PAUSE}", _whole),
        (r"{THING}", _whole),
        (r"(?<t>{FIRM}\.){PAUSE}", _ampersand),
        (r"{FIRM}", _ampersand),
        (r"(?<t>')[A-Za-z][^ \t\n\r\u00A0]", _nothing),
        (r"{CLITIC}|{NOT}", _quotes),
        (r"[`\u2018-\u201F\u0091-\u0094\u2039\u203A\u00AB\u00BB]{1,2}|{APOS}", _quotes),
        (r"<<|>>", _same),
        (f"[{_SYMBOLS}]", _same),
    )
)
