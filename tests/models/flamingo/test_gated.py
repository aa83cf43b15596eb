"""Gated layers against flamingo-pytorch's and IDEFICS's; who sees which image; the plain form."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import IdeficsConfig
from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer

from models.flamingo.gated import GatedLayer, Segments, image_of
from models.layers.block import BlockConfig, squared_relu
from tests.models.drawing import randomise

NAMES = {
    "norm_cross.": "attn.norm.",
    "cross.q.": "attn.to_q.",
    "cross.kv.": "attn.to_kv.",
    "cross.out.": "attn.to_out.",
    "cross_gate": "attn_gate",
    "mlp_gate": "ff_gate",
    "norm_2.": "ff.0.",
    "mlp.up.": "ff.1.",
    "mlp.down.": "ff.3.",
}
IDEFICS = {
    "norm_cross.": "input_layernorm.",
    "norm_2.": "post_attention_layernorm.",
    "cross.q.": "cross_attn.q_proj.",
    "cross.out.": "cross_attn.o_proj.",
    "cross_gate": "alpha_cross_attn",
    "mlp_gate": "alpha_dense",
    "mlp.gate.": "mlp.gate_proj.",
    "mlp.up.": "mlp.up_proj.",
    "mlp.down.": "mlp.down_proj.",
}


class SquaredReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return squared_relu(x)


def renamed(model: nn.Module, names: dict[str, str]) -> dict[str, Tensor]:
    """Another's names for our weights."""
    out = {}
    for name, tensor in model.state_dict().items():
        key = name
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        out[key] = tensor
    return out


def applied(layer: GatedLayer, x: Tensor, media: Tensor, image_BL: Tensor) -> Tensor:
    """The layer on tokens whose images' numbers are `image_BL`."""
    looks = Segments.of(image_BL, media.shape[1])
    return layer(x, looks, layer.look(media))


def places(seed: int, rows: int, length: int, images: int) -> Tensor:
    """Image tokens at random: at most `images` a row; the last row has none."""
    dice = random.Random(seed)
    flags = torch.zeros(rows, length, dtype=torch.bool)
    for row in range(rows - 1):
        flags[row, dice.sample(range(length), dice.randint(1, images))] = True
    return flags


@pytest.mark.parametrize("activation", ["gelu", "squared_relu"])
@pytest.mark.parametrize("seed", range(4))
def test_is_that_of_flamingo_pytorch(
    seed: int, activation: str, every_weight_shows: Callable[..., None]
) -> None:
    flamingo_pytorch = pytest.importorskip("flamingo_pytorch")
    dice = random.Random(seed)
    torch.manual_seed(seed)
    width, heads, head_width = dice.choice([12, 20]), dice.choice([1, 2, 3]), dice.choice([4, 8])
    config = BlockConfig(
        width,
        heads,
        activation=activation,  # type: ignore[arg-type]
        bias=False,
        head_width=head_width,
        source_width=width,
    )
    ours = GatedLayer(config)
    randomise(ours)
    theirs = flamingo_pytorch.GatedCrossAttentionBlock(dim=width, dim_head=head_width, heads=heads)
    if activation == "squared_relu":
        theirs.ff[2] = SquaredReLU()
    theirs.load_state_dict(renamed(ours, NAMES))
    flags = places(seed, 3, 11, 4)
    x, media = torch.randn(3, 11, width), torch.randn(3, 4, 5, width)
    found = applied(ours, x, media, image_of(flags, 4))
    torch.testing.assert_close(found, theirs(x, media, flags), atol=1e-4, rtol=0)
    every_weight_shows(ours, lambda: applied(ours, x, media, image_of(flags, 4)))


@pytest.mark.parametrize("seed", range(4))
def test_is_that_of_idefics(seed: int) -> None:
    dice = random.Random(seed)
    torch.manual_seed(seed)
    heads, source = dice.choice([1, 2, 3]), dice.choice([8, 14])
    width, hidden = heads * dice.choice([4, 6]), dice.choice([10, 30])
    config = BlockConfig(
        width,
        heads,
        hidden,
        activation="silu",
        gated=True,
        norm="rms",
        epsilon=1e-6,
        bias=False,
        source_width=source,
    )
    ours = GatedLayer(config)
    randomise(ours)
    theirs = IdeficsGatedCrossAttentionLayer(
        IdeficsConfig(
            hidden_size=width,
            intermediate_size=hidden,
            num_attention_heads=heads,
            vision_config={"embed_dim": source},
            attn_implementation="eager",
        ),
        layer_idx=0,
    ).eval()
    state = renamed(ours, IDEFICS)
    k, v = state.pop("cross.kv.weight").chunk(2)
    theirs.load_state_dict({**state, "cross_attn.k_proj.weight": k, "cross_attn.v_proj.weight": v})
    x, media = torch.randn(3, 9, width), torch.randn(3, 3, 4, source)
    image_BL = image_of(places(seed, 3, 9, 3), 3)
    own = (image_BL[..., None] == torch.arange(3).repeat_interleave(4))[:, None]
    wanted = theirs(
        x,
        image_hidden_states=media.flatten(1, 2),
        image_attention_mask=torch.where(own, 0.0, torch.finfo(torch.float32).min),
        cross_attention_gate=(image_BL >= 0).float(),
    )
    torch.testing.assert_close(applied(ours, x, media, image_BL), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_segments_are_the_plain_form_and_so_are_their_gradients(seed: int, bias: bool) -> None:
    dice = random.Random(seed)
    torch.manual_seed(seed)
    rows, length, images = dice.randint(1, 4), dice.choice([1, 2, 17, 40]), dice.randint(1, 5)
    layer = GatedLayer(BlockConfig(12, 2, bias=bias, source_width=8))
    randomise(layer)
    flags = torch.rand(rows, length) < dice.choice([0.05, 0.3, 1.0])
    flags &= flags.cumsum(dim=1) <= images
    flags[0, 0] = True
    image_BL = image_of(flags, images)
    if seed % 2:
        image_BL = image_BL.masked_fill(torch.rand(rows, length) < 0.3, -1)  # padding
        image_BL[0, 0] = 0
    x = torch.randn(rows, length, 12, requires_grad=True)
    media = torch.randn(rows, images, 3, 8, requires_grad=True)
    looks = Segments.of(image_BL, images)
    assert looks is not None
    assert looks.size[0] * looks.size[1] < 2 * len(looks.token_M) + 1
    leaves = [x, media, *layer.cross.parameters(), *layer.norm_cross.parameters()]
    found, wanted = layer.seen(x, looks, layer.look(media)), layer.masked(x, media, image_BL)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    weight = torch.randn_like(wanted)
    ours = torch.autograd.grad((found * weight).sum(), leaves)
    plain = torch.autograd.grad((wanted * weight).sum(), leaves)
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=0)


