"""The U-Net against diffusers', with every weight drawn anew.

With attention and a context it is UNet2DConditionModel in the arrangement of Karlo, the public
reproduction of unCLIP; without any it is UNet2DModel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from torch import Tensor, nn

from models.dalle2.unet import PixelAttention, Stage, UNet, UNetConfig
from models.layers.time import TimeEmbedding, waves
from tests.models.drawing import randomise

BLOCK = {
    "norm_1": "norm1",
    "conv_1": "conv1",
    "time": "time_emb_proj",
    "norm_2": "norm2",
    "conv_2": "conv2",
    "shortcut": "conv_shortcut",
}


def draw(seed: int) -> tuple[UNetConfig, tuple[int, int]]:
    """A small configuration and the sides of its image."""
    g = torch.Generator().manual_seed(seed)

    def among(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (), generator=g))]

    levels = among(2, 3)
    multipliers = (1, *(among(1, 2, 3) for _ in range(levels - 1)))  # theirs starts at 1
    groups = among(2, 4)  # a group of one channel would hide the bias before it
    config = UNetConfig(
        channels=among(8, 16),
        depth=among(1, 2),
        multipliers=multipliers,
        attention=tuple(2**level for level in range(levels) if level or among(0, 1)),
        head_channels=among(4, 8),
        context_width=among(5, 12),
        in_channels=among(3, 6),
        out_channels=among(3, 6),
        groups=groups,
        dropout=0.0,
    )
    return config, (4 * among(1, 2), 4 * among(1, 3))


def their_block(prefix: str, block: nn.Module) -> dict[str, Tensor]:
    return {
        f"{prefix}.{BLOCK[name.split('.')[0]]}.{name.split('.')[1]}": tensor
        for name, tensor in block.state_dict().items()
    }


def their_attention(prefix: str, stage: nn.Module) -> dict[str, Tensor]:
    assert isinstance(stage, Stage) and stage.norm is not None
    attention = stage.attention
    assert isinstance(attention, PixelAttention)
    out = {f"{prefix}.group_norm.{k}": v for k, v in stage.norm.state_dict().items()}
    for kind in ("weight", "bias"):
        q, k, v = getattr(attention.qkv, kind).chunk(3)
        out |= {f"{prefix}.to_{x}.{kind}": y for x, y in zip("qkv", (q, k, v), strict=True)}
        if attention.context is not None:
            k, v = getattr(attention.context, kind).chunk(2)
            out |= {f"{prefix}.add_k_proj.{kind}": k, f"{prefix}.add_v_proj.{kind}": v}
        out[f"{prefix}.to_out.0.{kind}"] = getattr(attention.out, kind)
    return out


def to_diffusers(model: UNet) -> dict[str, Tensor]:
    """diffusers' names for our weights."""
    config, out = model.config, {}
    for ours, theirs in (
        ("time.up", "time_embedding.linear_1"),
        ("time.down", "time_embedding.linear_2"),
        ("enter", "conv_in"),
        ("norm", "conv_norm_out"),
        ("leave", "conv_out"),
    ):
        layer = model.get_submodule(ours)
        out |= {f"{theirs}.{name}": tensor for name, tensor in layer.state_dict().items()}
    for place, stage in enumerate(model.down):
        level, number = divmod(place, config.depth + 1)
        prefix = f"down_blocks.{level}"
        if isinstance(stage, Stage):
            out |= their_block(f"{prefix}.resnets.{number}", stage.block)
            if stage.attention is not None:
                out |= their_attention(f"{prefix}.attentions.{number}", stage)
        else:
            out |= their_block(f"{prefix}.downsamplers.0", stage)
    out |= their_block("mid_block.resnets.0", model.middle_1.block)
    if model.middle_1.attention is not None:
        out |= their_attention("mid_block.attentions.0", model.middle_1)
    out |= their_block("mid_block.resnets.1", model.middle_2.block)
    for place, stage in enumerate(model.up):
        level, number = divmod(place, config.depth + 1)
        prefix = f"up_blocks.{level}"
        assert isinstance(stage, Stage)
        out |= their_block(f"{prefix}.resnets.{number}", stage.block)
        if stage.attention is not None:
            out |= their_attention(f"{prefix}.attentions.{number}", stage)
        if stage.resize is not None:
            out |= their_block(f"{prefix}.upsamplers.0", stage.resize)
    return out


