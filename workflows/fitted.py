"""Named models, and how each takes on the dimensions of its frozen parts and the ids of its words.

A name says the size of what trains. What is frozen comes from checkpoints, and so do its sizes: a
`flamingo-small` beside a ViT of width 384 has a resampler of that width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from models.blip.blip import BLIP_BASE, BLIP_SMALL, BLIPConfig
from models.blip.med import with_words
from models.blip2.blip2 import BLIP2_BASE, BLIP2_SMALL, BLIP2Config
from models.blip2.language import BLIP2LanguageConfig
from models.blip2.query_transformer import QueryTransformerConfig
from models.clip import CLIP_B_32, CLIP_SMALL, CLIPConfig
from models.dalle2.autoregressive_prior import AR_PRIOR_1B, AR_PRIOR_SMALL
from models.dalle2.dalle2 import DALLE_2, DALLE_2_SMALL, DALLE2Config
from models.flamingo.flamingo import (
    FLAMINGO_3B,
    FLAMINGO_9B,
    FLAMINGO_80B,
    FLAMINGO_SMALL,
    FlamingoConfig,
    gated_config,
)
from models.gpt import GPTConfig
from models.pic2word import STAR, Pic2WordConfig
from models.screenai import (
    SCREENAI_2B,
    SCREENAI_5B,
    SCREENAI_670M,
    SCREENAI_SMALL,
    ScreenAIConfig,
)
from models.t5 import T5Config
from models.tokenizers.clip import Tokenizer
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.partners import image_id, vision_of
from models.weights import ModelConfig

Name = Literal[
    "clip-small",
    "clip",
    "blip-small",
    "blip",
    "blip2-small",
    "blip2",
    "blip2-language-small",
    "blip2-language",
    "pic2word",
    "dalle2-small",
    "dalle2-small-codes",
    "dalle2",
    "dalle2-codes",
    "flamingo-small",
    "flamingo-3B",
    "flamingo-9B",
    "flamingo-80B",
    "screenai-small",
    "screenai-small-frozen",
    "screenai-670M",
    "screenai-670M-frozen",
    "screenai-2B",
    "screenai-2B-frozen",
    "screenai-5B",
    "screenai-5B-frozen",
]
MODELS: dict[str, ModelConfig] = {
    "clip-small": CLIP_SMALL,
    "clip": CLIP_B_32,
    "blip-small": BLIP_SMALL,
    "blip": BLIP_BASE,
    "blip2-small": BLIP2_SMALL,
    "blip2": BLIP2_BASE,
    "blip2-language-small": BLIP2LanguageConfig(
        BLIP2_SMALL.vision, replace(BLIP2_SMALL.former, text=False)
    ),
    "blip2-language": BLIP2LanguageConfig(),
    "pic2word": Pic2WordConfig(),
    "dalle2-small": DALLE_2_SMALL,
    "dalle2-small-codes": replace(DALLE_2_SMALL, prior=AR_PRIOR_SMALL),
    "dalle2": DALLE_2,
    "dalle2-codes": replace(DALLE_2, prior=AR_PRIOR_1B),
    "flamingo-small": FLAMINGO_SMALL,
    "flamingo-3B": FLAMINGO_3B,
    "flamingo-9B": FLAMINGO_9B,
    "flamingo-80B": FLAMINGO_80B,
    "screenai-small": SCREENAI_SMALL,
    "screenai-small-frozen": replace(SCREENAI_SMALL, frozen_vision=True),
    "screenai-670M": SCREENAI_670M,
    "screenai-670M-frozen": replace(SCREENAI_670M, frozen_vision=True),
    "screenai-2B": SCREENAI_2B,
    "screenai-2B-frozen": replace(SCREENAI_2B, frozen_vision=True),
    "screenai-5B": SCREENAI_5B,
    "screenai-5B-frozen": replace(SCREENAI_5B, frozen_vision=True),
}


def words_wanted(config: ModelConfig) -> int | None:
    """Most ids of a vocabulary that is learned from the data; None where the words are those of a
    frozen part, or where there are none.
    """
    if isinstance(config, CLIPConfig):
        return config.text.vocab_size
    if isinstance(config, BLIPConfig):
        return config.text.vocab_size - 2
    if isinstance(config, BLIP2Config):
        return config.former.decode
    if isinstance(config, ScreenAIConfig):
        return config.language.vocab_size
    return None


def fitted(
    config: ModelConfig,
    tokenizer: Tokenizer | None,
    start: ModelConfig | None = None,
    beside: ModelConfig | None = None,
) -> ModelConfig:
    """`config` with the ids of `tokenizer`, and the dimensions of the frozen parts in `start` and
    of the network `beside` it.

    A start of the same kind brings all dimensions (a BLIP's stays the part that it is, a ScreenAI's
    ViT as frozen as `config` says). What has no such part stays as it is, and the loop says what
    does not fit.
    """
    if start is not None and type(start) is type(config):
        return _going_on(config, start)
    if isinstance(config, BLIP2LanguageConfig):
        return _second_stage(config, tokenizer, start, beside)
    if tokenizer is None:
        return config
    if isinstance(config, Pic2WordConfig | DALLE2Config | FlamingoConfig):
        return _around(config, tokenizer, start, beside)
    return _worded(config, tokenizer, start)


def _going_on(config: ModelConfig, start: ModelConfig) -> ModelConfig:
    if isinstance(config, BLIPConfig) and isinstance(start, BLIPConfig):  # maybe another part
        text = replace(start.text, separate=config.text.separate)
        return replace(start, part=config.part, text=text)
    if isinstance(config, ScreenAIConfig) and isinstance(start, ScreenAIConfig):
        return replace(start, frozen_vision=config.frozen_vision)
    return start


def _worded(config: ModelConfig, tokenizer: Tokenizer, start: ModelConfig | None) -> ModelConfig:
    if isinstance(config, CLIPConfig):
        return replace(config, text=replace(config.text, vocab_size=tokenizer.vocab_size))
    if isinstance(config, BLIPConfig):
        return replace(config, text=with_words(config.text, tokenizer.vocab_size))
    if isinstance(config, BLIP2Config):
        count, vision = tokenizer.vocab_size, config.vision if start is None else vision_of(start)
        former = replace(config.former, vocab_size=count + 1, end=tokenizer.end, decode=count)
        return replace(config, vision=vision, former=former)
    if isinstance(config, ScreenAIConfig):
        return _reading_screens(config, tokenizer)
    return config


def _reading_screens(config: ScreenAIConfig, tokenizer: Tokenizer) -> ScreenAIConfig:
    """The decoder starts with the end, as a byte-level vocabulary has no start."""
    if not isinstance(tokenizer, ByteTokenizer):
        raise ValueError("a ScreenAI needs a byte-level tokenizer, which keeps case and spaces")
    count, end = tokenizer.vocab_size, tokenizer.end
    return replace(config, language=replace(config.language, vocab_size=count, pad=end, end=end))


def _around(
    config: Pic2WordConfig | DALLE2Config | FlamingoConfig,
    tokenizer: Tokenizer,
    start: ModelConfig | None,
    beside: ModelConfig | None,
) -> ModelConfig:
    wanted = GPTConfig if isinstance(config, FlamingoConfig) else CLIPConfig
    if start is not None and not isinstance(start, wanted):
        found = type(start).__name__
        raise ValueError(f"start is a {found}, a {type(config).__name__} needs a {wanted.__name__}")
    if isinstance(config, Pic2WordConfig) and isinstance(start, CLIPConfig):
        return _word_of(config, tokenizer, start)
    if isinstance(config, DALLE2Config) and isinstance(start, CLIPConfig):
        return _drawing(config, start)
    if isinstance(config, FlamingoConfig) and isinstance(start, GPTConfig) and beside is not None:
        return _flamingo(config, tokenizer, start, beside)
    return config


def _second_stage(
    config: BLIP2LanguageConfig,
    tokenizer: Tokenizer | None,
    start: ModelConfig | None,
    beside: ModelConfig | None,
) -> BLIP2LanguageConfig:
    if isinstance(start, BLIP2Config):
        former: QueryTransformerConfig = replace(start.former, text=False)
        config = replace(config, vision=start.vision, former=former)
    elif start is not None:
        config = replace(config, vision=vision_of(start))
    if isinstance(beside, GPTConfig | T5Config):
        config = replace(config, language=beside.width)
    if tokenizer is not None:
        config = replace(config, start=tokenizer.start, end=tokenizer.end)
    return config


def _word_of(config: Pic2WordConfig, tokenizer: Tokenizer, clip: CLIPConfig) -> Pic2WordConfig:
    (star,) = tokenizer.encode(STAR)
    prompt = (tokenizer.start, *tokenizer.encode(f"a photo of {STAR}"), tokenizer.end)
    return replace(config, clip=clip, star=star, prompt=prompt)


def _drawing(config: DALLE2Config, clip: CLIPConfig) -> DALLE2Config:
    text, width = clip.text, clip.embedding
    length = min(config.prior.text_length, text.context_length)
    prior = replace(config.prior, embedding=width, text_width=text.width, text_length=length)
    captions = replace(config.decoder.captions, vocab_size=text.vocab_size)
    decoder = replace(config.decoder, embedding=width, captions=captions)
    return replace(config, clip=clip, prior=prior, decoder=decoder)


def _flamingo(
    config: FlamingoConfig, tokenizer: Tokenizer, language: GPTConfig, beside: ModelConfig
) -> FlamingoConfig:
    if not isinstance(tokenizer, ByteTokenizer):
        raise ValueError("a Flamingo needs the byte-level tokenizer of its language model")
    vision = vision_of(beside)
    return replace(
        config,
        resampler=replace(config.resampler, width=vision.width, heads=vision.heads),
        gated=gated_config(language.width, language.heads, vision.width),
        language=language,
        image=image_id(tokenizer),
        end=tokenizer.end,
    )
