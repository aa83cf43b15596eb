"""Frozen networks that a model learns beside and does not hold: they are in no checkpoint of ours.

BLIP-2's second stage speaks to a language model; Flamingo reads the features of a vision encoder.
Such a partner is loaded from its own checkpoint, gets no gradient and stays in evaluation mode.
Flamingo's batches of pairs are made here: one image, then its text, as in the pairs of ALIGN and
LTIP in its paper. An image is a token of its own; since frozen vocabularies have no spare id, a
byte that UTF-8 never holds (FF) stands for it, which every byte-level vocabulary has.

Shapes: B batch, L tokens, F frames, N features of a frame, C their width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.blip.blip import BLIPConfig
from models.blip.med import until_end
from models.blip2.frozen_lm import FrozenGPT, FrozenLM, FrozenT5
from models.blip2.language import BLIP2Language
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig
from models.flamingo.flamingo import Flamingo, FlamingoConfig
from models.gpt import GPT, GPTConfig
from models.t5 import T5, T5Config
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.loaders import Batches
from models.vision.vit import ViT, ViTConfig
from models.weights import ModelConfig

Batch = dict[str, Tensor]
TOWERS = {CLIPConfig: "image_tower.", BLIPConfig: "image_tower.", ClassifierConfig: "encoder."}
"""Where a model keeps its image encoder."""


def vision_of(config: ModelConfig) -> ViTConfig:
    """The ViT in a ViT, a CLIP, a BLIP or a classifier. Raises ValueError where there is none."""
    found = (
        config.vision if isinstance(config, CLIPConfig | BLIPConfig | ClassifierConfig) else config
    )
    if not isinstance(found, ViTConfig):
        raise ValueError(
            f"a {type(found).__name__} is no vision encoder for this; legal: a ViT, or a CLIP, a"
            " BLIP or a classifier that has one"
        )
    return found


def language_context(config: ModelConfig) -> int | None:
    """Most tokens that a language model reads, None for any number. Raises ValueError for what is
    no language model.
    """
    if isinstance(config, GPTConfig):
        return config.context_length
    if isinstance(config, T5Config):
        return None
    raise ValueError(f"a {type(config).__name__} is no language model; legal: a GPT or a T5")


def frozen_language(model: nn.Module) -> FrozenLM:
    """Our GPT or T5 as BLIP-2's second stage takes it."""
    if isinstance(model, T5):
        return FrozenT5(model)
    assert isinstance(model, GPT), type(model).__name__
    return FrozenGPT(model)


def frozen_vision(model: nn.Module) -> ViT:
    """The ViT in a model, frozen."""
    name = next((part for kind, part in TOWERS.items() if isinstance(model.config, kind)), "")
    tower = model.get_submodule(name.rstrip("."))
    assert isinstance(tower, ViT), type(tower).__name__
    return tower.requires_grad_(False).eval()


def image_id(tokenizer: ByteTokenizer) -> int:
    """The id that stands for an image: of the byte FF, which no text holds."""
    return tokenizer.encode_bytes(b"\xff")[0]


def pairs_batch(batch: Batch, encode: Callable[[Tensor], Tensor], config: FlamingoConfig) -> Batch:
    """`media`, `tokens` and `valid` for Flamingo, of `pixels` and `tokens` (B, L): each text's
    start, its image, its words and its end.
    """
    tokens_BL = batch["tokens"]
    valid_BL = F.pad(until_end(tokens_BL, config.end), (1, 0), value=True)
    image_B1 = torch.full_like(tokens_BL[:, :1], config.image)
    tokens_BL = torch.cat([tokens_BL[:, :1], image_B1, tokens_BL[:, 1:]], dim=1)
    media_BIFNC = encode(batch["pixels"])[:, None, None]
    return {"media": media_BIFNC, "tokens": tokens_BL, "valid": valid_BL}


class WithMedia:
    """A loader's batches with what a frozen vision encoder makes of their images."""

    def __init__(self, inner: Batches, vision: ViT, config: FlamingoConfig) -> None:
        self.inner, self.vision, self.config = inner, vision, config

    @property
    def streamed(self) -> bool:
        """As the loader's."""
        return self.inner.streamed

    @property
    def steps_per_epoch(self) -> int:
        """As the loader's."""
        return self.inner.steps_per_epoch

    def batch(self, step: int) -> Batch:
        """`media` (B, 1, 1, N, C), `tokens` (B, L) and `valid` (B, L) of this rank."""
        with torch.no_grad():
            return pairs_batch(self.inner.batch(step), self.vision.sequence, self.config)


def joined(
    model: nn.Module, partner: nn.Module | None, loader: Batches, device: torch.device
) -> Batches:
    """Puts `model` and its partner together; returns the batches that the model is then fed."""
    if partner is None:
        return loader
    partner.to(device)
    if isinstance(model, BLIP2Language):
        model.attach(frozen_language(partner))
    if isinstance(model, Flamingo):
        return WithMedia(loader, frozen_vision(partner), model.config)
    return loader
