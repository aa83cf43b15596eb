"""Prompts to texts: the one protocol of writers, and the writer that asks a chat server.

A prompt file is a template that people can review; what stands on a screen enters it as JSON
strings. Its version is the hash of all prompt files, kept with every item.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Protocol

from annotators.chat import Chat, ChatConfig, Reply, ask
from annotators.screen.tasks.items import ANSWERED, MANY, Kind, Pick

PROMPTS = ("word", "order", "summary", "answer", "blind")
Prompt = Literal["word", "order", "summary", "answer", "blind"]


_WORDS = (
    "a|and|are|can|displayed|does|given|here|in|is|it|listed|of|on|one|page|placed|say|screen|see|"
    "seen|shown|text|that|the|there|this|to|up|value|word|written|you"
)
_BEGIN = {
    "read": "(What|Which text|Which word|Which value|What text) (is|stands|is shown|is written|"
    "is displayed|is listed|is placed|can be seen|can you see|do you see)( (right|just|directly))?",
    "navigate": "(Tap|Press|Select|Choose|Click|Click on|Touch|Find|Go to|Tap on) the",
}
_JOINT = {
    "read": "( the (text|word|words|label|name|entry))?",
    "navigate": "( (named|called|labelled|that says|that shows|with the (name|text|label)))?",
}
"""What stands before the words that a wording keeps, and between these and the name, by kind."""


@dataclass(frozen=True)
class Request:
    """One text to write."""

    prompt: str
    schema: Mapping[str, Any]
    """JSON schema of the answer: an object with one string property."""
    seed: int = 0
    """Of sampling, where there is any."""
    most_tokens: int = 96
    """Of the answer."""
    varied: bool = False
    """Whether it is sampled, so that wordings differ; else the likeliest text is wanted."""


class Writer(Protocol):
    """Writes a batch of texts."""

    name: str
    """The model, as the items name it."""
    answers: tuple[Kind, ...]
    """Kinds of questions that it can answer well enough for its answers to tell anything."""

    def write(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply to each, in order; what went wrong is a reply's status, never an exception."""


class ChatWriter:
    """Asks any server that speaks the OpenAI chat API, with its JSON-schema response format."""

    answers = ANSWERED

    def __init__(self, config: ChatConfig) -> None:
        self.chat, self.name = Chat(config), config.model or config.url

    def write(self, requests: Sequence[Request]) -> list[Reply]:
        """Many at once; answers are kept and failures tried again as the config says."""
        extras = [
            {
                "response_format": response_format(one.schema),
                "seed": one.seed,
                "max_tokens": one.most_tokens,
            }
            for one in requests
        ]
        return self.chat.answers([ask(one.prompt) for one in requests], extras)


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """As the chat API takes a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}


@cache
def template(name: Prompt) -> str:
    """A prompt file, its first block of # lines left out."""
    text = (files("annotators.screen.tasks") / "prompts" / f"{name}.txt").read_text("utf-8")
    lines = text.splitlines()
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return "\n".join(lines).strip()


@cache
def version() -> str:
    """12 hex digits over all prompt files."""
    whole = "\0".join(template(name) for name in PROMPTS)  # type: ignore[arg-type]
    return hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()


def filled(name: Prompt, **values: str) -> str:
    """A prompt: each {NAME} of the file replaced by its value, all in one pass, so that a value
    that holds {ANOTHER} stays as it is.
    """
    return re.sub(r"\{([A-Z]+)\}", lambda found: values[found[1]], template(name))


def unpacked(reply: Reply, schema: Mapping[str, Any]) -> Reply:
    """The string in a reply's JSON; status not_json if it is none or has not that one property."""
    if reply.status != "ok":
        return reply
    (key,) = schema["properties"]
    try:
        found = json.loads(_fenced(reply.text))
        text = found[key]
    except (ValueError, TypeError, KeyError, RecursionError):
        return Reply("not_json", detail=reply.text[:200])
    if not isinstance(text, str) or not text.strip() or set(found) != {key}:
        return Reply("not_json", detail=reply.text[:200])
    return Reply("ok", " ".join(text.split(" ")).strip())


def _fenced(text: str) -> str:
    """Without a code fence around it, in which some models put their JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json").strip()
    return text


def wording_schema(key: str, pick: Pick) -> dict[str, Any]:
    """A sentence with the words and names that `pick` keeps, in order, and its last mark.

    Decoding under it cannot lose a name. In between stand a few harmless words each: left to
    itself, a 135M model goes on and on and never comes to the name.
    """
    groups = list(pick.keeps)
    begin, joint = f"(What|Which){_few(4)}", _few(3)
    if pick.anchors:
        begin, joint = _BEGIN.get(pick.kind, begin), _JOINT.get(pick.kind, joint)
    elif groups and groups[0] == MANY:
        begin = "(How many|What is the number of|What is the count of)"
        groups.pop(0)
    middle = "".join(f" ({'|'.join(map(literal, group))}){joint}" for group in groups)
    comma = ",?" if len(pick.anchors) > 1 else ""
    between = " and" if pick.kind == "sum" else " or"
    named = between.join(f" '{literal(name)}'" for name in pick.anchors)
    end, rest = (".", "") if pick.kind == "navigate" else ("?", _few(3))
    return _object(
        key, {"type": "string", "pattern": f"^{begin}{middle}{comma}{named}{rest}[{end}]$"}
    )


def _few(most: int) -> str:
    """Up to `most` harmless words, each after a space."""
    return f"( ({_WORDS}))?" * most


def text_schema(key: str, least: int, most: int) -> dict[str, Any]:
    """Of any text of `least` to `most` characters."""
    return _object(key, {"type": "string", "minLength": least, "maxLength": most})


def choice_schema(key: str, choices: Sequence[str]) -> dict[str, Any]:
    """Of one of `choices`."""
    return _object(key, {"type": "string", "enum": list(dict.fromkeys(choices))})


def _object(key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: value},
        "required": [key],
        "additionalProperties": False,
    }


def literal(text: str) -> str:
    """A text as a JSON schema's pattern has it."""
    return "".join(f"\\{c}" if c in r"^$.*+?()[]{}|\/" and c != "/" else c for c in text)


def number_schema(key: str) -> dict[str, Any]:
    """Of an amount."""
    return _object(key, {"type": "string", "pattern": "^[$€£¥]?[0-9][0-9,.]*[ %a-zA-Z]*$"})
