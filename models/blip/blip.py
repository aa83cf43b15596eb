"""BLIP (Li et al. 2022, arXiv 2201.12086): one model that tells whether a text fits an image, and
writes one that does.

A ViT encodes the image, BERT (`models.blip.med`) reads or writes the text, and three losses are
summed: contrastive (ITC, against momentum copies and their queues, with soft targets), matching
(ITM, on hard negatives) and language (LM, label smoothing 0.1). CapFilt's captioner and filter are
the two halves of the model, each fine-tuned from the whole: `part` says which a model is, and
public checkpoints that are one half are read as that half. The authors begin with an image encoder
trained on ImageNet and with BERT; who has neither trains the `encoders` by contrast alone first, at
a fraction of the whole's cost, and goes on from them.

A loss changes nothing that is saved; `constrain` does, once a step, so that a run resumes exactly.
Negatives couple the examples of a batch: a captioner can be trained in micro-batches, and nothing
else can. On W ranks contrast and negatives are those of the global batch. For the latter each rank
gathers all image tokens (B W S C numbers); with `gather_negatives=False` it draws among its own, as
the published pre-training does.

Left out: question answering and pairs of images; the masking of other captions of the same image
that the authors' retrieval code does.

Sizes: ViT-B/16 or ViT-L/16 at 224 pixels, BERT-base, queue 57,600, momentum 0.995; BLIP_SMALL is
what two CPU cores can train.

Shapes: B batch, C width and S count of image tokens, L tokens (T up to the longest text's end), D
width of the text, V words, E width of the joint embedding, A rows of all ranks, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from models.blip.med import MEDConfig, WordHead, begin, dictated, in_lengths, trim, with_words
from models.blip.towers import Batch, Momentum, Towers, unit
from models.generation import GenerationConfig, generate
from models.layers.cache import Cache
from models.layers.packed import pack, pack_weight
from models.training.matching import (
    matching,
    matching_pairs,
    soft_contrastive,
    word_losses,
    word_mean,
)
from models.training.objectives import contrastive, gather_rows, world
from models.vision.vit import ViTConfig


@dataclass(frozen=True)
class BLIPConfig:
    """Both encoders, the losses' constants, and what the model is for."""

    vision: ViTConfig = field(default_factory=ViTConfig)  # image encoder, with a class token
    text: MEDConfig = field(default_factory=MEDConfig)  # text encoder and decoder
    part: Literal["whole", "captioner", "matcher", "encoders"] = "whole"  # its losses and heads
    embedding: int = 256  # width of the joint space
    queue: int = 57600  # features that are kept of each kind; 0: CLIP's loss, no copies
    momentum: float = 0.995  # share of themselves that the copies keep, a step
    temperature: float = 0.07  # initial; clamped to [0.001, 0.5]
    alpha: float = 0.4  # share of the soft targets when the ramp is over
    ramp: int = 10000  # steps over which it rises from 0
    smoothing: float = 0.1  # of the labels of the language loss
    hardness: float = 1.0  # of negatives: factor on the scores they are drawn by; 0: any at random
    gather_negatives: bool = True  # draw them from the batch of all ranks
    prompt: tuple[int, ...] = ()  # ids before every caption, not scored: "a picture of"


BLIP_BASE = BLIPConfig()
BLIP_LARGE = BLIPConfig(ViTConfig(width=1024, depth=24, heads=16, drop_path=0.1))
BLIP_SMALL = BLIPConfig(
    vision=ViTConfig(image_size=(64, 64), patch_size=8, width=192, depth=6, heads=3),
    text=with_words(MEDConfig(context_length=32, width=192, depth=4, heads=3), 8192),
    embedding=128,
    queue=2048,
    ramp=500,
)


