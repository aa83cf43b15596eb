"""Pic2Word (Saito et al. 2023, arXiv 2302.03084): an image becomes a word of a frozen CLIP.

A mapping network of three layers takes CLIP's image feature (projected, not normalised) to the
embedding of one pseudo word, which stands in a sentence where `*` stands: "a sketch of *" is then a
query made of a picture and a text, without any labelled triplet. Only the mapper learns, by CLIP's
own loss between each image and the sentence "a photo of *" of its own word, so images alone
suffice. With a ViT-L/14 the mapper has 1,050,368 parameters, as published.

The reference code reads every text of a batch at the end of the batch's first one; here each text
has its own end.

Shapes: B batch, L tokens (T up to the longest text's end), D width of CLIP's text tower, E width of
the joint space, M width of the mapper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.clip import CLIP, CLIP_L_14, CLIPConfig, trim
from models.training.objectives import contrastive

STAR = "*"


@dataclass(frozen=True)
class Pic2WordConfig:
    """The frozen CLIP, the mapper, and the sentence that it is trained in, as CLIP's token ids."""

    clip: CLIPConfig = field(default_factory=CLIPConfig)  # frozen
    star: int = 265  # id of the token that a pseudo word replaces; 265 is CLIP's "*"
    prompt: tuple[int, ...] = (49406, 320, 1125, 539, 265, 49407)  # "a photo of *", ends included
    hidden: int = 512  # width of the mapper
    layers: int = 2  # hidden ones
    dropout: float = 0.1  # in the mapper


PIC2WORD_L_14 = Pic2WordConfig(CLIP_L_14)


def domain_prompt(domain: str) -> str:
    """The same thing in another style: cartoon, origami, toy, sculpture."""
    return f"a {domain} of {STAR}"


def objects_prompt(names: list[str]) -> str:
    """The thing together with others, as for COCO: "a photo of * and dog and cat"."""
    return " and ".join([f"a photo of {STAR}", *names])


def edit_prompt(*captions: str) -> str:
    """The thing changed as captions say, as for CIRR (one) and FashionIQ (two)."""
    return f"a photo of {STAR} , {' and '.join(captions)}"


class Mapper(nn.Module):
    """CLIP's image features (B, E) to word embeddings (B, D)."""

    def __init__(self, config: Pic2WordConfig) -> None:
        super().__init__()
        widths = [config.clip.embedding, *[config.hidden] * config.layers]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.last = nn.Linear(widths[-1], config.clip.text.width)
        self.dropout = config.dropout

    def forward(self, x_BE: Tensor) -> Tensor:
        """Dropout stands before the ReLU, as in the published code."""
        for layer in self.layers:
            x_BE = F.relu(F.dropout(layer(x_BE), self.dropout, self.training))
        word_BD: Tensor = self.last(x_BE)
        return word_BD


class Pic2Word(nn.Module):
    """A frozen CLIP, and the mapper that learns."""

    def __init__(self, config: Pic2WordConfig) -> None:
        super().__init__()
        if config.star not in config.prompt:
            raise ValueError(f"prompt={config.prompt} must hold star={config.star}")
        self.config = config
        self.clip = CLIP(config.clip).requires_grad_(False)
        self.mapper = Mapper(config)

    def train(self, mode: bool = True) -> Self:
        """The mapper alone trains; CLIP stays as it is evaluated."""
        super().train(mode)
        self.clip.eval()
        return self

    def encode_image(self, pixels_BCHW: Tensor) -> Tensor:
        """CLIP's features (B, E), not normalised."""
        return self.clip.encode_image(pixels_BCHW)

    def encode_text(self, tokens_BL: Tensor, image_BE: Tensor | None = None) -> Tensor:
        """Features (B, E), not normalised, of texts in which each `*` is the image's word.

        Without images it is CLIP's own. Raises ValueError for a text without a `*`.
        """
        if image_BE is None:
            return self.clip.encode_text(tokens_BL)
        tower = self.clip.text_tower
        tokens_BT, place_B = trim(tokens_BL, self.config.clip.text.end_of_text)
        starred_BT = tokens_BT == self.config.star
        if not bool(starred_BT.any(dim=1).all()):
            row = int((~starred_BT.any(dim=1)).nonzero()[0])
            raise ValueError(f"text {row} has no {STAR} (id {self.config.star})")
        word_BD = self.mapper(image_BE)
        x_BTD = torch.where(starred_BT[:, :, None], word_BD[:, None], tower.embedding(tokens_BT))
        features_BE: Tensor = self.clip.text_projection(tower.read(x_BTD, place_B))
        return features_BE

    def features(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """What the loss needs, a row an example: unit features (B, E) of images, without a
        gradient, and of the prompts of their words.
        """
        with torch.no_grad():
            image_BE = self.encode_image(batch["pixels"])
        prompt_BL = torch.tensor([self.config.prompt], device=image_BE.device)
        text_BE = self.encode_text(prompt_BL.expand(len(image_BE), -1), image_BE)
        return F.normalize(image_BE.float(), dim=-1), F.normalize(text_BE.float(), dim=-1)

    def losses_of(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """CLIP's symmetric loss of `features` over the batch of all ranks."""
        image_BE, text_BE = features
        return contrastive(image_BE, text_BE, self.clip.logit_scale.exp())

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """CLIP's symmetric loss between `pixels` (B, 3, H, W) and the prompts of their words."""
        return self.losses_of(self.features(batch))

    def forward(
        self, batch: dict[str, Tensor], features: bool = False
    ) -> dict[str, Tensor] | tuple[Tensor, ...]:
        """`losses`, or `features` alone: the one door through which DistributedDataParallel
        calls.
        """
        return self.features(batch) if features else self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""
