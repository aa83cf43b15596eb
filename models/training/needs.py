"""What each model is fed: one place that the loader, the checks and the recipes ask.

A batch has pixels, or texts, or both. Some models work beside a frozen network that they do not
hold: BLIP-2's second stage beside a language model, Flamingo beside a vision encoder. Others hold
a frozen part, which has to come from a checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from models.blip.blip import BLIPConfig
from models.blip2.blip2 import BLIP2Config
from models.blip2.language import BLIP2LanguageConfig
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig
from models.dalle2.dalle2 import DALLE2Config
from models.flamingo.flamingo import FlamingoConfig
from models.gpt import GPTConfig
from models.pic2word import Pic2WordConfig
from models.screenai import ScreenAIConfig
from models.tokenizers.clip import Tokenizer
from models.training.loaders import Target
from models.training.partners import language_context, vision_of
from models.vision.patching import PatchingConfig
from models.weights import ModelConfig

SECOND_STAGE_TOKENS = 34
"""Most tokens of a text in BLIP-2's second stage: the authors' 32, a start and an end."""


@dataclass(frozen=True)
class Words:
    """The ids that a model reads."""

    key: str  # of the config, that says how many there are
    ids: int | None  # that many; None: the config does not say
    context_length: int = 0  # most tokens of a text; 0: as many as the loader likes
    exact: bool = True  # whether the tokenizer must have all of them
    end: int | None = None  # last id of a text; None: the vocabulary's last one


@dataclass(frozen=True)
class Needs:
    """What a model's batches are made of, and what it cannot do without."""

    name: str  # of the model, with its article
    image_size: tuple[int, int] | None = None  # height and width, pixels; None: not of one size
    words: Words | None = None  # None: no texts
    target: Target | None = None  # column beside the image; None: no images
    start: str = ""  # the frozen part that a start has to bring; empty: it may train from nothing
    beside: Literal["", "language model", "vision encoder"] = ""  # frozen, not held by the model
    patching: PatchingConfig | None = None  # how images of any size are cut; None: they are not


def needs(config: ModelConfig, beside: ModelConfig | None = None) -> Needs:
    """What a model of `config` is fed; `beside` configures the frozen network beside it.

    Raises TypeError for a model that no loop trains, ValueError where `beside` is missing or of
    another kind than the model works with.
    """
    if isinstance(config, GPTConfig):
        words = Words("vocab_size", config.vocab_size, config.context_length)
        return Needs("a GPT", words=words)
    if isinstance(config, ClassifierConfig):
        return Needs("a classifier", config.vision.image_size, target="label")
    if isinstance(config, CLIPConfig):
        return Needs("a CLIP", config.vision.image_size, _clip_words(config), "texts")
    if isinstance(config, BLIPConfig):  # it adds the two words that begin its readings
        text = config.text
        words = Words("text.vocab_size - 2", text.vocab_size - 2, text.context_length)
        return Needs("a BLIP", config.vision.image_size, words, "texts")
    if isinstance(config, ScreenAIConfig):
        language = config.language
        words = Words("language.vocab_size", language.vocab_size, exact=False, end=language.end)
        return Needs("a ScreenAI", None, words, "examples", patching=config.patching)
    return _with_frozen_parts(config, beside)


def _with_frozen_parts(config: ModelConfig, beside: ModelConfig | None) -> Needs:
    if isinstance(config, Pic2WordConfig):
        words = _clip_words(config.clip, "clip.")
        size = config.clip.vision.image_size
        return Needs("a Pic2Word", size, words, "image_id", start="a CLIP")
    if isinstance(config, DALLE2Config):
        words = _clip_words(config.clip, "clip.", config.decoder.captions.context_length)
        return Needs("a DALL-E 2", made_size(config), words, "texts", start="a CLIP")
    if isinstance(config, BLIP2Config):
        text = config.former
        words = Words("former.decode", text.decode, text.context_length, False, text.end)
        size = config.vision.image_size
        return Needs("a BLIP-2", size, words, "texts", start="an image encoder")
    if isinstance(config, BLIP2LanguageConfig):
        return _second_stage(config, beside)
    if isinstance(config, FlamingoConfig):
        return _flamingo(config, beside)
    raise TypeError(f"{type(config).__name__} is trained on batches of neither kind")


def _clip_words(config: CLIPConfig, prefix: str = "", most: int | None = None) -> Words:
    text = config.text
    length = text.context_length if most is None else min(most, text.context_length)
    return Words(f"{prefix}text.vocab_size", text.vocab_size, length)


def _second_stage(config: BLIP2LanguageConfig, beside: ModelConfig | None) -> Needs:
    name = "a BLIP-2 of the second stage"
    length = SECOND_STAGE_TOKENS
    if beside is not None:
        room = language_context(beside)
        if room is not None:
            length = min(length, room - config.former.queries - len(config.prompt))
        if length < 3:
            raise ValueError(
                f"the language model reads {room} tokens; {config.former.queries} queries and a"
                f" prompt of {len(config.prompt)} leave {length}, at least 3 are needed"
            )
    words = Words("language", None, length, False, config.end)
    size, start = config.vision.image_size, "a first stage or an image encoder"
    return Needs(name, size, words, "texts", start=start, beside="language model")


def _flamingo(config: FlamingoConfig, beside: ModelConfig | None) -> Needs:
    language, size = config.language, None
    if beside is not None:
        vision = vision_of(beside)
        if vision.width != config.resampler.width:
            raise ValueError(
                f"resampler.width={config.resampler.width}, the vision encoder's is {vision.width}"
            )
        size = vision.image_size
    length = language.context_length - 1  # and the token that stands for the image
    words = Words("language.vocab_size", language.vocab_size, length, False, config.end)
    partner: Literal["vision encoder"] = "vision encoder"
    return Needs("a Flamingo", size, words, "texts", start="a language model", beside=partner)


def made_size(config: DALLE2Config) -> tuple[int, int]:
    """Height and width of what the last upsampler of a DALL-E 2 makes, pixels."""
    factor = math.prod(each.factor for each in config.upsamplers)
    height, width = config.decoder.image_size
    return height * factor, width * factor


def checked(
    config: ModelConfig, tokenizer: Tokenizer | None, start: str, beside: ModelConfig | None
) -> Needs:
    """`needs`, all of them met. Raises ValueError naming what is missing or does not fit."""
    wants = needs(config, beside)
    if wants.start and not start:
        raise ValueError(f"{wants.name} needs a start that brings its frozen part: {wants.start}")
    if wants.beside and beside is None:
        raise ValueError(f"{wants.name} needs a {wants.beside} beside it, got none")
    if beside is not None and not wants.beside:
        raise ValueError(f"{wants.name} takes no model beside it, got {type(beside).__name__}")
    _check_words(wants, tokenizer)
    return wants


def _check_words(wants: Needs, tokenizer: Tokenizer | None) -> None:
    words = wants.words
    if words is None:
        return
    if tokenizer is None:
        raise ValueError(f"{wants.name} needs a tokenizer, got None")
    found = tokenizer.vocab_size
    if words.ids is not None and (found > words.ids or (words.exact and found != words.ids)):
        raise ValueError(f"{words.key}={words.ids}, the tokenizer has {found} ids")
    if words.end is not None and tokenizer.end != words.end:
        raise ValueError(f"{wants.name} has end={words.end}, the tokenizer's is {tokenizer.end}")