class BLIP(Towers):
    """Contrast, match and caption; a `captioner` lacks the former two, a `matcher` the last,
    `encoders` the last two.
    """

    def __init__(self, config: BLIPConfig) -> None:
        contrasts, self.matches = config.part != "captioner", config.part in ("whole", "matcher")
        self.captions = config.part in ("whole", "captioner")
        text = replace(config.text, separate=config.text.separate and config.part == "whole")
        width = None if config.part == "encoders" else config.vision.width
        super().__init__(config.vision, text, width, config.embedding if contrasts else None)
        self.config = config
        self.momentum: Momentum | None = None
        if self.captions:
            self.word_head = WordHead(text.width, text.vocab_size, text.epsilon)
        if self.matches:
            self.matching_head = nn.Linear(text.width, 2)
        if contrasts:
            self.temperature = nn.Parameter(torch.tensor(config.temperature))
        if contrasts and config.queue:
            copies = Towers(config.vision, replace(text, separate=False), None, config.embedding)
            self.momentum = Momentum(copies, config.queue, config.embedding)
            self.momentum.follow(self, 0.0)

    def itm_logits(
        self, images: Tensor, tokens_BL: Tensor, image_of_B: Tensor | None = None
    ) -> Tensor:
        """Scores (B, 2) that a text does not, and does, fit its image.

        Args:
            images: pixels or `image_states`, one for each text.
            image_of_B: the row of each text's image, where they are not one for one; what is
                computed of an image alone is then computed once.
        """
        cache = self.text_tower.look(self.image_states(images))
        if image_of_B is not None:
            cache.select(image_of_B)
        return self._match(cache, tokens_BL)

    def _match(self, cache: Cache, tokens_BL: Tensor) -> Tensor:
        text = self.config.text

        def run(rows_B: Tensor | None, tokens_BL: Tensor) -> Tensor:
            tokens_BT, valid_BT = trim(tokens_BL, text.end)
            begun_BT, seen = begin(tokens_BT, text.encode), cache.sources(rows_B)
            states_BTD = self.text_tower(begun_BT, seen, valid_BS=valid_BT)
            logits_B2: Tensor = self.matching_head(states_BTD[:, 0])
            return logits_B2

        return in_lengths(run, tokens_BL, text.end)

    def word_logits(self, tokens_BL: Tensor, cache: Cache) -> Tensor:
        """Logits (B, L, V) of what follows each token; `cache` holds images (`text_tower.look`)."""
        return self._words_of(self.text_tower(tokens_BL, cache, causal=True))

    def _words_of(self, states_BLD: Tensor) -> Tensor:
        logits_BLV: Tensor = self.word_head(states_BLD, self.text_tower.embedding.weight)
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
            images: pixels or `image_states`; encoded, and looked at, once.
            prompt: ids that every caption begins with; the config's if None.
            keys: B x each names that the random numbers of nucleus sampling come from.
        """
        text, device = self.config.text, images.device
        rows = torch.arange(len(images), device=device).repeat_interleave(each)
        with torch.inference_mode():
            cache = self.text_tower.look(self.image_states(images))
            if each > 1:
                cache.select(rows)
        begun = [text.decode, *(self.config.prompt if prompt is None else prompt)]
        prompt_BL = torch.tensor([begun], device=device).expand(len(rows), -1)

        def advance(tokens_BL: Tensor, cache: Cache) -> Tensor:
            return self._words_of(self.text_tower(tokens_BL, cache, causal=True)[:, -1])

        return generate(advance, prompt_BL, cache, end=text.end, config=generation, keys=keys)

    def pack(self) -> None:
        """Lays the weights out for generation on CPU (`models.layers.packed`); the model is
        frozen from then on.
        """
        pack(self.image_tower)
        pack(self.text_tower)
        pack_weight(self.text_tower.embedding.weight)
        if self.captions:
            pack(self.word_head)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """`loss` and its detached parts, of `pixels` (B, 3, H, W) and `tokens` (B, L) of texts.

        Every rank must bring the same B and L. Raises ValueError where a single example is to be
        matched.
        """
        states_BSC = self.image_tower.sequence(batch["pixels"])
        cache = self.text_tower.look(states_BSC)
        parts: dict[str, Tensor] = {}
        if self.config.part != "captioner":
            parts["contrast"], to_text_BA, to_image_BA = self._contrast(states_BSC, batch)
        if self.matches:
            scores = self.config.hardness * to_text_BA, self.config.hardness * to_image_BA
            look, gather = self.text_tower.look, self.config.gather_negatives
            pairs = matching_pairs(look, states_BSC, cache, batch["tokens"], scores, gather)
            parts["matching"] = matching(self._match(*pairs))
        if self.captions:
            parts["words"] = word_mean(self._words(cache, batch["tokens"]))
        logged = {name: part.detach() for name, part in parts.items()}
        return {"loss": torch.stack(list(parts.values())).sum(), **logged}

    def _contrast(self, states_BSC: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The contrastive loss, and the logits (B, A) of images to texts and of texts to images."""
        image_BE = unit(self.encode_image(states_BSC))
        text_BE = unit(self.encode_text(batch["tokens"]))
        if self.momentum is None:
            scale = 1.0 / self.temperature
            loss = contrastive(image_BE, text_BE, scale)["loss"]
            with torch.no_grad():
                to_text_BA = scale * image_BE @ gather_rows(text_BE).T
                return loss, to_text_BA, scale * text_BE @ gather_rows(image_BE).T
        image_copy_BE, text_copy_BE, image_KE, text_KE = self.momentum(batch)
        alpha = self.config.alpha * (self.momentum.steps / max(1, self.config.ramp)).clamp(max=1.0)
        sharing = self.temperature, alpha
        text_loss, to_text_BK = soft_contrastive(image_BE, text_KE, image_copy_BE, *sharing)
        image_loss, to_image_BK = soft_contrastive(text_BE, image_KE, text_copy_BE, *sharing)
        A = world()[1] * len(image_BE)
        return (text_loss + image_loss) / 2, to_text_BK[:, :A], to_image_BK[:, :A]

    def _words(self, cache: Cache, tokens_BL: Tensor) -> Tensor:
        """Summed loss and number of words of each caption, (B, 2); the prompt is not scored."""
        text, prompt = self.config.text, self.config.prompt
        begun_1P = torch.tensor([[text.decode, *prompt]], device=tokens_BL.device)

        def run(rows_B: Tensor | None, tokens_BL: Tensor) -> Tensor:
            read_BT, labels_BT = dictated(tokens_BL, text.end, begun_1P.expand(len(tokens_BL), -1))
            seen = cache.sources(rows_B)
            states_BTD = self.text_tower(read_BT, seen, causal=True)[:, len(prompt) :]
            return word_losses(self._words_of(states_BTD), labels_BT, self.config.smoothing)

        return in_lengths(run, tokens_BL, text.end)

    def features(self, batch: Batch) -> tuple[Tensor, ...]:
        """A captioner's summed loss and number of words of each example, for micro-batches.

        Raises ValueError for other parts: their negatives are the whole batch.
        """
        if self.config.part != "captioner":
            raise ValueError(
                f"micro_batches must be 1 for BLIP's part={self.config.part!r}: every example is a "
                "negative of the others, and images of other micro-batches need a gradient"
            )
        cache = self.text_tower.look(self.image_tower.sequence(batch["pixels"]))
        return (self._words(cache, batch["tokens"]),)

    def losses_of(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """`losses` of a captioner's `features` of the whole batch."""
        loss = word_mean(features[0])
        return {"loss": loss, "words": loss.detach()}

    def forward(
        self, batch: Batch, features: bool = False
    ) -> dict[str, Tensor] | tuple[Tensor, ...]:
        """`losses`, or `features` alone: the one door through which DistributedDataParallel
        calls.
        """
        return self.features(batch) if features else self.losses(batch)

    @torch.no_grad()
    def constrain(self) -> None:
        """After each step: the temperature stays in [0.001, 0.5], the copies and queues move."""
        if self.config.part != "captioner":
            self.temperature.clamp_(0.001, 0.5)
        if self.momentum is not None:
            self.momentum.step(self, self.config.momentum)
