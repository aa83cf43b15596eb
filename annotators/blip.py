"""BLIP and BLIP-2 checkpoints, ours or public ones, as a captioner and as a matcher.

The images of a batch go through the ViT once. Texts are judged in order of their length, so that
little padding is computed, and all texts of an image look at the same keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from annotators.captions import OK, Judged, Written
from annotators.frame import Frame
from models.generation import GenerationConfig
from models.pixels import Fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

TEXTS_A_PASS = 64


@dataclass(frozen=True)
class Captioning:
    """How captions are written."""

    generation: GenerationConfig = field(
        default_factory=lambda: GenerationConfig("nucleus", most=20, top_p=0.9)
    )  # the paper's nucleus sampling; "beam" is its other mode
    each: int = 1  # captions an image; equal ones count once
    prompt: str = ""  # text that every caption begins with


class Words(Protocol):
    """A tokenizer: ours, or WordPiece."""

    def encode(self, text: str) -> list[int]:
        """Ids without start and end."""

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""


class Loaded:
    """A checkpoint of one of `kinds`, on the GPU if there is one."""

    def __init__(self, path: str, fit: Fit, kinds: tuple[type, ...]) -> None:
        import torch

        from models.weights import load

        model: Any = load(path)
        if type(model) not in kinds:
            legal = ", ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"{path} holds a {type(model).__name__}; legal: {legal}")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.prepare = Frame(model.config.vision.image_size, fit)

    def states(self, images: Sequence[bytes]) -> Tensor:
        """Image tokens (B, S, C) of prepared images."""
        import torch

        with torch.inference_mode():
            pixels_B3HW = self.prepare.tensor(images).to(self.device)
            states_BSC: Tensor = self.model.image_states(pixels_B3HW)
        return states_BSC


class BLIPCaptioner(Loaded):
    """A BLIP's image-grounded decoder; a BLIP-2's, or the language model behind it."""

    def __init__(self, path: str, fit: Fit = "pad", config: Captioning | None = None) -> None:
        from models.blip.blip import BLIP
        from models.blip2.blip2 import BLIP2
        from models.blip2.language import BLIP2Language
        from models.weights import load_words

        super().__init__(path, fit, (BLIP, BLIP2, BLIP2Language))
        self.config = config or Captioning()
        if getattr(self.model.config, "part", "whole") == "matcher":
            raise ValueError(f"{path} is a matcher; legal: a captioner, or the whole")
        self.words: Words = load_words(path)
        if isinstance(self.model, BLIP):
            self.model.pack()

    def captions(self, images: Sequence[bytes], keys: Sequence[str]) -> list[Written]:
        """`each` captions of every image, drawn by (seed, image id, number)."""
        config = self.config
        names = [f"{key}/{number}" for key in keys for number in range(config.each)]
        prompt = self.words.encode(config.prompt) if config.prompt else None
        rows = self.model.caption(
            self.states(images), config.generation, prompt, each=config.each, keys=names
        )
        marks = _marks(self.model.config)
        spelt = [[*(prompt or ()), *(word for word in row if word not in marks)] for row in rows]
        texts = [self.words.decode(row).strip() for row in spelt]
        starts = range(0, len(texts), config.each)
        return [Written(tuple(texts[at : at + config.each])) for at in starts]


def _marks(config: Any) -> set[int]:
    """Ids that are no words, which a tokenizer of ours may not even have."""
    behind = hasattr(config, "language")  # the language model writes, not the former
    holder = config if behind else getattr(config, "text", None) or config.former
    names = ("start", "encode", "decode")
    return {getattr(holder, name) for name in names if hasattr(holder, name)}


class BLIPMatcher(Loaded):
    """A BLIP's or BLIP-2's image-grounded encoder, and the cosine of the contrastive features."""

    def __init__(self, path: str, fit: Fit = "pad") -> None:
        from models.blip.blip import BLIP
        from models.blip2.blip2 import BLIP2
        from models.tokenizers.published import PublishedTokenizer
        from models.weights import load_words

        super().__init__(path, fit, (BLIP, BLIP2))
        if self.model.config.part == "captioner":
            raise ValueError(f"{path} is a captioner; legal: a matcher, or the whole")
        config = self.model.config
        text = config.text if isinstance(self.model, BLIP) else config.former
        self.context_length: int = text.context_length
        words = load_words(path)
        if isinstance(words, PublishedTokenizer):
            raise ValueError(f"{path} holds the tokenizer of a language model; legal: WordPiece's")
        self.words = words

    def judge(self, images: Sequence[bytes], texts: Sequence[Sequence[str]]) -> list[list[Judged]]:
        """Similarity and matching probability of every text with its image."""
        out = [[Judged(status="empty_text")] * len(of_image) for of_image in texts]
        asked = [
            (self.words.encode(text), image, place)
            for image, of_image in enumerate(texts)
            for place, text in enumerate(of_image)
            if text.strip()
        ]
        asked.sort(key=lambda each: len(each[0]))
        states = self.states(images)
        for start in range(0, len(asked), TEXTS_A_PASS):
            part = asked[start : start + TEXTS_A_PASS]
            found = self._pass(states, [texts[i][p] for _, i, p in part], [i for _, i, _ in part])
            for (ids, image, place), (similarity, probability) in zip(part, found, strict=True):
                out[image][place] = Judged(similarity, probability, self._status(ids))
        return out

    def features(
        self, images: Sequence[bytes], texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Contrastive features (B, E) of prepared images and (N, E) of texts, not normalised."""
        import torch

        with torch.inference_mode():
            tokens_NL = self.words(texts, self.context_length, cut=True).to(self.device)
            image_BE = self.model.encode_image(self.states(images))
            text_NE = self.model.encode_text(tokens_NL)
        return image_BE.float().cpu().numpy(), text_NE.float().cpu().numpy()

    def _status(self, ids: list[int]) -> str:
        if len(ids) > self.context_length - 2:
            return "too_long"
        unknown = getattr(self.words, "unknown", None)
        return "unknown_script" if set(ids) == {unknown} else OK

    def _pass(
        self, states_BSC: Tensor, texts: list[str], image_of: list[int]
    ) -> list[tuple[float, float]]:
        """(similarity, probability) of texts with the images `image_of`."""
        import torch
        from torch.nn import functional as F

        with torch.inference_mode():
            tokens_NL = self.words(texts, self.context_length, cut=True).to(self.device)
            images_N = torch.tensor(image_of, device=self.device)
            used, where_N = torch.unique(images_N, return_inverse=True)
            used_BSC = states_BSC[used]
            fits_N = self.model.itm_logits(used_BSC, tokens_NL, where_N).softmax(dim=1)[:, 1]
            image_BE = F.normalize(self.model.encode_image(used_BSC), dim=-1)
            text_NE = F.normalize(self.model.encode_text(tokens_NL), dim=1)
            cosine_N = torch.einsum("n...e,ne->n...", image_BE[where_N], text_NE)
            if cosine_N.ndim == 2:  # BLIP-2: of the query that fits best
                cosine_N = cosine_N.amax(dim=1)
        return list(zip(cosine_N.tolist(), fits_N.tolist(), strict=True))
