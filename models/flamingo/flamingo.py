"""Flamingo (Alayrac et al. 2022, arXiv 2204.14198): images and videos among the words of a frozen
language model, for tasks shown by a few examples in the prompt.

A frozen vision encoder's features go through a resampler (`models.flamingo.resampler`), and gated
layers (`models.flamingo.gated`) before every n-th block of the frozen language model let its tokens
look at them. Only the resampler and those layers train. At the start, with all gates at 0, the
model is the bare language model to the last bit. An image is a token of its own in the text; any
number of them, and of frames in each, may come.

Vision features are inputs here: the encoder never changes, so a data set's are worked out once.
Left out: training of new words' embeddings (open_flamingo; the vocabulary must hold the ids of the
image and of the chunk's end), and the mixture of data sets with a weight each, which is the
training loop's. Parameters that train, here and in the paper:

                    resampler        gated layers
    FLAMINGO_3B     170M (194M)      24 x  48M = 1.16B (1.2B)
    FLAMINGO_9B     170M (194M)      10 x 180M = 1.80B (1.6B)
    FLAMINGO_80B    170M (194M)      12 x 696M = 8.36B (10B)

from the paper's widths, heads and layers; the paper does not say where the difference lies.
`FLAMINGO_SMALL` is for two CPU cores.

Shapes: B batch, L tokens, I images or videos of a row, F frames, N features of a frame, C their
width, R vectors of the resampler, D width of the language model, X tokens that are predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from models import generation
from models.flamingo.gated import GatedLayer, Segments, image_of
from models.flamingo.hosts import GPTHost, Host
from models.flamingo.resampler import Resampler, ResamplerConfig
from models.generation import GenerationConfig
from models.gpt import GPT, GPTConfig
from models.layers.block import BlockConfig
from models.layers.cache import Cache, KeyValues
from models.training.matching import word_mean


def gated_config(width: int, heads: int, source_width: int = 1536) -> BlockConfig:
    """The paper's gated layers for a language model of `width`."""
    return BlockConfig(
        width, heads, activation="squared_relu", bias=False, source_width=source_width
    )


@dataclass(frozen=True)
class FlamingoConfig:
    """The parts that train, and the language model."""

    resampler: ResamplerConfig = field(default_factory=ResamplerConfig)
    gated: BlockConfig = field(default_factory=lambda: gated_config(2048, 16))  # gated layers
    every: int = 1  # blocks of the language model from one gated layer to the next
    language: GPTConfig = field(
        default_factory=lambda: GPTConfig(32000, 2048, width=2048, depth=24, heads=16)
    )  # what is frozen, if nothing else is given
    image: int = 31998  # id that stands for an image or a video
    end: int = 31999  # id that ends a chunk of text


FLAMINGO_3B = FlamingoConfig()
FLAMINGO_9B = FlamingoConfig(
    gated=gated_config(4096, 32),
    every=4,
    language=GPTConfig(32000, 2048, width=4096, depth=40, heads=32),
)
FLAMINGO_80B = FlamingoConfig(
    gated=gated_config(8192, 64),
    every=7,
    language=GPTConfig(32000, 2048, width=8192, depth=80, heads=64),
)
FLAMINGO_SMALL = FlamingoConfig(
    ResamplerConfig(width=192, depth=2, heads=3, latents=16),
    gated_config(192, 3, 192),
    every=2,
    language=GPTConfig(4096, 256, width=192, depth=4, heads=3),
    image=4094,
    end=4095,
)


