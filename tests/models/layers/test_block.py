"""Blocks against PyTorch's encoder layer; the shortcut of the last block; the draw of the
weights.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import stochastic_depth

from models.layers.block import MLP, Block, BlockConfig, Transformer, drop_path, quick_gelu


def test_equals_torch_encoder_layer() -> None:
    torch.manual_seed(0)
    block = Block(BlockConfig(16, 2, 40))
    theirs = nn.TransformerEncoderLayer(
        16, 2, 40, dropout=0.0, activation="gelu", norm_first=True, batch_first=True
    )
    names = {
        "attention.qkv.weight": "self_attn.in_proj_weight",
        "attention.qkv.bias": "self_attn.in_proj_bias",
        "attention.out": "self_attn.out_proj",
        "norm_1": "norm1",
        "norm_2": "norm2",
        "mlp.up": "linear1",
        "mlp.down": "linear2",
    }
    state = {}
    for name, tensor in block.state_dict().items():
        key = next(k for k in names if name.startswith(k))
        state[name.replace(key, names[key])] = torch.randn_like(tensor) * 0.3
        tensor.copy_(state[name.replace(key, names[key])])
    theirs.load_state_dict(state)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(block(x), theirs(x), atol=1e-5, rtol=0)


def test_quick_gelu_is_not_gelu() -> None:
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(quick_gelu(x), x / (1 + torch.exp(-1.702 * x)))
    assert (quick_gelu(x) - nn.functional.gelu(x)).abs().max() > 1e-3


def test_unknown_activation_is_named() -> None:
    with pytest.raises(ValueError, match="activation='tanh' must be one of"):
        MLP(4, 8, "tanh")  # type: ignore[arg-type]


@pytest.mark.parametrize("causal", [False, True])
def test_last_block_on_one_token_changes_nothing(causal: bool) -> None:
    torch.manual_seed(1)
    model = Transformer(BlockConfig(24, 3), 3)
    x, place = torch.randn(4, 6, 24, requires_grad=True), torch.tensor([0, 5, 2, 3])
    rows = model(x, causal=causal)[torch.arange(4), place]
    short = model.at(x, place, causal)
    torch.testing.assert_close(short, rows, atol=1e-5, rtol=0)
    (whole,) = torch.autograd.grad(rows.square().sum(), x, retain_graph=True)
    (cheap,) = torch.autograd.grad(short.square().sum(), x)
    torch.testing.assert_close(cheap, whole, atol=1e-4, rtol=1e-4)


def test_initial_deviations_are_clips() -> None:
    torch.manual_seed(0)
    model = Transformer(BlockConfig(256, 4), 2)
    block = model.blocks[1]
    assert isinstance(block, Block)
    for layer, wanted in (
        (block.attention.qkv, 256**-0.5),
        (block.attention.out, 256**-0.5 * 4**-0.5),
        (block.mlp.up, 512**-0.5),
        (block.mlp.down, 256**-0.5 * 4**-0.5),
    ):
        assert float(layer.weight.detach().std()) == pytest.approx(wanted, rel=0.02)
        assert float(layer.bias.detach().abs().max()) == 0.0


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_drop_path_is_torchvisions(share: float) -> None:
    x = torch.randn(6, 3, 4)
    torch.manual_seed(7)
    wanted = stochastic_depth(x, share, "row")
    torch.manual_seed(7)
    torch.testing.assert_close(drop_path(x, share), wanted)


def test_drop_path_rises_from_nothing_and_rests_in_evaluation() -> None:
    torch.manual_seed(0)
    model = Transformer(BlockConfig(8, 2, drop_path=0.6), 4)
    shares = [block.config.drop_path for block in model.blocks]
    assert shares == pytest.approx([0.0, 0.2, 0.4, 0.6])
    x = torch.randn(5, 3, 8)
    assert torch.equal(model.eval()(x), model(x))
    block = Block(BlockConfig(8, 2, drop_path=0.999)).train()
    torch.manual_seed(1)
    assert torch.equal(block(x), x)  # all skipped
    assert torch.equal(block.at(x, torch.zeros(5, dtype=torch.int64)), x[:, 0])
