"""CLIP (Radford et al. 2021, arXiv 2103.00020): an image and a text tower that meet in one space.

The image tower is a ViT whose class token is projected, or a ResNet that ends in attention; the
text tower is a causal transformer whose feature is the end-of-text token's, projected. Training
pulls the two features of a pair together against all other pairs of the batch, with a learned
temperature. The nine named configurations have the paper's dimensions and OpenAI's weights fit into
them to the last parameter; `CLIP_SMALL` is what two CPU cores can train in minutes.

Shapes: B batch, C channels, L tokens of text (T of them up to the longest text's end), D width of a
tower, E width of the joint embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.block import Activation, BlockConfig, Transformer
from models.layers.positions import Positions1D
from models.training.objectives import contrastive
from models.vision.encoder import VisionConfig, encoder
from models.vision.resnet import ResNetConfig
from models.vision.vit import ViTConfig


@dataclass(frozen=True)
class TextConfig:
    """Size of the text tower. The last id of the vocabulary is the end of text, as in CLIP's."""

    context_length: int = 77  # most tokens of a text, start and end included
    vocab_size: int = 49408  # ids, the two special ones included
    width: int = 512  # of a token
    depth: int = 12  # blocks
    heads: int = 8  # attention heads; they divide the width
    hidden: int | None = None  # width of the MLP; 4 times the width if None
    activation: Activation = "gelu"  # of the MLP
    epsilon: float = 1e-5  # of the norms

    @property
    def end_of_text(self) -> int:
        """Id of the token whose feature stands for the text."""
        return self.vocab_size - 1


@dataclass(frozen=True)
class CLIPConfig:
    """Both towers and the space they share."""

    vision: VisionConfig = field(default_factory=ViTConfig)  # image tower
    text: TextConfig = field(default_factory=TextConfig)  # text tower
    embedding: int = 512  # width of the joint space
    temperature: float = 0.07  # initial; the logit scale starts at its inverse
    most_scale: float = 100.0  # the logit scale is clamped here


def _openai(vision: ViTConfig | ResNetConfig, text: TextConfig, embedding: int) -> CLIPConfig:
    if isinstance(vision, ViTConfig):
        vision = replace(
            vision, activation="quick_gelu", norm_before=True, patch_bias=False, epsilon=1e-5
        )
    return CLIPConfig(vision, replace(text, activation="quick_gelu"), embedding)


CLIP_B_32 = _openai(ViTConfig(patch_size=32), TextConfig(), 512)
CLIP_B_16 = _openai(ViTConfig(), TextConfig(), 512)
_LARGE = ViTConfig(patch_size=14, width=1024, depth=24, heads=16)
CLIP_L_14 = _openai(_LARGE, TextConfig(width=768, heads=12), 768)
CLIP_L_14_336 = _openai(
    replace(_LARGE, image_size=(336, 336)), TextConfig(width=768, heads=12), 768
)
CLIP_RN50 = _openai(ResNetConfig(), TextConfig(), 1024)
CLIP_RN101 = _openai(ResNetConfig(layers=(3, 4, 23, 3)), TextConfig(), 512)
CLIP_RN50X4 = _openai(
    ResNetConfig((288, 288), (4, 6, 10, 6), width=80), TextConfig(width=640, heads=10), 640
)
CLIP_RN50X16 = _openai(
    ResNetConfig((384, 384), (6, 8, 18, 8), width=96), TextConfig(width=768, heads=12), 768
)
CLIP_RN50X64 = _openai(
    ResNetConfig((448, 448), (3, 15, 36, 10), width=128), TextConfig(width=1024, heads=16), 1024
)
VIT_SMALL = ViTConfig(
    image_size=(64, 64),
    patch_size=8,
    width=192,
    depth=6,
    heads=3,
    norm_before=True,
    patch_bias=False,
    patch_dropout=0.5,
    epsilon=1e-5,
)
CLIP_SMALL = CLIPConfig(
    vision=VIT_SMALL,
    text=TextConfig(context_length=32, vocab_size=8192, width=192, depth=4, heads=3),
    embedding=256,
)


