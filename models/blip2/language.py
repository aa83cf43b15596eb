"""BLIP-2's second stage (Li et al. 2023, arXiv 2301.12597, section 3.3): queries that have learned
to read images speak to a frozen language model.

The text side of the first stage falls away. What the queries saw becomes, through one linear layer,
vectors before the text (`models.blip2.frozen_lm`); only the queries, their transformer and that
layer are trained, by the language model's own loss. The two share names with the first stage, whose
weights are a start (`first_stage`).

Texts begin with the language model's own start, which is read and not predicted. (The published
code predicts OPT's start too where there is no prompt.) Micro-batches leave the same gradient as
the whole batch, and W ranks as one: the loss is the mean over all words.

Shapes: B batch, C width and S count of image tokens, Q queries, L tokens (T up to the longest
text's end), P tokens of a prompt or prefix, W width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.blip.med import dictated
from models.blip.towers import Batch
from models.blip2.frozen_lm import FrozenLM
from models.blip2.image_queries import EVA_G_14, ImageQueries, repeated
from models.blip2.query_transformer import QueryTransformerConfig
from models.generation import GenerationConfig, generate
from models.training.matching import IGNORED, word_losses, word_mean
from models.vision.vit import ViTConfig


@dataclass(frozen=True)
class BLIP2LanguageConfig:
    """The second stage."""

    vision: ViTConfig = field(default_factory=lambda: EVA_G_14)  # frozen image encoder
    former: QueryTransformerConfig = field(
        default_factory=lambda: QueryTransformerConfig(text=False)
    )  # trained
    language: int = 2560  # width of the frozen language model
    start: int = 2  # first id of its texts
    end: int = 50118  # last id of its texts; OPT's newline
    smoothing: float = 0.0  # of the labels
    prompt: tuple[int, ...] = ()  # ids after the start of every text, not scored: "a photo of"


BLIP2_OPT_2_7B = BLIP2LanguageConfig()
BLIP2_OPT_6_7B = BLIP2LanguageConfig(language=4096)
BLIP2_FLAN_T5_XL = BLIP2LanguageConfig(language=2048, start=0, end=1)
BLIP2_FLAN_T5_XXL = BLIP2LanguageConfig(language=4096, start=0, end=1)


def first_stage(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What of a first stage's state dict the second begins with: all but the text side."""
    kept = ("image_tower.", "image_norm.", "former.")
    text = (".text_mlp.", ".text_norm.", "former.embedding.", "former.positions.")
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith(kept) and not any(part in name for part in text)
    }


class BLIP2Language(ImageQueries):
    """The second stage; `attach` the language model before use."""

    def __init__(self, config: BLIP2LanguageConfig) -> None:
        super().__init__(config.vision, config.former)
        self.config = config
        if config.former.text:
            raise ValueError("former.text=True belongs to the first stage")
        self.language_projection = nn.Linear(config.former.width, config.language)
        self.language: FrozenLM | None = None

    def attach(self, language: FrozenLM) -> Self:
        """Takes a frozen language model, which is in no state dict of ours."""
        if language.width != self.config.language:
            raise ValueError(f"language={self.config.language}, but its width is {language.width}")
        self.language = language
        return self

    def _attached(self) -> FrozenLM:
        if self.language is None:
            raise ValueError("no language model: attach() one")
        return self.language

    def _prefix(self, images: Tensor, asked: Batch) -> tuple[Tensor, Tensor | None]:
        """Vectors (B, Q + P, W) before the text, and which are no padding."""
        soft_BQW = self.language_projection(self.queries(images))
        if "prefix" not in asked:
            return soft_BQW, None
        words_BPW = self._attached().embed(asked["prefix"])
        valid_BP = asked.get("prefix_valid")
        if valid_BP is not None:
            valid_BP = F.pad(valid_BP.bool(), (soft_BQW.shape[1], 0), value=True)
        return torch.cat([soft_BQW, words_BPW.to(soft_BQW.dtype)], dim=1), valid_BP

    def caption(
        self,
        images: Tensor,
        generation: GenerationConfig,
        prompt: Sequence[int] | None = None,
        *,
        each: int = 1,
        keys: Sequence[str] | None = None,
        prefix_BP: Tensor | None = None,
        prefix_valid_BP: Tensor | None = None,
    ) -> list[list[int]]:
        """Ids of `each` texts an image, image after image, without prompt, start and end.

        Args:
            images: pixels or `image_states`; encoded, and read by the language model, once.
            prompt: ids after the start that every text begins with; the config's if None.
            keys: B x each names that the random numbers of nucleus sampling come from.
            prefix_BP: ids of each image's own words between it and the text, such as a question.
            prefix_valid_BP: false at padding among them, on either side.
        """
        config, language = self.config, self._attached()
        asked = {"prefix": prefix_BP, "prefix_valid": prefix_valid_BP}
        given = {name: value for name, value in asked.items() if value is not None}
        with torch.inference_mode():
            cache = language.open(*self._prefix(images, given))
        begun = [config.start, *(config.prompt if prompt is None else prompt)]
        prompt_BP = repeated(cache, begun, len(images), each, images.device)
        return generate(
            language.advance, prompt_BP, cache, end=config.end, config=generation, keys=keys
        )

    def features(self, batch: Batch) -> tuple[Tensor, ...]:
        """Summed loss and number of words of each example, (B, 2), of a batch as in `losses`."""
        config, tokens_BL = self.config, batch["tokens"]
        prompt_P = torch.tensor(config.prompt, dtype=torch.int64, device=tokens_BL.device)
        begun_BP = torch.cat([tokens_BL[:, :1], prompt_P.expand(len(tokens_BL), -1)], dim=1)
        read_BT, labels_BT = dictated(tokens_BL, config.end, begun_BP)
        if "scored" in batch:
            scored_BT = batch["scored"][:, 1 : labels_BT.shape[1] + 1].bool()
            labels_BT = labels_BT.masked_fill(~scored_BT, IGNORED)
        prefix_BPW, valid_BP = self._prefix(self.states_of(batch), batch)
        logits_BTV = self._attached().logits(prefix_BPW, valid_BP, read_BT)
        logits_BTV = logits_BTV[:, len(config.prompt) :]
        return (word_losses(logits_BTV, labels_BT, config.smoothing),)

    def losses_of(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """`losses` of the `features` of the whole batch."""
        return {"loss": word_mean(features[0])}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, the mean over all words that are scored.

        A batch has `pixels` (B, 3, H, W), or `states` (B, S, C), and `tokens` (B, L) of texts from
        start to end; maybe `scored` (B, L), false at tokens that are not to be predicted; maybe
        `prefix` (B, P), words before the text (an encoder-decoder's question), and `prefix_valid`.
        """
        return self.losses_of(self.features(batch))

    def forward(
        self, batch: Batch, features: bool = False
    ) -> dict[str, Tensor] | tuple[Tensor, ...]:
        """`losses`, or `features` alone: the one door through which DistributedDataParallel
        calls.
        """
        return self.features(batch) if features else self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""
