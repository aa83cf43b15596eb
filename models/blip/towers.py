"""BLIP's two encoders side by side, and their momentum copies with queues of features (MoCo, He et
al. 2020; ALBEF, Li et al. 2021).

A copy's weights are a moving average of the encoders', so that features made some steps ago still
compare with today's: the latest 57,600 of each kind are kept as negatives, which a batch could not
hold. The copies carry no gradient. They move, and the queues take in the batch, in `step`, after
the optimiser's: a loss alone changes nothing that a checkpoint holds.

The published code moves the copies before each forward pass instead. That is the same, as before
the first pass they are equal to the encoders.

Shapes: B batch, C width and S count of image tokens, L tokens of text (T up to the longest text's
end), E width of the joint embedding, A rows of all ranks, Q rows of a queue, K = A + Q.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.blip.med import MED, MEDConfig, in_lengths, trim
from models.training.objectives import gather_rows
from models.vision.vit import ViT, ViTConfig

Batch = dict[str, Tensor]
TOKENS_AT_ONCE = 800
"""Image tokens that a CPU encodes together: at ViT-B's widths the memory of more than some 1,000
would come fresh from the kernel in every layer, which costs a sixth of the time."""


def unit(features_BE: Tensor) -> Tensor:
    """Rows of unit length, float32."""
    return F.normalize(features_BE.float(), dim=-1)


class Towers(nn.Module):
    """Both encoders and their projections into the joint space, if there is one (`embedding`)."""

    def __init__(
        self, vision: ViTConfig, text: MEDConfig, source_width: int | None, embedding: int | None
    ) -> None:
        super().__init__()
        if vision.pooling != "cls":
            raise ValueError(f"pooling={vision.pooling!r} must be cls: BLIP needs a class token")
        self.image_tower = ViT(vision)
        self.text_tower = MED(text, source_width)
        if embedding is not None:
            self.image_projection = nn.Linear(vision.width, embedding)
            self.text_projection = nn.Linear(text.width, embedding)

    def image_states(self, images: Tensor) -> Tensor:
        """Image tokens (B, S, C) of pixels (B, 3, H, W); those tokens themselves pass through."""
        if images.ndim == 3:
            return images
        if images.device.type != "cpu" or torch.is_grad_enabled():
            return self.image_tower.sequence(images)
        tokens = math.prod(side // self.image_tower.config.patch_size for side in images.shape[2:])
        parts = torch.split(images, max(1, TOKENS_AT_ONCE // tokens))
        return torch.cat([self.image_tower.sequence(part) for part in parts])

    def encode_image(self, images: Tensor) -> Tensor:
        """Features (B, E), not normalised, of pixels or `image_states`."""
        first_BC = images[:, 0] if images.ndim == 3 else self.image_tower(images)
        features_BE: Tensor = self.image_projection(first_BC)
        return features_BE

    def encode_text(self, tokens_BL: Tensor) -> Tensor:
        """Features (B, E), not normalised, of token ids (B, L) int64, each text with its end."""
        end = self.text_tower.config.end

        def run(_: Tensor | None, tokens_BL: Tensor) -> Tensor:
            tokens_BT, valid_BT = trim(tokens_BL, end)
            states_BTD = self.text_tower(tokens_BT, valid_BS=valid_BT)
            features_BE: Tensor = self.text_projection(states_BTD[:, 0])
            return features_BE

        return in_lengths(run, tokens_BL, end)


class Momentum(nn.Module):
    """Copies of towers that follow them, the latest features of the copies, and the time."""

    def __init__(self, copies: Towers, queue: int, embedding: int) -> None:
        super().__init__()
        self.copies = copies.requires_grad_(False)
        self.image_queue_QE: Tensor
        self.text_queue_QE: Tensor
        self.place: Tensor
        self.steps: Tensor
        for name in ("image_queue_QE", "text_queue_QE"):
            self.register_buffer(name, F.normalize(torch.randn(queue, embedding), dim=1))
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))
        self.waiting: tuple[Tensor, Tensor] | None = None  # features of a batch, until `step`

    @torch.no_grad()
    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Unit features of the batch's images and texts (B, E), and all keys of each kind (K, E):
        those of all ranks' batch, then the queue.
        """
        image_BE = unit(self.copies.encode_image(batch["pixels"]))
        text_BE = unit(self.copies.encode_text(batch["tokens"]))
        image_AE, text_AE = gather_rows(image_BE), gather_rows(text_BE)
        if self.training:
            self.waiting = image_AE, text_AE
        image_KE = torch.cat([image_AE, self.image_queue_QE])
        return image_BE, text_BE, image_KE, torch.cat([text_AE, self.text_queue_QE])

    @torch.no_grad()
    def follow(self, towers: Towers, share: float) -> None:
        """The copies keep `share` of themselves and take the rest from `towers`."""
        weights = dict(towers.named_parameters())
        for name, copy in self.copies.named_parameters():
            if share:
                copy.lerp_(weights[name], 1.0 - share)
            else:
                copy.copy_(weights[name])

    @torch.no_grad()
    def step(self, towers: Towers, share: float) -> None:
        """After a step of the optimiser: `follow`, and the queues take in the batch for their
        oldest rows.
        """
        self.follow(towers, share)
        self.steps += 1
        if self.waiting is None:
            return
        queue = len(self.image_queue_QE)
        image_AE, text_AE = (rows[-queue:] for rows in self.waiting)
        places_A = (self.place + torch.arange(len(image_AE), device=image_AE.device)) % queue
        self.image_queue_QE[places_A] = image_AE
        self.text_queue_QE[places_A] = text_AE
        self.place.copy_((self.place + len(image_AE)) % queue)
        self.waiting = None
