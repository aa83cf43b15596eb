"""Our DALL-E 2 as a drawer. This module imports torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import cast

import torch

from models import weights
from models.dalle2.dalle2 import DALLE2


class DALLE2Drawer:
    """The DALL-E 2 in the folder `path`."""

    def __init__(self, path: str) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = cast(DALLE2, weights.load(path)).to(self.device)
        self.tokenizer = weights.load_tokenizer(path)

    def draw(self, prompts: Sequence[str], seed: int) -> list[bytes]:
        """A PNG to each prompt; of its caption as many tokens are read as the decoder takes."""
        from PIL import Image

        config = self.model.config
        length = min(config.clip.text.context_length, config.decoder.captions.context_length)
        tokens_BL = self.tokenizer(list(prompts), length).to(self.device)
        generator = torch.Generator(self.device).manual_seed(seed)
        images = self.model.generate(tokens_BL, generator).permute(0, 2, 3, 1).cpu().numpy()
        encoded = []
        for image in images:
            out = io.BytesIO()
            Image.fromarray(image).save(out, "png", compress_level=1)
            encoded.append(out.getvalue())
        return encoded
