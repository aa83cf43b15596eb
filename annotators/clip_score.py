"""A CLIP as a filter: the cosine of image and text, and no probability (CLIPScore's numerator,
Hessel et al. 2021, arXiv 2104.08718).

LAION-400M kept pairs above 0.3 of OpenAI's ViT-B/32; a cosine's scale is a model's own, so a rule
by similarity (`annotators.capfilt.Rule`) needs a threshold for the model that judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from annotators.captions import OK, Judged
from annotators.frame import Frame
from models.pixels import Fit

if TYPE_CHECKING:
    from torch import Tensor

TEXTS_A_PASS = 256


class CLIPMatcher:
    """Any CLIP, ours or published, on the GPU if there is one."""

    def __init__(self, path: str, fit: Fit = "crop") -> None:
        import torch

        from models.clip import CLIP
        from models.weights import load, load_tokenizer

        model = load(path)
        if not isinstance(model, CLIP):
            raise ValueError(f"{path} holds a {type(model).__name__}; legal: a CLIP")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: CLIP = model.to(self.device)
        self.words = load_tokenizer(path)
        self.context_length = model.config.text.context_length
        self.prepare = Frame(model.config.vision.image_size, fit)

    def judge(self, images: Sequence[bytes], texts: Sequence[Sequence[str]]) -> list[list[Judged]]:
        """Similarity of every text with its image; too_long is judged by its beginning."""
        import torch
        from torch.nn import functional as F

        asked = [(i, p) for i, row in enumerate(texts) for p, t in enumerate(row) if t.strip()]
        out = [[Judged(status="empty_text")] * len(row) for row in texts]
        with torch.inference_mode():
            pixels = self.prepare.tensor(images).to(self.device)
            image_BE = F.normalize(self.model.encode_image(pixels).float(), dim=1)
            for start in range(0, len(asked), TEXTS_A_PASS):
                part = asked[start : start + TEXTS_A_PASS]
                text_NE = self._texts([texts[i][p] for i, p in part])
                cosine_N = (image_BE[[i for i, _ in part]] * text_NE).sum(dim=1)
                for (i, p), cosine in zip(part, cosine_N.tolist(), strict=True):
                    out[i][p] = Judged(similarity=cosine, status=self._status(texts[i][p]))
        return out

    def _texts(self, texts: list[str]) -> Tensor:
        from torch.nn import functional as F

        tokens_NL = self.words(texts, self.context_length, cut=True).to(self.device)
        return F.normalize(self.model.encode_text(tokens_NL).float(), dim=1)

    def _status(self, text: str) -> str:
        long = len(self.words.encode(text)) > self.context_length - 2
        return "too_long" if long else OK
