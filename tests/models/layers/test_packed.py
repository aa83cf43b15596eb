"""Packed linear layers: the plain product's numbers, and when the plain product runs instead."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.blip.blip import BLIP, BLIPConfig
from models.blip.med import MEDConfig, with_words
from models.generation import GenerationConfig
from models.layers.packed import MOST_ROWS, PackedLinear, linear, pack, pack_weight
from models.vision.vit import ViTConfig


@pytest.mark.parametrize("shape", [(1, 24), (8, 24), (3, 5, 24), (MOST_ROWS, 24), (200, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_plain_product(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=bias)
    packed = copy.deepcopy(plain)
    model = nn.Sequential(packed)
    pack(model)
    assert isinstance(model[0], PackedLinear)
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), plain(x), atol=1e-5, rtol=1e-5)
    assert model.state_dict().keys() == nn.Sequential(plain).state_dict().keys()


def test_weights_that_have_changed_are_not_taken_for_the_old_ones() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    pack(layer)
    x = torch.randn(2, 8)
    with torch.no_grad():
        layer.weight.add_(1.0)
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    pack_weight(layer.weight)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_gradients_and_other_types_take_the_plain_product() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    pack(layer)
    x = torch.randn(2, 8, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None and layer.weight.grad is not None
    half = layer.weight.detach().bfloat16()
    pack_weight(half)
    with torch.no_grad():
        y = linear(x.bfloat16(), half)
    assert y.dtype == torch.bfloat16 and not hasattr(half, "packed")


def test_a_packed_blip_writes_the_same_captions() -> None:
    torch.manual_seed(0)
    text = with_words(MEDConfig(60, 20, 32, 2, 2), 60)
    config = BLIPConfig(
        ViTConfig((16, 16), patch_size=8, width=24, depth=1, heads=2), text, part="captioner"
    )
    model = BLIP(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.8)
    nn.init.zeros_(model.word_head.bias_V)  # captions of more than one word
    nn.init.normal_(model.word_head.norm.weight, 1.0, 0.5)
    pixels = torch.randn(4, 3, 16, 16)
    settings = GenerationConfig(most=9, least=9)
    wanted = model.caption(pixels, settings)
    model.pack()
    assert model.caption(pixels, settings) == wanted
    tokens = torch.tensor([[5], [6], [7], [8]])
    with torch.inference_mode():
        cache = model.text_tower.look(model.image_states(pixels))
        packed = model.word_logits(tokens, cache)
    cache = model.text_tower.look(model.image_states(pixels))
    plain = model.word_logits(tokens, cache)  # with gradients: the plain product
    assert not torch.equal(packed, plain.detach())
    torch.testing.assert_close(packed, plain.detach(), atol=1e-4, rtol=1e-4)