@dataclass
class MediaCache(Cache):
    """The language model's cache, and in `cross` each gated layer's keys and values of all images,
    worked out once.
    """

    inner: Cache = field(default_factory=Cache)
    images: int = 0  # of a row
    passed_B1: Tensor | None = None  # images among the tokens that have run

    @property
    def length(self) -> int:
        """Tokens that have run."""
        return self.inner.length

    def fork(self) -> MediaCache:
        """A copy that grows by itself; what is held so far is shared, not copied."""
        return replace(super().fork(), inner=self.inner.fork())

    def select(self, rows_B: Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may come more than once."""
        super().select(rows_B)
        self.inner.select(rows_B)
        if self.passed_B1 is not None:
            self.passed_B1 = self.passed_B1.index_select(0, rows_B)


class Flamingo(nn.Module):
    """Text with images to the text that follows.

    `host` is the language model, `GPTHost(GPT(config.language))` if None; it is frozen.
    """

    def __init__(self, config: FlamingoConfig, host: Host | None = None) -> None:
        super().__init__()
        self.config = config
        self.host: Host = GPTHost(GPT(config.language)) if host is None else host
        if config.gated.width != self.host.width:
            raise ValueError(f"gated.width={config.gated.width} must be {self.host.width}")
        if config.gated.source_width != config.resampler.width:
            raise ValueError(
                f"gated.source_width={config.gated.source_width} must be {config.resampler.width}"
            )
        self.resampler = Resampler(config.resampler)
        self.gated = nn.ModuleList(
            GatedLayer(config.gated) for _ in range(0, self.host.depth, config.every)
        )
        self._frozen().requires_grad_(False)
        self.train()

    def _frozen(self) -> nn.Module:
        return self.get_submodule("host")

    def train(self, mode: bool = True) -> Flamingo:
        """The language model stays in evaluation mode."""
        super().train(mode)
        self._frozen().eval()
        return self

    def encode_media(self, media_BIFNC: Tensor, frames_BI: Tensor | None = None) -> Tensor:
        """Vectors (B, I, R, C) of images or videos, of their features (B, I, F, N, C) float.

        `frames_BI` int64 says how many frames are real, 1 at least; None: all.
        """
        frames = None if frames_BI is None else frames_BI.flatten()
        out: Tensor = self.resampler(media_BIFNC.flatten(0, 1), frames)
        return out.view(*media_BIFNC.shape[:2], *out.shape[1:])

    def start(self, media_BIRC: Tensor | None) -> MediaCache:
        """A cache to `advance` from, given `encode_media`'s vectors, or None without an image."""
        cache = MediaCache(inner=self.host.new_cache())
        if media_BIRC is not None and media_BIRC.shape[1]:
            cache.cross = [layer.look(media_BIRC) for layer in self._layers()]
            cache.images = media_BIRC.shape[1]
        return cache

    def _layers(self) -> list[GatedLayer]:
        return [layer for layer in self.gated if isinstance(layer, GatedLayer)]

    def hidden(
        self,
        tokens_BL: Tensor,
        cache: MediaCache,
        valid_BL: Tensor | None = None,
        following: Tensor | None = None,
        keep: bool = True,
    ) -> Tensor:
        """The language model's hidden vectors (B, L, D) of ids (B, L) that follow those in `cache`.

        Args:
            valid_BL: false at padding.
            following: (B,), true for rows whose texts look at the image after them; None: no row.
            keep: whether `cache` holds these tokens afterwards.

        Raises ValueError where the first tokens that run name more images than there are.
        """
        looks = self._looks(tokens_BL, cache, valid_BL, following)
        layers = self._layers()

        def before(number: int, x_BLD: Tensor) -> Tensor:
            if number % self.config.every:
                return x_BLD
            place = number // self.config.every
            held: KeyValues | None = cache.cross[place] if cache.images else None
            out_BLD: Tensor = layers[place](x_BLD, looks, held)
            return out_BLD

        return self.host.run(tokens_BL, valid_BL, cache.inner if keep else None, before)

    def _looks(
        self,
        tokens_BL: Tensor,
        cache: MediaCache,
        valid_BL: Tensor | None,
        following: Tensor | None,
    ) -> Segments | None:
        image_BL = tokens_BL == self.config.image
        if valid_BL is not None:
            image_BL = image_BL & valid_BL.bool()
        passed_B1 = image_BL.sum(dim=1, keepdim=True)
        if cache.passed_B1 is None and int(passed_B1.max()) > cache.images:
            raise ValueError(f"{int(passed_B1.max())} image tokens, but {cache.images} images")
        number_BL = image_of(image_BL, cache.images, cache.passed_B1, following)
        if valid_BL is not None:
            number_BL = number_BL.masked_fill(~valid_BL.bool(), -1)
        before = 0 if cache.passed_B1 is None else cache.passed_B1
        cache.passed_B1 = passed_B1 + before
        return Segments.of(number_BL, cache.images)

    def nll(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """-log p (B, L-1) float32 of each token after the first, 0 where none is predicted, and
        where it is, bool: at real tokens after real ones that stand for no image.

        `batch` has `tokens` (B, L) and, where there are images, `media` (B, I, F, N, C); maybe
        `frames` (B, I), `valid` (B, L) and `following` (B,), as in `encode_media` and `hidden`.
        """
        tokens_BL, valid_BL = batch["tokens"], batch.get("valid")
        media = batch.get("media")
        cache = self.start(None if media is None else self.encode_media(media, batch.get("frames")))
        counted_BL = tokens_BL[:, 1:] != self.config.image
        if valid_BL is not None:
            counted_BL = counted_BL & valid_BL[:, 1:].bool() & valid_BL[:, :-1].bool()
        hidden_BLD = self.hidden(tokens_BL, cache, valid_BL, batch.get("following"), keep=False)
        nll_X = self.host.nll(hidden_BLD[:, :-1][counted_BL], tokens_BL[:, 1:][counted_BL])
        zeros = torch.zeros(counted_BL.shape, dtype=nll_X.dtype, device=nll_X.device)
        return zeros.masked_scatter(counted_BL, nll_X), counted_BL

    def features(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Summed `nll` and number of predicted tokens of each row, (B, 2)."""
        nll_BL, counted_BL = self.nll(batch)
        return (torch.stack([nll_BL.sum(dim=1), counted_BL.sum(dim=1).to(nll_BL)], dim=1),)

    def losses_of(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """`losses` of the `features` of the whole batch."""
        (rows_B2,) = features
        return {"loss": word_mean(rows_B2), "tokens": rows_B2[:, 1].detach().sum().long()}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, the mean over all ranks' tokens of what `nll` gives for `batch`, and the number
        of `tokens` in it.
        """
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

    def advance(self, tokens_BL: Tensor, cache: Cache, valid_BL: Tensor | None = None) -> Tensor:
        """Logits (B, V) of what follows the last of `tokens_BL`, for `models.generation`."""
        assert isinstance(cache, MediaCache), "start() makes the cache"
        return self.host.score(self.hidden(tokens_BL, cache, valid_BL)[:, -1])

    def generate(
        self,
        tokens_BL: Tensor,
        media_BIFNC: Tensor | None = None,
        frames_BI: Tensor | None = None,
        valid_BL: Tensor | None = None,
        config: GenerationConfig | None = None,
        keys: Sequence[str] | None = None,
    ) -> list[list[int]]:
        """New ids of each row, up to the chunk's end, after prompts of text and images.

        Prompts of unequal length are padded on the left, where `valid_BL` is false.
        """
        with torch.inference_mode():
            media = None if media_BIFNC is None else self.encode_media(media_BIFNC, frames_BI)
            cache = self.start(media)

        def step(tokens_BL: Tensor, cache: Cache) -> Tensor:
            return self.advance(tokens_BL, cache, None if cache.length else valid_BL)

        settings = config or GenerationConfig()
        return generation.generate(
            step, tokens_BL, cache, end=self.config.end, config=settings, keys=keys
        )
