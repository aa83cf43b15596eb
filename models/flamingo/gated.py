"""Flamingo's GATED XATTN-DENSE layers (Alayrac et al. 2022, arXiv 2204.14198, section 2.2): what
lets a frozen language model see.

A layer adds tanh(gate) times cross-attention to an image's vectors, then tanh(gate) times an MLP,
with a gate each that starts at 0: the language model is at first exactly what it was. A token looks
only at the last image before it; earlier ones reach it through the language model. A token before
any image gets zero, not an even mixture of images that it must not see.

So each token needs the R vectors of one image out of I, and tokens of one image stand together.
`Segments` sorts the queries by image into a (G, P) rectangle, P the mean run of tokens, and
attention runs without a mask over R keys instead of I R; queries and answers are projected for the
real tokens alone. The masked form is kept as the plain reference, `GatedLayer.masked`. On one CPU
core (width 512, 8 heads, 64 vectors an image, 2 rows of 512 tokens, forward and backward) the two
take the same time with up to 5 images, 0.8 to 1.25 times, and with 32 images the masked form takes
1.9 to 2.2 times as long. In generation an image's keys and values are held: a step of 4 rows takes
0.7 ms with 1 image and 1.4 ms with 32, against 6 and 138 where they are worked out anew.

Shapes: B batch, L tokens, M those that look at an image, I images of a row, R vectors of an image,
C their width, D width of a token, H heads, K width of a head, G segments, P most tokens of a
segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.layers.block import MLP, BlockConfig, draw_linear, make_attention, make_norm
from models.layers.cache import KeyValues


def image_of(
    image_BL: Tensor, images: int, passed_B1: Tensor | None = None, following: Tensor | None = None
) -> Tensor:
    """The number (B, L) of the image that each token looks at, -1 for none.

    Args:
        image_BL: true at tokens that stand for an image; they look at their own.
        images: that there are; tokens beyond the last look at the last.
        passed_B1: images that stood before these tokens; None: none did.
        following: (B,), true for rows whose texts look at the image after them, as half of the
            pages do in training; after the last image there is none. None: no row does.
    """
    count_BL = image_BL.long().cumsum(dim=1)
    if passed_B1 is not None:
        count_BL = count_BL + passed_B1
    last_BL = (count_BL - 1).clamp(max=images - 1)
    if following is None:
        return last_BL
    next_BL = torch.where(image_BL.bool(), last_BL, count_BL)
    next_BL = next_BL.masked_fill(next_BL >= images, -1)
    return torch.where(following.bool()[:, None], next_BL, last_BL)


def _runs(value_M: Tensor) -> tuple[Tensor, Tensor, int]:
    """Of a row of values: the run of equal ones that each is in, its place there, and how many runs
    there are.
    """
    _, run_M, count_G = torch.unique_consecutive(value_M, return_inverse=True, return_counts=True)
    first_G = count_G.cumsum(0) - count_G
    place_M = torch.arange(len(value_M), device=value_M.device) - first_G[run_M]
    return run_M, place_M, len(count_G)


@dataclass(frozen=True)
class Segments:
    """Runs of tokens that look at the same image, for the M tokens that look at any; those longer
    than the mean are cut, so that the rectangle has fewer than 2 M places.
    """

    token_M: Tensor  # place among all B L tokens
    slot_M: Tensor  # place in the rectangle, G P
    image_G: Tensor | None  # number of each segment's image among all B I; None: 0, 1, 2 ...
    size: tuple[int, int]  # G and P

    @classmethod
    def of(cls, image_BL: Tensor, images: int) -> Segments | None:
        """From the image of each token, -1 for none, which does not fall along a row; None where
        nobody looks.
        """
        row_B1 = torch.arange(len(image_BL), device=image_BL.device)[:, None]
        token_M = (image_BL.flatten() >= 0).nonzero()[:, 0]
        if not len(token_M):
            return None
        whose_M = (image_BL + row_B1 * images).flatten()[token_M]
        run_M, place_M, runs = _runs(whose_M)
        length = -(-len(token_M) // runs)
        piece_M, place_M, pieces = _runs(run_M * len(token_M) + place_M // length)
        image_G = None
        if pieces > runs or runs < image_BL.shape[0] * images:
            image_G = whose_M.new_empty(pieces).index_copy(0, piece_M, whose_M)
        return cls(token_M, piece_M * length + place_M, image_G, (pieces, length))

    def spread(self, x_MX: Tensor) -> Tensor:
        """(M, X) into the rectangle (G, P, X); zeros where a segment is shorter."""
        G, P = self.size
        return x_MX.new_zeros(G * P, x_MX.shape[1]).index_copy(0, self.slot_M, x_MX).view(G, P, -1)

    def gather(self, x_GPX: Tensor) -> Tensor:
        """The inverse, (G, P, X) to (M, X)."""
        return x_GPX.flatten(0, 1).index_select(0, self.slot_M)


class GatedLayer(nn.Module):
    """Cross-attention and MLP behind a gate each: (B, L, D) to (B, L, D).

    `config` has a `source_width`, C. Its norm, activation, gated MLP and biases make the variants:
    LayerNorm and squared ReLU without biases in the paper, GELU in open_flamingo, RMSNorm and
    SwiGLU in IDEFICS.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.norm_cross = make_norm(config.norm, config.width, config.epsilon)
        self.cross = make_attention(config, config.source_width)
        self.norm_2 = make_norm(config.norm, config.width, config.epsilon)
        hidden = config.hidden or 4 * config.width
        self.mlp = MLP(
            config.width, hidden, config.activation, gated=config.gated, bias=config.bias
        )
        self.cross_gate = nn.Parameter(torch.zeros(1))
        self.mlp_gate = nn.Parameter(torch.zeros(1))
        scale = config.width**-0.5
        draw_linear(self, lambda _: scale, scale)

    def forward(self, x_BLD: Tensor, looks: Segments | None, held: KeyValues | None) -> Tensor:
        """`held` has the keys and values of all images, as `look` makes them."""
        if looks is not None:
            assert held is not None, "tokens that look need an image's keys and values"
            x_BLD = x_BLD + self.cross_gate.tanh() * self.seen(x_BLD, looks, held)
        out_BLD: Tensor = x_BLD + self.mlp_gate.tanh() * self.mlp(self.norm_2(x_BLD))
        return out_BLD

    def look(self, media_BIRC: Tensor) -> KeyValues:
        """Keys and values of all images, for all tokens to come: (B, I H, R, K) each."""
        B, _, R, _ = media_BIRC.shape
        k_XHRK, v_XHRK = self.cross.look(media_BIRC.flatten(0, 1))
        shape = (B, -1, R, k_XHRK.shape[-1])
        return KeyValues(k_XHRK.reshape(shape), v_XHRK.reshape(shape))

    def seen(self, x_BLD: Tensor, looks: Segments, held: KeyValues) -> Tensor:
        """What each token sees in its image, (B, L, D); zeros for those that look at none."""
        B, L, D = x_BLD.shape
        x_MD = x_BLD.flatten(0, 1).index_select(0, looks.token_M)
        q_GPX = looks.spread(self.cross.q(self.norm_cross(x_MD)))
        q_GHPK = q_GPX.view(*looks.size, self.cross.heads, -1).transpose(1, 2)
        y_GHPK = self.cross.mix(q_GHPK, *self._of_segments(held, looks))
        y_MD = self.cross.out(looks.gather(y_GHPK.transpose(1, 2).flatten(2)))
        zeros = x_BLD.new_zeros(B * L, D, dtype=y_MD.dtype)
        return zeros.index_copy(0, looks.token_M, y_MD).view(B, L, D)

    def _of_segments(self, held: KeyValues, looks: Segments) -> tuple[Tensor, Tensor]:
        """Keys and values of each segment's image, (G, H, R, K)."""
        assert held.k_BHSK is not None and held.v_BHSK is not None
        shape = (-1, self.cross.heads, *held.k_BHSK.shape[2:])
        k_XHRK, v_XHRK = held.k_BHSK.reshape(shape), held.v_BHSK.reshape(shape)
        if looks.image_G is None:
            return k_XHRK, v_XHRK
        return k_XHRK.index_select(0, looks.image_G), v_XHRK.index_select(0, looks.image_G)

    def masked(self, x_BLD: Tensor, media_BIRC: Tensor, image_BL: Tensor) -> Tensor:
        """What `seen` gives, in the plain way: all tokens, all images, and a mask."""
        images, vectors = media_BIRC.shape[1:3]
        number_S = torch.arange(images, device=x_BLD.device).repeat_interleave(vectors)
        own_BLS = image_BL[..., None] == number_S
        blind_BL1 = (image_BL < 0)[..., None]
        mask = (own_BLS | blind_BL1)[:, None]  # a softmax needs a key; what it gives is dropped
        y_BLD: Tensor = self.cross(self.norm_cross(x_BLD), media_BIRC.flatten(1, 2), mask=mask)
        return y_BLD.masked_fill(blind_BL1, 0.0)
