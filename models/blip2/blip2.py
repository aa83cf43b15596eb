"""BLIP-2's first stage (Li et al. 2023, arXiv 2301.12597): a small transformer learns to speak for
a frozen image encoder.

Learned queries (`models.blip2.query_transformer`) look at the image, and three losses say what they
should see there: contrast (the query that fits a text best, within the batch, label smoothing 0.1),
matching (on hard negatives, the mean over queries) and words (label smoothing 0.1). In the second
stage (`models.blip2.language`) they speak to a language model.

On W ranks the contrast and the negatives are those of the global batch: the published code sends no
gradient to the features of other ranks. Negatives couple the examples, so there are no
micro-batches.

Left out: reading a layer before the last of CLIP's encoder (configure one layer less); the masking
of other captions of the same image in the batch.

Sizes: EVA ViT-g/14 (frozen), 32 queries of width 768; BLIP2_SMALL is for two CPU cores.

Shapes: B batch, C width and S count of image tokens, Q queries, L tokens (T up to the longest
text's end), D width of a query, E width of the joint embedding, A rows of all ranks, V words, P
tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.blip.med import WordHead, dictated, trim
from models.blip.towers import Batch, unit
from models.blip2.image_queries import EVA_G_14, ImageQueries, repeated
from models.blip2.query_transformer import QueryTransformerConfig
from models.generation import GenerationConfig, generate
from models.layers.cache import Cache
from models.training.matching import (
    matching,
    matching_pairs,
    own_columns,
    word_losses,
    word_mean,
)
from models.training.objectives import gather_rows
from models.vision.vit import ViTConfig


@dataclass(frozen=True)
class BLIP2Config:
    """The first stage."""

    vision: ViTConfig = field(default_factory=lambda: EVA_G_14)  # frozen image encoder
    former: QueryTransformerConfig = field(default_factory=QueryTransformerConfig)  # trained
    part: Literal["whole", "matcher"] = "whole"  # a matcher does not write
    embedding: int = 256  # width of the joint space
    temperature: float = 0.07  # initial; clamped to [0.001, 0.5]
    smoothing: float = 0.1  # of the labels of contrast and words
    gather_negatives: bool = True  # draw them from the batch of all ranks


BLIP2_BASE = BLIP2Config()
BLIP2_SMALL = BLIP2Config(
    ViTConfig(image_size=(64, 64), patch_size=8, width=192, depth=6, heads=3),
    QueryTransformerConfig(8, 192, 4, 3, vocab_size=8194, context_length=32, end=8191, decode=8193),
    embedding=128,
)


class BLIP2(ImageQueries):
    """The first stage."""

    def __init__(self, config: BLIP2Config) -> None:
        super().__init__(config.vision, config.former)
        self.config = config
        former = config.former
        if not former.text:
            raise ValueError("former.text=False belongs to the second stage")
        self.image_projection = nn.Linear(former.width, config.embedding)
        self.text_projection = nn.Linear(former.width, config.embedding)
        self.matching_head = nn.Linear(former.width, 2)
        if config.part == "whole":
            self.word_head = WordHead(former.width, former.vocab_size, former.epsilon)
        self.temperature = nn.Parameter(torch.tensor(config.temperature))

    def encode_image(self, images: Tensor) -> Tensor:
        """Features (B, Q, E), one a query, not normalised, of pixels or `image_states`."""
        features_BQE: Tensor = self.image_projection(self.queries(images))
        return features_BQE

    def encode_text(self, tokens_BL: Tensor) -> Tensor:
        """Features (B, E), not normalised, of token ids (B, L) int64, each text with its end."""
        tokens_BT, valid_BT = trim(tokens_BL, self.config.former.end)
        features_BE: Tensor = self.text_projection(self.former.read(tokens_BT, valid_BT)[:, 0])
        return features_BE

    def itm_logits(
        self, images: Tensor, tokens_BL: Tensor, image_of_B: Tensor | None = None
    ) -> Tensor:
        """Scores (B, 2) that a text does not, and does, fit its image.

        Args:
            images: pixels or `image_states`, one for each text.
            image_of_B: the row of each text's image, where they are not one for one; what is
                computed of an image alone is then computed once.
        """
        cache = self.look(images)
        if image_of_B is not None:
            cache.select(image_of_B)
        return self._match(cache, tokens_BL)

    def _match(self, cache: Cache, tokens_BL: Tensor) -> Tensor:
        tokens_BT, valid_BT = trim(tokens_BL, self.config.former.end)
        states_BQD = self.former.pair(cache, tokens_BT, valid_BT)
        logits_BQ2: Tensor = self.matching_head(states_BQD)
        return logits_BQ2.mean(dim=1)

    def word_logits(self, tokens_BL: Tensor, cache: Cache) -> Tensor:
        """Logits (B, L, V) of what follows each token; `former.query` has filled the cache."""
        return self._words_of(self.former.write(tokens_BL, cache))

    def _words_of(self, states_BLD: Tensor) -> Tensor:
        logits_BLV: Tensor = self.word_head(states_BLD, self.former.embedding.weight)
        return logits_BLV

    def caption(
        self,
        images: Tensor,
        generation: GenerationConfig,
        prompt: Sequence[int] | None = None,
        *,
        each: int = 1,
        keys: Sequence[str] | None = None,
    ) -> list[list[int]]:
        """Ids of `each` captions an image, image after image, without prompt, start and end.

        Args:
            images: pixels or `image_states`; encoded, and asked by the queries, once.
            prompt: ids that every caption begins with; none if None.
            keys: B x each names that the random numbers of nucleus sampling come from.
        """
        with torch.inference_mode():
            cache = self.look(images)
            self.former.query(cache)
        begun = [self.config.former.decode, *(prompt or ())]

        def advance(tokens_BL: Tensor, cache: Cache) -> Tensor:
            return self._words_of(self.former.write(tokens_BL, cache)[:, -1])

        prompt_BP = repeated(cache, begun, len(images), each, images.device)
        end = self.config.former.end
        return generate(advance, prompt_BP, cache, end=end, config=generation, keys=keys)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """`loss` and its detached parts, of `pixels` (B, 3, H, W), or `states` (B, S, C), and
        `tokens` (B, L) of texts.

        Every rank must bring the same B and L. Raises ValueError for a global batch of one.
        """
        states_BSC, tokens_BL = self.states_of(batch), batch["tokens"]
        cache = self.look(states_BSC)
        images = cache.sources()
        image_BQE = unit(self.image_projection(self.former.query(cache)))
        text_BE = unit(self.encode_text(tokens_BL))
        parts: dict[str, Tensor] = {}
        parts["contrast"], scores = self._contrast(image_BQE, text_BE)
        gather = self.config.gather_negatives
        pairs = matching_pairs(self.look, states_BSC, images, tokens_BL, scores, gather)
        parts["matching"] = matching(self._match(*pairs))
        if self.config.part == "whole":
            parts["words"] = word_mean(self._words(cache, tokens_BL))
        logged = {name: part.detach() for name, part in parts.items()}
        return {"loss": torch.stack(list(parts.values())).sum(), **logged}

    def _contrast(self, image_BQE: Tensor, text_BE: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The contrastive loss, and the logits (B, A) of images to texts and of texts to images."""
        own_B = own_columns(len(text_BE), text_BE.device)
        with torch.autocast(text_BE.device.type, enabled=False):
            to_text_BA = similarities(image_BQE, gather_rows(text_BE)) / self.temperature
            to_image_BA = similarities(gather_rows(image_BQE), text_BE).T / self.temperature
            smoothing = self.config.smoothing
            text_loss = F.cross_entropy(to_text_BA, own_B, label_smoothing=smoothing)
            image_loss = F.cross_entropy(to_image_BA, own_B, label_smoothing=smoothing)
        return (text_loss + image_loss) / 2, (to_text_BA, to_image_BA)

    def _words(self, cache: Cache, tokens_BL: Tensor) -> Tensor:
        """Summed loss and number of words of each text, (B, 2)."""
        former = self.config.former
        begun_B1 = torch.full_like(tokens_BL[:, :1], former.decode)
        read_BT, labels_BT = dictated(tokens_BL, former.end, begun_B1)
        logits_BTV = self.word_logits(read_BT, cache)
        return word_losses(logits_BTV, labels_BT, self.config.smoothing)

    def features(self, batch: Batch) -> tuple[Tensor, ...]:
        """Raises ValueError: the negatives are the whole batch."""
        raise ValueError("micro_batches must be 1 for BLIP-2's first stage: its negatives couple")

    def losses_of(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """As `features`."""
        raise ValueError("micro_batches must be 1 for BLIP-2's first stage: its negatives couple")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    @torch.no_grad()
    def constrain(self) -> None:
        """After each step: the temperature stays in [0.001, 0.5]."""
        self.temperature.clamp_(0.001, 0.5)


def similarities(image_BQE: Tensor, text_AE: Tensor) -> Tensor:
    """Cosines (B, A) of images and texts, that of the query that fits best; unit features."""
    return torch.einsum("bqe,ae->baq", image_BQE, text_AE).amax(dim=2)
