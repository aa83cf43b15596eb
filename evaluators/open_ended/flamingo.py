"""A Flamingo that answers questions about pictures, by examples in its prompt.

    <image>Output: a red bus<end><image>Output:
    <image>Question: what colour? Answer: red<end><image>Question: how many? Answer:

are the paper's prompts (arXiv 2204.14198, appendix C), read greedily or by beam search up to the
chunk's end. A model that was trained on bare captions is asked with `output` empty. Prompts are
padded on the left and batched by their number of pictures; the vision encoder's features of the
last pictures are kept, since examples come again and again.

Shapes: B batch, L tokens, I pictures, N features of a picture, C their width.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor

from evaluators.decoding import decodable
from evaluators.open_ended.answering import Asked, Said
from models import weights
from models.flamingo.flamingo import Flamingo
from models.generation import GenerationConfig
from models.pixels import Fit, normalise
from models.training.partners import frozen_vision


@dataclass(frozen=True)
class FlamingoPrompts:
    """How a Flamingo is asked."""

    output: str = "Output:"
    """Before a caption or a name; empty for a model that was trained on bare captions."""
    question: str = "Question: {} Answer:"
    """Before an answer; {} is the question's place."""
    generation: GenerationConfig = field(default_factory=lambda: GenerationConfig("beam", most=20))
    """How it is read: beams of 3, as in the paper."""
    kept: int = 256
    """Pictures whose features are kept."""


class FlamingoAnswerer:
    """The Flamingo in `path`, beside the vision encoder in `vision`."""

    def __init__(
        self, path: str, vision: str, fit: Fit = "pad", prompts: FlamingoPrompts | None = None
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = cast(Flamingo, weights.load(path)).to(self.device)
        self.eye = frozen_vision(weights.load(vision)).to(self.device)
        self.tokenizer, self.fit = weights.load_tokenizer(path), fit
        self.prompts = prompts or FlamingoPrompts()
        self.features: OrderedDict[str, Tensor] = OrderedDict()

    def answer(self, asked: Sequence[Asked]) -> list[Said]:
        """An answer to each; a prompt longer than the language model reads is "too_long"."""
        tokens = [self.tokens(one) for one in asked]
        room = self.model.config.language.context_length - self.prompts.generation.most
        said = [
            Said(status="too_long", detail=f"{len(ids)} tokens, {room} fit")
            if len(ids) > room
            else Said()
            for ids in tokens
        ]
        groups: dict[int, list[int]] = {}
        for index, one in enumerate(asked):
            if said[index].status == "ok":
                groups.setdefault(len(pictures(one)), []).append(index)
        for rows in groups.values():
            texts = self._written([asked[i] for i in rows], [tokens[i] for i in rows])
            for index, text in zip(rows, texts, strict=True):
                said[index] = Said(text) if text else Said(status="empty_answer")
        return said

    def tokens(self, one: Asked) -> list[int]:
        """Ids of the prompt: the text's start, each example with its end, and the question."""
        ids = [self.tokenizer.start]
        for example in one.examples:
            image = [self.model.config.image] if example.image else []
            text = f"{self._asked(example.question)} {example.answer}".strip()
            ids += [*image, *self.tokenizer.encode(text), self.model.config.end]
        return [*ids, self.model.config.image, *self.tokenizer.encode(self._asked(one.question))]

    def _asked(self, question: str) -> str:
        return self.prompts.question.format(question) if question else self.prompts.output

    def _written(self, asked: Sequence[Asked], tokens: Sequence[list[int]]) -> list[str]:
        longest = max(map(len, tokens))
        tokens_BL = torch.full((len(tokens), longest), self.tokenizer.end, dtype=torch.int64)
        valid_BL = torch.zeros(len(tokens), longest, dtype=torch.bool)
        for row, ids in enumerate(tokens):
            tokens_BL[row, longest - len(ids) :] = torch.tensor(ids)
            valid_BL[row, longest - len(ids) :] = True
        media_BINC = torch.stack([self._features(pictures(one)) for one in asked])
        found = self.model.generate(
            tokens_BL.to(self.device),
            media_BINC[:, :, None],
            valid_BL=valid_BL.to(self.device),
            config=self.prompts.generation,
            keys=[one.key for one in asked],
        )
        marks = (self.model.config.image, self.model.config.end)
        spelt = [[word for word in row if word not in marks] for row in found]
        return [self.tokenizer.decode(row).strip() for row in spelt]

    def _features(self, images: Sequence[bytes]) -> Tensor:
        """Features (I, N, C) of pictures that decode."""
        keys = [hashlib.blake2b(image, digest_size=16).hexdigest() for image in images]
        new = {k: i for k, i in zip(keys, images, strict=True) if k not in self.features}
        if new:
            pixels, _ = decodable(list(new.values()), self.eye.config.image_size, self.fit)
            with torch.inference_mode():
                batch = normalise(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device))
                self.features |= dict(zip(new, self.eye.sequence(batch), strict=True))
        for key in keys:
            self.features.move_to_end(key)
        out_INC = torch.stack([self.features[key] for key in keys])
        while len(self.features) > self.prompts.kept:
            self.features.popitem(last=False)
        return out_INC


def pictures(one: Asked) -> list[bytes]:
    """The pictures of a prompt in order, the one asked about last."""
    return [*(example.image for example in one.examples if example.image), one.image]