def trim(tokens_BL: Tensor, end_of_text: int) -> tuple[Tensor, Tensor]:
    """Cuts padding after the longest text: (tokens_BT, place_B of each first end-of-text).

    What stands after the end cannot reach it through causal attention, so every feature stays the
    same. Raises ValueError for a text without its end. A compiled or exported graph has one shape
    for all texts, so there nothing is cut, and nothing is checked.
    """
    ends_BL = tokens_BL == end_of_text
    if torch.compiler.is_compiling():
        return tokens_BL, ends_BL.int().argmax(dim=1)
    if not bool(ends_BL.any(dim=1).all()):
        row = int((~ends_BL.any(dim=1)).nonzero()[0])
        raise ValueError(f"text {row} has no end-of-text id {end_of_text}")
    place_B = ends_BL.int().argmax(dim=1)
    return tokens_BL[:, : int(place_B.max()) + 1], place_B


class TextTower(nn.Module):
    """Token ids (B, L) to the feature (B, D) at each text's end."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = Positions1D(config.context_length, config.width, 0.01)
        block = BlockConfig(
            config.width,
            config.heads,
            config.hidden,
            activation=config.activation,
            epsilon=config.epsilon,
        )
        self.transformer = Transformer(block, config.depth)
        self.norm_after = nn.LayerNorm(config.width, eps=config.epsilon)

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Features (B, D), each text's at its end, of token ids (B, L)."""
        tokens_BT, place_B = trim(tokens_BL, self.config.end_of_text)
        return self.read(self.embedding(tokens_BT), place_B)

    def read(self, words_BTD: Tensor, place_B: Tensor) -> Tensor:
        """Features (B, D) at `place_B` of token embeddings (B, T, D) that have no positions yet."""
        x_BTD = self.positions(words_BTD)
        out_BD: Tensor = self.norm_after(self.transformer.at(x_BTD, place_B, causal=True))
        return out_BD


class CLIP(nn.Module):
    """The two towers, their projections and the logit scale (kept as its logarithm)."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.image_tower = encoder(config.vision)
        self.text_tower = TextTower(config.text)
        width = config.vision.features
        ends_in_attention = isinstance(config.vision, ResNetConfig)  # whose projection this is
        self.image_projection = nn.Linear(width, config.embedding, bias=ends_in_attention)
        self.text_projection = nn.Linear(config.text.width, config.embedding, bias=False)
        nn.init.normal_(self.image_projection.weight, std=width**-0.5)
        nn.init.normal_(self.text_projection.weight, std=config.text.width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1.0 / config.temperature)))

    def encode_image(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, E), not normalised, of normalised float pixels (B, 3, H, W)."""
        features_BE: Tensor = self.image_projection(self.image_tower(pixels_BCHW))
        return features_BE

    def encode_text(self, tokens_BL: Tensor) -> Tensor:
        """Features (B, E), not normalised, of token ids (B, L) int64 that each hold an end of
        text.
        """
        features_BE: Tensor = self.text_projection(self.text_tower(tokens_BL))
        return features_BE

    def features(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """What the loss needs, a row an example: unit features (B, E) twice, and log scale (B,).

        The scale travels as a row of each example so that its gradient, too, can be cached and
        returned through the same call (see `models.training.accumulate`).
        """
        image_BE = F.normalize(self.encode_image(batch["pixels"]).float(), dim=-1)
        text_BE = F.normalize(self.encode_text(batch["tokens"]).float(), dim=-1)
        return image_BE, text_BE, self.logit_scale.expand(len(image_BE))

    def losses_of(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The symmetric contrastive loss of `features` over the batch of all ranks."""
        image_BE, text_BE, log_scale_B = features
        scale = log_scale_B[0].exp()
        return {**contrastive(image_BE, text_BE, scale), "logit_scale": scale.detach()}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and figures to log, of a batch with `pixels` (B, 3, H, W) and `tokens` (B, L)."""
        return self.losses_of(self.features(batch))

    def forward(
        self, batch: dict[str, Tensor], features: bool = False
    ) -> dict[str, Tensor] | tuple[Tensor, ...]:
        """`losses`, or `features` alone: the one door through which DistributedDataParallel
        calls.
        """
        return self.features(batch) if features else self.losses(batch)

    @torch.no_grad()
    def constrain(self) -> None:
        """After each step: the logit scale stays at most `most_scale`."""
        self.logit_scale.clamp_(max=math.log(self.config.most_scale))