def test_a_token_sees_the_last_image_before_it_and_nothing_else() -> None:
    torch.manual_seed(0)
    layer = GatedLayer(BlockConfig(12, 2, bias=False, source_width=8))
    randomise(layer)
    flags = torch.tensor([[0, 0, 1, 0, 0, 1, 1, 0]]).bool()
    image_BL = image_of(flags, 3)
    assert image_BL.tolist() == [[-1, -1, 0, 0, 0, 1, 2, 2]]
    x, media = torch.randn(1, 8, 12), torch.randn(1, 3, 4, 8)
    looks = Segments.of(image_BL, 3)
    assert looks is not None
    before = layer.seen(x, looks, layer.look(media))
    assert float(before[0, :2].detach().abs().max()) == 0.0
    assert float(before[0, 2:].detach().abs().min(dim=1).values.max()) > 0.0
    for image in range(3):
        other = media.clone()
        other[0, image] = torch.randn(4, 8)
        after = layer.seen(x, looks, layer.look(other))
        changed = (after != before).any(dim=-1)[0]
        assert torch.equal(changed, image_BL[0] == image)


def test_texts_may_look_at_the_image_after_them() -> None:
    flags = torch.tensor([[0, 1, 0, 0, 1, 0], [0, 1, 0, 0, 1, 0]]).bool()
    found = image_of(flags, 2, following=torch.tensor([True, False]))
    assert found.tolist() == [[0, 0, 1, 1, 1, -1], [-1, 0, 0, 0, 1, 1]]
    later = image_of(torch.tensor([[0, 1], [0, 0]]).bool(), 2, torch.tensor([[1], [0]]))
    assert later.tolist() == [[0, 1], [-1, -1]]
    beyond = image_of(torch.tensor([[1, 1, 1]]).bool(), 2)
    assert beyond.tolist() == [[0, 1, 1]]


def test_nobody_looks_without_an_image() -> None:
    assert Segments.of(torch.full((2, 3), -1), 2) is None
    layer = GatedLayer(BlockConfig(12, 2, source_width=8))
    randomise(layer)
    x = torch.randn(2, 3, 12)
    wanted = x + layer.mlp_gate.tanh() * layer.mlp(layer.norm_2(x))
    assert torch.equal(layer(x, None, None), wanted)


@pytest.mark.parametrize("gate", ["cross_gate", "mlp_gate"])
def test_each_part_has_its_own_gate_which_starts_shut(gate: str) -> None:
    torch.manual_seed(1)
    layer = GatedLayer(BlockConfig(12, 2, source_width=8))
    x, media = torch.randn(1, 3, 12), torch.randn(1, 1, 4, 8)
    image_BL = torch.zeros(1, 3, dtype=torch.int64)
    assert torch.equal(applied(layer, x, media, image_BL), x)
    nn.init.constant_(getattr(layer, gate), 0.5)
    assert float((applied(layer, x, media, image_BL) - x).detach().abs().max()) > 1e-2


def test_bfloat16_is_near() -> None:
    torch.manual_seed(2)
    layer = GatedLayer(replace(BlockConfig(16, 2, bias=False), source_width=8))
    for gate in (layer.cross_gate, layer.mlp_gate):
        nn.init.constant_(gate, 0.5)
    x, media = torch.randn(2, 9, 16), torch.randn(2, 2, 4, 8)
    image_BL = image_of(places(0, 2, 9, 2), 2)
    exact = applied(layer, x, media, image_BL)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = applied(layer, x, media, image_BL)
    torch.testing.assert_close(mixed, exact, atol=0.05, rtol=0)
    half: Any = applied(layer.bfloat16(), x.bfloat16(), media.bfloat16(), image_BL)
    torch.testing.assert_close(half.float(), exact, atol=0.05, rtol=0)
