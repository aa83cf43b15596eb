"""ScreenAI (Baechler et al. 2024, arXiv 2402.04615): a screenshot and a question in, text out.

The design is PaLI's: a ViT turns patches into image embeddings, these stand before the embedded
text, a T5-type encoder reads both and a decoder writes the answer, a screen's schema or boxes in
the same vocabulary. Patches follow the aspect ratio (`models.vision.patching`), so the ViT has a
table for rows and one for columns instead of one for places of a fixed grid, and padding is masked.
Training has two stages: all of it, then with `frozen_vision` all but the ViT.

No weights or code were released. The named sizes have the dimensions that the paper names; what it
leaves open is taken from the models it starts from (tables of 4096 rows as pix2struct's; UL2-3B as
T5 1.1 XL with its 32,128 ids). Parameters here and there:

    SCREENAI_670M   ViT-B/16   92M + mT5-base   582M =  675M    paper   92M +  583M =  675M
    SCREENAI_2B     ViT-H/14  641M + mT5-large 1.23B = 1.87B    paper  653M + 1.23B = 1.88B
    SCREENAI_5B     ViT-G/14 1.86B + UL2-3B    2.85B = 4.71B    paper 1.69B + 2.93B = 4.62B

The paper's count of ViT-G/14 is below that of the ViT of this name (Zhai et al. 2022, 1.84B), whose
dimensions are here. `SCREENAI_SMALL`, 9.3M, is for two CPU cores.

With the block options of T5 the encoder is pix2struct's own, and loads its weights.

Shapes: B batch, N patches, X numbers of a patch, E width of the ViT, S tokens of the encoder (N and
those of the text), T labels, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.generation import GenerationConfig
from models.layers import masks
from models.layers.block import BlockConfig, Transformer, make_norm
from models.t5 import MT5_BASE, MT5_LARGE, T5, T5_XL, T5Config
from models.vision.patching import PatchingConfig


@dataclass(frozen=True)
class ScreenAIConfig:
    """The ViT over patches, the language model, and how images are cut."""

    patching: PatchingConfig = field(default_factory=PatchingConfig)  # how images are cut
    vision: BlockConfig = field(default_factory=lambda: BlockConfig(768, 12, epsilon=1e-6))  # ViT
    vision_depth: int = 12  # blocks of the ViT
    places: int = 4096  # rows of each position table; more than the budget, as 0 is padding
    language: T5Config = field(default_factory=lambda: MT5_BASE)  # encoder and decoder
    frozen_vision: bool = False  # the second stage of training, and fine-tuning


SCREENAI_670M = ScreenAIConfig()
SCREENAI_2B = ScreenAIConfig(
    PatchingConfig(14, 2916), BlockConfig(1280, 16, epsilon=1e-6), 32, language=MT5_LARGE
)
SCREENAI_5B = ScreenAIConfig(
    PatchingConfig(14, 3364), BlockConfig(1664, 16, 8192, epsilon=1e-6), 48, language=T5_XL
)
SCREENAI_SMALL = ScreenAIConfig(
    PatchingConfig(16, 256),
    BlockConfig(192, 3, epsilon=1e-6),
    vision_depth=4,
    places=257,
    language=T5Config(vocab_size=8192, width=192, depth=4, heads=3, hidden=512),
)


class PatchEncoder(nn.Module):
    """A ViT over patches of any grid: (B, N, X) and places (B, N, 2) to (B, N, E)."""

    def __init__(self, numbers: int, block: BlockConfig, depth: int, places: int) -> None:
        super().__init__()
        width = block.width
        self.patches = nn.Linear(numbers, width)
        nn.init.normal_(self.patches.weight, std=numbers**-0.5)
        nn.init.zeros_(self.patches.bias)
        self.rows = nn.Embedding(places, width)
        self.columns = nn.Embedding(places, width)
        for table in (self.rows, self.columns):
            nn.init.normal_(table.weight, std=width**-0.5)
        self.transformer = Transformer(block, depth)
        self.norm_after = make_norm(block.norm, width, block.epsilon)

    def forward(self, patches_BNX: Tensor, places_BN2: Tensor) -> Tensor:
        """Each patch's embedding; those of padding (place 0) mean nothing and are not looked at."""
        rows_BN, columns_BN = places_BN2.unbind(dim=-1)
        x_BNE = self.patches(patches_BNX) + self.rows(rows_BN) + self.columns(columns_BN)
        out_BNE: Tensor = self.norm_after(self.transformer(x_BNE, mask=masks.padding(rows_BN > 0)))
        return out_BNE


class ScreenAI(nn.Module):
    """Patches and text ids to text ids."""

    def __init__(self, config: ScreenAIConfig) -> None:
        super().__init__()
        self.config = config
        if config.places <= config.patching.budget:
            raise ValueError(
                f"places={config.places} must exceed the budget of {config.patching.budget} patches"
            )
        self.vision = PatchEncoder(
            config.patching.numbers, config.vision, config.vision_depth, config.places
        )
        self.projection = nn.Linear(config.vision.width, config.language.width)
        nn.init.normal_(self.projection.weight, std=config.vision.width**-0.5)
        nn.init.zeros_(self.projection.bias)
        self.language = T5(config.language)
        self.vision.requires_grad_(not config.frozen_vision)

    def train(self, mode: bool = True) -> ScreenAI:
        """A frozen ViT stays in evaluation mode."""
        super().train(mode)
        if self.config.frozen_vision:
            self.vision.eval()
        return self

    def encode_image(self, patches_BNX: Tensor, places_BN2: Tensor) -> Tensor:
        """Image embeddings (B, N, D) of what `models.vision.patching.batch_patches` makes."""
        image_BND: Tensor = self.projection(self.vision(patches_BNX, places_BN2))
        return image_BND

    def joined(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (B, S, D) of image, then text, and what is real of them (B, S) bool.

        `batch` has `patches` and `places`, or `tokens` (B, L) and maybe `valid` (B, L), or both: a
        text without an image is the mixture's C4, an image without a text a plain annotation.
        """
        parts, real = [], []
        if "patches" in batch:
            parts.append(self.encode_image(batch["patches"], batch["places"]))
            real.append(batch["places"][..., 0] > 0)
        if "tokens" in batch:
            parts.append(self.language.embedding(batch["tokens"]))
            valid_BL = batch.get("valid", torch.ones_like(batch["tokens"]))
            real.append(valid_BL.bool())
        if not parts:
            raise ValueError(f"a batch of {sorted(batch)} has neither patches nor tokens")
        return torch.cat(parts, dim=1), torch.cat(real, dim=1)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and `accuracy` of `labels` (B, T), their ends included, -100 where nothing is to
        be predicted, given the rest of `batch` as in `joined`.
        """
        x_BSD, valid_BS = self.joined(batch)
        source_BSD = self.language.encode(x_BSD, valid_BS)
        return self.language.losses_of(source_BSD, valid_BS, batch["labels"])

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses`: the one door through which DistributedDataParallel calls."""
        return self.losses(batch)

    def constrain(self) -> None:
        """Nothing to keep in bounds after a step."""

    def generate(
        self,
        batch: dict[str, Tensor],
        config: GenerationConfig | None = None,
        keys: Sequence[str] | None = None,
    ) -> list[list[int]]:
        """New token ids of each row of `batch`, which is as in `joined`."""
        with torch.inference_mode():
            x_BSD, valid_BS = self.joined(batch)
        return self.language.generate(x_BSD, valid_BS, config, keys)