def theirs(config: UNetConfig) -> nn.Module:
    levels = range(len(config.multipliers))
    attends = [2**level in config.attention for level in levels]
    shared = {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "layers_per_block": config.depth,
        "block_out_channels": tuple(config.channels * m for m in config.multipliers),
        "norm_num_groups": config.groups,
        "norm_eps": 1e-5,
        "resnet_time_scale_shift": "scale_shift",
        "attention_head_dim": config.head_channels,
    }
    down = ["SimpleCrossAttnDownBlock2D" if a else "ResnetDownsampleBlock2D" for a in attends]
    up = [name.replace("Down", "Up") for name in reversed(down)]
    if config.attention:
        return UNet2DConditionModel(
            down_block_types=down,
            up_block_types=up,
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            cross_attention_dim=config.context_width,
            class_embed_type="identity",
            **shared,
        )
    return UNet2DModel(
        down_block_types=down,
        up_block_types=up,
        add_attention=False,
        time_embedding_type="positional",
        **shared,
    )


@pytest.mark.parametrize("seed", range(5))
def test_answers_are_those_of_diffusers(seed: int, every_weight_shows: Callable[..., None]) -> None:
    """To 1e-4, on images that need not be square, with a context and a vector added to the time."""
    torch.manual_seed(seed)
    config, sides = draw(seed)
    ours = UNet(config).eval()
    randomise(ours)
    other = theirs(config)
    other.load_state_dict(to_diffusers(ours), strict=True)
    batch = 1 + seed % 3
    x = torch.randn(batch, config.in_channels, *sides)
    t, added = torch.randint(1000, (batch,)), torch.randn(batch, config.time_width)
    context = torch.randn(batch, 7, config.context_width or 0)
    wanted = other(x, t, encoder_hidden_states=context, class_labels=added).sample
    found = ours(x, t, added, context)
    assert float(wanted.detach().std()) > 0.1
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    if seed != 1:  # the largest
        every_weight_shows(ours, lambda: ours(x, t, added, context))


@pytest.mark.parametrize("seed", range(3))
def test_without_attention_it_is_a_plain_unet(seed: int) -> None:
    """To 1e-4: what the upsamplers are."""
    torch.manual_seed(seed)
    config, sides = draw(seed)
    config = replace(config, attention=(), context_width=None)
    ours, other = UNet(config).eval(), theirs(config)
    randomise(ours)
    other.load_state_dict(to_diffusers(ours), strict=True)
    x, t = torch.randn(2, config.in_channels, *sides), torch.tensor([3, 977])
    torch.testing.assert_close(ours(x, t), other(x, t).sample, atol=1e-4, rtol=0)


def test_time_is_that_of_diffusers() -> None:
    from diffusers.models.embeddings import get_timestep_embedding

    t = torch.tensor([0, 1, 500, 999])
    for width in (2, 32, 48):
        wanted = get_timestep_embedding(t, width, flip_sin_to_cos=True, downscale_freq_shift=0)
        torch.testing.assert_close(waves(t, width), wanted, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="width=7 must be even"):
        TimeEmbedding(7, 8)(t)


SMALL = UNetConfig(16, 1, (1, 2), (2,), 8, context_width=6, out_channels=6, groups=4, dropout=0.0)


def test_a_new_network_answers_zero_and_every_weight_learns() -> None:
    torch.manual_seed(1)
    model = UNet(SMALL)
    x, t, context = torch.randn(2, 3, 4, 8), torch.tensor([1, 9]), torch.randn(2, 3, 6)
    assert bool((model(x, t, None, context) == 0).all())
    randomise(model)
    model(x, t, None, context).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


@torch.no_grad()
def test_bfloat16_is_near_float32() -> None:
    torch.manual_seed(2)
    model = UNet(SMALL).eval()
    randomise(model)
    x, t, context = torch.randn(1, 3, 8, 4), torch.tensor([400]), torch.randn(1, 3, 6)
    wanted = model(x, t, None, context)
    model.bfloat16()
    found = model(x, t, None, context.bfloat16())
    assert found.dtype == torch.bfloat16
    assert float((found.float() - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_dropout_runs_in_training_only() -> None:
    torch.manual_seed(3)
    model = UNet(replace(SMALL, dropout=0.5))
    randomise(model)
    x, t = torch.randn(1, 3, 4, 4), torch.tensor([7])
    assert not torch.allclose(model(x, t), model(x, t))
    model.eval()
    assert torch.equal(model(x, t), model(x, t))


def test_sizes_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match=r"sides \(4, 5\) must be multiples of 2"):
        UNet(SMALL)(torch.zeros(1, 3, 4, 5), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"groups=5 must divide the levels' channels \[16, 32\]"):
        UNet(replace(SMALL, groups=5))
    with pytest.raises(ValueError, match=r"head_channels=12 must divide \[16, 32\]"):
        UNet(replace(SMALL, head_channels=12))
