"""Which class runs a captioner or a filter that someone named: the one place that knows them all.

    http://..., https://...    a server that speaks the OpenAI chat API (captioner)
    a folder                   a BLIP or BLIP-2, ours or published; a CLIP (filter)

What is returned is picklable: it makes the model where it is to run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from annotators.blip import BLIPCaptioner, BLIPMatcher, Captioning
from annotators.captions import Captioner, Matcher, Prepare
from annotators.chat_captions import ChatCaptioner, ChatCaptioning, ShrinkToJPEG
from annotators.clip_score import CLIPMatcher
from annotators.frame import Frame
from models.pixels import Fit

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Chosen(Generic[Kind]):
    """How a model is made, what its images are prepared by, and what tells it from others."""

    make: Callable[[], Kind]
    prepare: Prepare
    identity: str
    """Content hash of a checkpoint, or a server's address and model."""


def captioner_at(
    place: str, fit: Fit, captioning: Captioning, chat: ChatCaptioning
) -> Chosen[Captioner]:
    """The captioner at `place`, a folder or a URL. Raises ValueError for a model that writes
    nothing.
    """
    if place.startswith(("http://", "https://")):
        asked = replace(chat, chat=replace(chat.chat, url=place))
        identity = f"{place} {chat.chat.model}"
        return Chosen(partial(ChatCaptioner, asked), ShrinkToJPEG(chat.side), identity)
    kind, frame, identity = _checkpoint(place, fit)
    if kind not in ("BLIPConfig", "BLIP2Config", "BLIP2LanguageConfig"):
        raise ValueError(f"{place} holds a {kind}; legal: a BLIP or a BLIP-2, which write captions")
    return Chosen(partial(BLIPCaptioner, place, fit, captioning), frame, identity)


def matcher_at(place: str, fit: Fit) -> Chosen[Matcher]:
    """The filter in the folder `place`. Raises ValueError for a model that judges nothing."""
    kind, frame, identity = _checkpoint(place, fit)
    if kind == "CLIPConfig":
        return Chosen(partial(CLIPMatcher, place, fit), frame, identity)
    if kind not in ("BLIPConfig", "BLIP2Config"):
        raise ValueError(f"{place} holds a {kind}; legal: a BLIP, BLIP-2 or CLIP, which judge")
    return Chosen(partial(BLIPMatcher, place, fit), frame, identity)


def _checkpoint(place: str, fit: Fit) -> tuple[str, Frame, str]:
    """Name of its config's class, its frame and its hash."""
    from models.weights import content_hash, read

    config: Any = read(place)[0]
    name = type(config).__name__
    if not hasattr(config, "vision"):
        raise ValueError(f"{place} holds a {name}, which sees nothing")
    return name, Frame(config.vision.image_size, fit), content_hash(place)
